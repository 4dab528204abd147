"""Cone-beam geometry of a film and the line integrals of point-sampled anatomy.

World frame, millimetres: x towards the patient's left (the film's right), y downwards (feet),
z towards the patient's front. y = 0 is the upper end plate of the first thoracic vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Bone as point masses: positions_mm (N, 3) and volumes_mm3 (N,), cortical-equivalent."""

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
        """Positions (N, 3) in the beam's frame: the patient turned, then rolled."""
        c, s = np.float32(np.cos(self.turn_rad)), np.float32(np.sin(self.turn_rad))
        x, y, z = positions_mm[..., 0], positions_mm[..., 1], positions_mm[..., 2]
        x, z = c * x + s * z, c * z - s * x
        c, s = np.float32(np.cos(self.tilt_rad)), np.float32(np.sin(self.tilt_rad))
        y = y - np.float32(self.centre_y_mm)
        return np.stack([c * x - s * y, s * x + c * y + np.float32(self.centre_y_mm), z], axis=-1)

    def project(self, positions_mm: Array) -> tuple[Array, Array, Array]:
        """Column and row in pixels (centres at whole numbers) and magnification, each (N,)."""
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

    def directions(self, vectors: Array, magnification: Array) -> Array:
        """Displacement in pixels (N, 2) of world vectors (N, 3) at a magnification (N,)."""
        turned = self.turned(vectors + np.array([0, self.centre_y_mm, 0], dtype=np.float32))
        flat = turned[..., :2] - np.array([0, self.centre_y_mm], dtype=np.float32)
        return np.asarray(flat * (magnification / np.float32(self.pixel_spacing_mm))[..., None])

    def reduced(self, step_px: int) -> FilmGeometry:
        """The same view on every step_px-th pixel."""
        return replace(
            self,
            rows_px=-(-self.rows_px // step_px),
            columns_px=-(-self.columns_px // step_px),
            pixel_spacing_mm=self.pixel_spacing_mm * step_px,
        )

    def grid(
        self, depth_mm: float, window: tuple[slice, slice] = (slice(None), slice(None))
    ) -> tuple[Array, Array]:
        """World x and y (rows, columns) seen by each pixel, or those of a window, at one depth."""
        scale = self.pixel_spacing_mm / float(self.magnification(depth_mm))
        columns = (np.arange(self.columns_px)[window[1]] - (self.columns_px - 1) / 2) * scale
        rows = (np.arange(self.rows_px)[window[0]] - (self.rows_px - 1) / 2) * scale
        columns = (columns + self.centre_x_mm).astype(np.float32)
        u, v = np.meshgrid(columns, rows.astype(np.float32))
        c, s = np.float32(np.cos(self.tilt_rad)), np.float32(np.sin(self.tilt_rad))
        return c * u + s * v, c * v - s * u + np.float32(self.centre_y_mm)

    def window(self, centre_mm: Array, radius_mm: float) -> tuple[slice, slice]:
        """Rows and columns that a sphere about a point of the beam's frame can reach."""
        magnification = float(self.magnification(centre_mm[2]))
        scale = magnification / self.pixel_spacing_mm
        c, s = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
        x, y = centre_mm[0], centre_mm[1] - self.centre_y_mm
        middle = ((s * x + c * y) * scale, (c * x - s * y - self.centre_x_mm) * scale)
        reach = radius_mm * scale + 2
        slices = []
        for at, size in zip(middle, (self.rows_px, self.columns_px), strict=True):
            low, high = at + (size - 1) / 2 - reach, at + (size - 1) / 2 + reach
            slices.append(slice(int(np.clip(low, 0, size)), int(np.clip(high + 1, 0, size))))
        return slices[0], slices[1]


@dataclass(frozen=True, kw_only=True)
class FilmPoints:
    """Point masses on the film: column and row in pixels, thickness_mm what each adds, all (N,)."""

    column: Array
    row: Array
    thickness_mm: Array

    @staticmethod
    def joined(parts: list[FilmPoints]) -> FilmPoints:
        """All points of several lists in one."""
        return FilmPoints(
            column=np.concatenate([part.column for part in parts]),
            row=np.concatenate([part.row for part in parts]),
            thickness_mm=np.concatenate([part.thickness_mm for part in parts]),
        )


def projected(geometry: FilmGeometry, cloud: Cloud) -> FilmPoints:
    """A cloud's points on the film: volume over the area that a pixel covers at their depth."""
    column, row, magnification = geometry.project(cloud.positions_mm)
    area = (geometry.pixel_spacing_mm / magnification) ** 2
    return FilmPoints(column=column, row=row, thickness_mm=cloud.volumes_mm3 / area)


def splat(geometry: FilmGeometry, points: FilmPoints) -> Array:
    """Line integral (rows, columns) in mm: the ray-sum of a finely voxelised body.

    Points fall into cells of half a pixel, whose sums a small tent filter brings to the pixels.
    """
    wide, high = 2 * geometry.columns_px, 2 * geometry.rows_px
    left = (points.column * 2 + np.float32(1.0)).astype(np.int32)
    top = (points.row * 2 + np.float32(1.0)).astype(np.int32)
    # The unsigned comparison also drops what lies left of or above the film.
    inside = (left.view(np.uint32) < wide) & (top.view(np.uint32) < high)
    cell = np.where(inside, top * wide + left, wide * high)
    sums = np.bincount(cell, weights=points.thickness_mm, minlength=wide * high + 1)[:-1]
    fine = cv2.GaussianBlur(sums.astype(np.float32).reshape(high, wide), (0, 0), 0.7)
    size = (geometry.columns_px, geometry.rows_px)
    return np.asarray(4 * cv2.resize(fine, size, interpolation=cv2.INTER_AREA))
