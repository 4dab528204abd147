"""One patient's body: sizes, posture and the rib cage that everything else hangs on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.projection import Array

RIB_COUNT = 12

# Half width and half depth of the cage at each rib (mm, an adult man), where the bony rib ends
# (degrees along its ellipse from the back) and how far it slopes down to the front.
_HALF_WIDTH_MM = (58, 88, 107, 118, 125, 130, 133, 135, 136, 132, 124, 108)
_HALF_DEPTH_MM = (38, 56, 69, 79, 86, 91, 94, 95, 93, 88, 82, 76)
_END_DEG = (150, 147, 145, 143, 141, 138, 133, 124, 115, 104, 74, 50)
_SLOPE_DEG = (27, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 38)
_VERTEBRA_HEIGHT_MM = (17, 18, 19, 19.5, 20, 20.5, 21, 21.5, 22, 23, 24, 25)


@dataclass(frozen=True, kw_only=True)
class ThoraxShape:
    """Sizes in millimetres, angles in radians; arrays have one entry for each of the 12 ribs."""

    is_female: bool
    age_years: int
    scale: float
    fat_mm: float
    inspiration: float
    heart_width_mm: float
    kyphosis: float
    vertebra_y_mm: Array
    half_width_mm: Array
    half_depth_mm: Array
    back_z_mm: Array
    end_rad: Array
    slope: Array
    arm_drop: float

    @property
    def centre_z_mm(self) -> Array:
        """Depth of the middle of each rib's ellipse, (12,)."""
        return self.back_z_mm + self.half_depth_mm

    def rib_point(self, rib_index: int, angle_rad: Array, side: float) -> Array:
        """Centreline points (N, 3) of a rib; angle 0 is straight back, pi/2 the side; side +1 left.

        An ellipse on a plane that slopes down towards the front, whose back end bends forward to
        the transverse process.
        """
        a, b = self.half_width_mm[rib_index], self.half_depth_mm[rib_index]
        x = a * np.sin(angle_rad) ** np.float32(0.9)
        z = self.centre_z_mm[rib_index] - b * np.cos(angle_rad)
        neck = np.clip((0.42 - angle_rad) / 0.3, 0, 1)
        z = z + 9 * neck**2
        drop = self.slope[rib_index] * (z - self.back_z_mm[rib_index])
        y = self.vertebra_y_mm[rib_index] + 6 + drop
        return np.stack([side * x, y, z], axis=-1).astype(np.float32)


def sample_shape(
    rng: np.random.Generator, *, sex_code: str, age_years: int, is_supine: bool
) -> ThoraxShape:
    """Draws one patient; is_supine (a portable AP film) breathes in less deeply."""
    is_female = sex_code == "F"
    scale = float(rng.normal(0.93 if is_female else 1.01, 0.045))
    width = float(rng.normal(1.0, 0.04))
    inspiration = float(np.clip(rng.normal(0.35 if is_supine else 0.75, 0.22), 0.0, 1.15))
    kyphosis = float(np.clip(rng.normal(0.2 + max(age_years - 50, 0) / 80, 0.15), 0, 1))
    heights = np.asarray(_VERTEBRA_HEIGHT_MM) + 4.0
    y = np.concatenate([[0], np.cumsum(heights)[:-1]]) * scale * (1 - 0.05 * kyphosis)
    along = np.linspace(0, 1, RIB_COUNT)
    curve = 4 * along * (1 - along)
    slope_deg = np.asarray(_SLOPE_DEG) + 5 * (0.6 - inspiration) + rng.normal(0, 2)
    slope_deg = slope_deg + rng.normal(0, 0.6, RIB_COUNT)
    breadth = 1 + 0.04 * (inspiration - 0.6)
    return ThoraxShape(
        is_female=is_female,
        age_years=age_years,
        scale=scale,
        fat_mm=float(np.clip(rng.gamma(4.0, 5.5 if is_female else 4.5), 5, 60)),
        inspiration=inspiration,
        heart_width_mm=float(np.clip(rng.normal(60 + 0.12 * (age_years - 40), 6), 46, 88)) * scale,
        kyphosis=kyphosis,
        vertebra_y_mm=(y + rng.normal(0, 0.8, RIB_COUNT)).astype(np.float32),
        half_width_mm=_scaled(_HALF_WIDTH_MM, scale * width * breadth),
        half_depth_mm=_scaled(_HALF_DEPTH_MM, scale * breadth * (1 + 0.12 * kyphosis)),
        back_z_mm=(-92 - 16 * (1 + kyphosis) * (curve - 0.5)).astype(np.float32)
        * np.float32(scale),
        end_rad=np.deg2rad(np.asarray(_END_DEG) + rng.normal(0, 3, RIB_COUNT)).astype(np.float32),
        slope=np.tan(np.deg2rad(slope_deg)).astype(np.float32),
        arm_drop=float(rng.uniform(0, 1)),
    )


def _scaled(values: npt.ArrayLike, factor: float) -> Array:
    return (np.asarray(values) * factor).astype(np.float32)
