"""The bony thorax: ribs, clavicles, scapulae, humeri, spine and sternum as tubes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.projection import Array, Cloud
from etl.synthetic_hospital.thorax_shape import RIB_COUNT, ThoraxShape
from etl.synthetic_hospital.thorax_spine import build_spine
from etl.synthetic_hospital.thorax_tubes import Tube

SIDE_SIGN = {"left": 1.0, "right": -1.0}


@dataclass(frozen=True, kw_only=True)
class Bones:
    """Every tube of one patient; ribs by (side, rib number), clavicles by side."""

    ribs: dict[tuple[str, int], Tube]
    clavicles: dict[str, Tube]
    others: tuple[Tube, ...]
    spine: Cloud


def build_bones(rng: np.random.Generator, shape: ThoraxShape, *, is_posteroanterior: bool) -> Bones:
    """Draws the bones of a patient; on a PA film the scapulae are turned off the lungs."""
    density = 1.0 - 0.006 * max(shape.age_years - 50, 0) * (1.3 if shape.is_female else 0.8)
    density *= float(rng.normal(1.0, 0.07))
    ribs = {
        (side, number): _rib(rng, shape, number, sign, density)
        for side, sign in SIDE_SIGN.items()
        for number in range(1, RIB_COUNT + 1)
    }
    tilt = float(rng.normal(0, 5))
    clavicles = {
        side: _clavicle(rng, shape, sign, density, tilt * sign) for side, sign in SIDE_SIGN.items()
    }
    others: list[Tube] = []
    for sign in SIDE_SIGN.values():
        others += _shoulder(shape, sign, density, is_posteroanterior=is_posteroanterior)
    others += [_sternum(shape, density)]
    return Bones(
        ribs=ribs, clavicles=clavicles, others=tuple(others), spine=build_spine(shape, density)
    )


def rib_angles(shape: ThoraxShape, number: int) -> Array:
    """Angles of a rib's stations, from the transverse process to its bony front end."""
    half_width = float(shape.half_width_mm[number - 1])
    start = np.arcsin(min(24 * shape.scale / half_width, 0.9) ** (1 / 0.9))
    return np.linspace(start, float(shape.end_rad[number - 1]), 90, dtype=np.float32)


def _rib(
    rng: np.random.Generator, shape: ThoraxShape, number: int, sign: float, density: float
) -> Tube:
    angles = rib_angles(shape, number)
    axis = shape.rib_point(number - 1, angles, sign)
    # Neighbouring ribs are never quite parallel: a slow wave, well below a rib's height.
    wave = rng.normal(0, 1.0) * np.sin(angles * 1.7 + rng.uniform(0, 6.28))
    axis[:, 1] += wave.astype(np.float32)
    axis[:, 1] += np.float32(rng.normal(0, 0.9)) * np.sin(angles)
    along = np.linspace(0, 1, len(angles))
    size = shape.scale * rng.normal(1, 0.03) * (0.92 if shape.is_female else 1.0)
    size *= {1: 0.9, 2: 0.95, 11: 0.85, 12: 0.65}.get(number, 1.0)
    height = 5.6 + 1.3 * along + 0.7 * np.clip((along - 0.85) / 0.15, 0, 1)
    depth = 3.9 - 0.7 * along
    taper = 0.75 + 0.25 * np.clip(along / 0.08, 0, 1)
    if number == 1:
        height, depth = 4.4 + 0 * along, 8.5 + 0 * along
    if number >= 11:
        taper = taper * (1 - 0.5 * np.clip((along - 0.5) / 0.5, 0, 1))
    return Tube(
        axis_mm=axis,
        half_height_mm=(height * size * taper).astype(np.float32),
        half_depth_mm=(depth * size * taper).astype(np.float32),
        cortex_mm=((1.45 - 0.85 * along) * density).astype(np.float32),
        spongy_density=0.2 * density,
    )


def _clavicle(
    rng: np.random.Generator, shape: ThoraxShape, sign: float, density: float, tilt_mm: float
) -> Tube:
    front = float(shape.back_z_mm[2] + 1.75 * shape.half_depth_mm[2])
    knots = np.array(
        [
            [20, 56, front],
            [48, 45, front + 6],
            [85, 33, front - 6],
            [118, 27, front - 34],
            [142, 24, front - 48],
            [163, 24, front - 48],
        ]
    )
    knots[:, :2] *= shape.scale
    knots[1:, 1] += tilt_mm * np.linspace(0.2, 1, 5) + rng.normal(0, 1.2, 5)
    knots[:, 0] *= sign
    axis = smooth_curve(knots, 90)
    along = np.linspace(0, 1, 90)
    radius = 6.0 + 3.0 * np.exp(-((along / 0.12) ** 2)) + 1.5 * np.exp(-(((1 - along) / 0.15) ** 2))
    radius = radius * shape.scale * (0.88 if shape.is_female else 1.0)
    return Tube(
        axis_mm=axis,
        half_height_mm=(0.98 * radius).astype(np.float32),
        half_depth_mm=(1.1 * radius).astype(np.float32),
        cortex_mm=((1.4 + 1.2 * np.sin(np.pi * along)) * density).astype(np.float32),
        spongy_density=0.2 * density,
    )


def _shoulder(
    shape: ThoraxShape, sign: float, density: float, *, is_posteroanterior: bool
) -> list[Tube]:
    """Scapula (a thin blade with thick borders, spine and acromion) and the upper humerus."""
    out = 22.0 if is_posteroanterior else 4.0
    glenoid, tip = (160.0, 50.0, -40.0), (118 + out, 172.0, -88.0)
    medial_top, root = (88 + out, 24.0, -88.0), (84 + out, 52.0, -98.0)
    acromion, coracoid = (176.0, 22.0, -38.0), (142.0, 44.0, 2.0)
    elbow = (216 + 20 * shape.arm_drop, 330.0, -30.0)
    head: list[float] = [3, 12, 19, 22, 19, 15, 14]

    def bone(
        knots: list[tuple[float, float, float]],
        half: list[float],
        depth: list[float],
        cortex: float,
    ) -> Tube:
        points = np.asarray(knots) * [sign * shape.scale, shape.scale, 1.0]
        return plain_tube(points, half, depth, cortex * density, spongy=0.16 * density)

    blade_middle = (110 + out, 95.0, -96.0)
    return [
        bone([glenoid, (146 + out * 0.6, 95.0, -66.0), tip], [6, 4.5, 2.5], [5, 4, 2], 0.7),
        bone([root, blade_middle, tip], [2, 2, 2.4], [1.6, 1.6, 2], 0.7),
        bone([medial_top, (120.0, 28.0, -66.0), (142.0, 36.0, -44.0)], [2, 2, 3], [2, 2, 3], 0.6),
        bone([root, (126.0, 36.0, -78.0), acromion], [2.5, 4, 6], [4, 6, 9], 0.8),
        bone([glenoid, (150.0, 40.0, -16.0), coracoid], [8, 6, 5], [8, 6, 5], 0.9),
        bone([(161.0, 34.0, -40.0), glenoid, (158.0, 68.0, -42.0)], [5, 6, 5], [10, 12, 9], 1.0),
        bone([(188.0, 66.0, -33.0), (194.0, 110.0, -32.0), elbow], [15, 12, 11], [15, 12, 11], 2.0),
        bone(
            [(184.0, y, -34.0) for y in (26, 29, 36, 48, 60, 67, 72)],
            head,
            head,
            0.7,
        ),
        # The blade's thin middle, as one broad flat tube.
        bone(
            [(124 + out * 0.7, 48.0, -76.0), (126 + out, 100.0, -84.0), tip],
            [1, 1, 1],
            [30, 22, 4],
            0.5,
        ),
    ]


def _sternum(shape: ThoraxShape, density: float) -> Tube:
    front = shape.back_z_mm + 2 * shape.half_depth_mm
    points = [(0.0, 52.0, front[2] - 6), (0.0, 100.0, front[3] + 2), (0.0, 190.0, front[5] + 6)]
    scaled = np.asarray(points) * [1, shape.scale, 1]
    return plain_tube(
        scaled, [24, 16, 15], [5, 5, 4], 0.5 * density, spongy=0.12, up=(1.0, 0.0, 0.0)
    )


def plain_tube(
    knots: npt.ArrayLike,
    half_height: list[float],
    half_depth: list[float],
    cortex: float,
    *,
    spongy: float,
    up: tuple[float, float, float] | None = None,
) -> Tube:
    """A tube through some knots; `up` defaults to a direction across the tube."""
    knots = np.asarray(knots, dtype=np.float64)
    axis = smooth_curve(knots, 16)
    run = np.abs(knots[-1] - knots[0])
    across = (0.0, 1.0, 0.0) if run[1] < max(run[0], run[2]) else (1.0, 0.0, 0.0)
    at, stations = np.linspace(0, 1, len(knots)), np.linspace(0, 1, 16)
    return Tube(
        axis_mm=axis,
        half_height_mm=np.interp(stations, at, half_height).astype(np.float32),
        half_depth_mm=np.interp(stations, at, half_depth).astype(np.float32),
        cortex_mm=np.full(16, cortex, dtype=np.float32),
        spongy_density=spongy,
        up=up or across,
    )


def smooth_curve(knots: npt.NDArray[np.float64], count: int) -> Array:
    """A Catmull-Rom curve (count, 3) through the knots (K, 3)."""
    padded = np.concatenate([[2 * knots[0] - knots[1]], knots, [2 * knots[-1] - knots[-2]]])
    at = np.linspace(0, len(knots) - 1, count)
    i = np.minimum(at.astype(int), len(knots) - 2)
    t = (at - i)[:, None]
    p0, p1, p2, p3 = (padded[i + k] for k in range(4))
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
    curve += (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.asarray(curve / 2, dtype=np.float32)
