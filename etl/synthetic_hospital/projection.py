"""Cone-beam geometry of a film and the line integrals of point-sampled anatomy.

World frame, millimetres: x towards the patient's left (the film's right), y downwards (feet),
z towards the patient's front. y = 0 is the upper end plate of the first thoracic vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Bone as point masses: positions_mm (N, 3) and volumes_mm3 (N,) of cortical-equivalent bone."""

    positions_mm: Array
    volumes_mm3: Array

    @staticmethod
    def joined(clouds: list[Cloud]) -> Cloud:
        """All points of several clouds in one."""
        return Cloud(
            positions_mm=np.concatenate([cloud.positions_mm for cloud in clouds]),
            volumes_mm3=np.concatenate([cloud.volumes_mm3 for cloud in clouds]),
        )


@dataclass(frozen=True, kw_only=True)
class FilmGeometry:
    """Where the source, the patient and the detector stand, and the film's pixel grid.

    turn_rad turns the patient about the vertical axis (a quarter turn is a lateral view).
    detector_z_mm and source_distance_mm are along the beam; is_source_behind is a PA exposure.
    """

    rows_px: int
    columns_px: int
    pixel_spacing_mm: float
    centre_x_mm: float
    centre_y_mm: float
    turn_rad: float
    tilt_rad: float
    detector_z_mm: float
    source_distance_mm: float
    is_source_behind: bool

    def magnification(self, depth_mm: npt.ArrayLike) -> Array:
        """Magnification of something at depth_mm along the beam (after the turn)."""
        depth = np.asarray(depth_mm, dtype=np.float32)
        to_detector = self.detector_z_mm - depth
        if not self.is_source_behind:
            to_detector = depth + self.detector_z_mm
        ratio = self.source_distance_mm / (self.source_distance_mm - to_detector)
        return np.asarray(ratio, dtype=np.float32)

    def turned(self, positions_mm: Array) -> Array:
        """Positions (N, 3) in the beam's frame: the patient turned, then rolled in the film plane."""
        c, s = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        x, y, z = positions_mm[..., 0], positions_mm[..., 1], positions_mm[..., 2]
        x, z = c * x + s * z, c * z - s * x
        c, s = np.float32(np.cos(self.tilt_rad)), np.float32(np.sin(self.tilt_rad))
        y = y - np.float32(self.centre_y_mm)
        return np.stack([c * x - s * y, s * x + c * y + np.float32(self.centre_y_mm), z], axis=-1)

    def project(self, positions_mm: Array) -> tuple[Array, Array, Array]:
        """Column and row in pixels (pixel centres at whole numbers) and magnification, each (N,)."""
        beam = self.turned(positions_mm)
        magnification = self.magnification(beam[..., 2])
        scale = magnification / np.float32(self.pixel_spacing_mm)
        column = (beam[..., 0] - np.float32(self.centre_x_mm)) * scale
        row = (beam[..., 1] - np.float32(self.centre_y_mm)) * scale
        return (
            column + np.float32((self.columns_px - 1) / 2),
            row + np.float32((self.rows_px - 1) / 2),
            magnification,
        )

    def grid(self, depth_mm: float, step_px: int = 1) -> tuple[Array, Array]:
        """World x and y (rows / step, columns / step) seen by each pixel at one depth."""
        scale = self.pixel_spacing_mm / float(self.magnification(depth_mm))
        middle = (step_px - 1) / 2
        columns = np.arange(0, self.columns_px, step_px) + middle - (self.columns_px - 1) / 2
        rows = np.arange(0, self.rows_px, step_px) + middle - (self.rows_px - 1) / 2
        u, v = np.meshgrid((columns * scale).astype(np.float32), (rows * scale).astype(np.float32))
        c, s = np.float32(np.cos(self.tilt_rad)), np.float32(np.sin(self.tilt_rad))
        u = u + np.float32(self.centre_x_mm)
        return c * u + s * v, c * v - s * u + np.float32(self.centre_y_mm)


def splat(geometry: FilmGeometry, cloud: Cloud) -> Array:
    """Line integral (rows, columns), in mm of cortical-equivalent bone, of a point cloud.

    Each point's volume is shared among its four nearest pixels (bilinear), divided by the area
    that a pixel covers at the point's depth: the ray-sum of a finely voxelised body.
    """
    column, row, magnification = geometry.project(cloud.positions_mm)
    left = np.floor(column).astype(np.int32)
    top = np.floor(row).astype(np.int32)
    inside = (left >= 0) & (top >= 0)
    inside &= (left < geometry.columns_px - 1) & (top < geometry.rows_px - 1)
    left, top = left[inside], top[inside]
    across = column[inside] - left
    down = row[inside] - top
    thickness = cloud.volumes_mm3[inside] * (magnification[inside] / geometry.pixel_spacing_mm) ** 2
    corner = top * geometry.columns_px + left
    size = geometry.rows_px * geometry.columns_px
    lower = thickness * down
    upper = thickness - lower
    total = np.zeros(size)
    for offset, weight in (
        (0, upper * (1 - across)),
        (1, upper * across),
        (geometry.columns_px, lower * (1 - across)),
        (geometry.columns_px + 1, lower * across),
    ):
        total += np.bincount(corner + offset, weights=weight, minlength=size)
    return total.reshape(geometry.rows_px, geometry.columns_px).astype(np.float32)
