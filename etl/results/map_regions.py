"""Boxes from a score map, and where they lie on the source film.

The rule: pixels of the map whose score is at least the run's stored operating threshold; those that
touch each other, also at a corner, form one region; regions of fewer than ``MIN_REGION_PX`` pixels
are left out. A region's box is the smallest one around its pixels, its score the highest in it.

Coordinates: pixel (row r, column c) covers [c, c + 1) x [r, r + 1), in the map as in the source
film, as everywhere in Ribline (docs/architecture.md, Geometry).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from etl.films.film_pixels import FilmGeometry
from warehouse_schema.film_scores import SCORE_MAX

# One cell of the network's own grid at stride 4.
MIN_REGION_PX = 16


@dataclass(frozen=True, kw_only=True)
class MapRegion:
    """One region, in pixels of the map.

    Attributes:
        x_min_px: Left edge of its box.
        y_min_px: Upper edge.
        x_max_px: Right edge, behind the last column.
        y_max_px: Lower edge, below the last row.
        n_px: Pixels of the region, not of the box.
        score: Highest score in it, 0 to 1.
        peak_x_px: Centre of the pixel with that score, the first in reading order.
        peak_y_px: Likewise.
    """

    x_min_px: int
    y_min_px: int
    x_max_px: int
    y_max_px: int
    n_px: int
    score: float
    peak_x_px: float
    peak_y_px: float


@dataclass(frozen=True, kw_only=True)
class SourceRegion:
    """One region on the source film, in its pixels; clipped to the film.

    Attributes:
        finding: Finding.
        x_px: Left edge of the box.
        y_px: Upper edge.
        width_px: Width of the box.
        height_px: Height of the box.
        score: Highest score in the region, 0 to 1.
        peak_x_px: Where that score is.
        peak_y_px: Likewise.
        n_map_px: Pixels of the region on the map.
    """

    finding: str
    x_px: float
    y_px: float
    width_px: float
    height_px: float
    score: float
    peak_x_px: float
    peak_y_px: float
    n_map_px: int


@dataclass(frozen=True, kw_only=True)
class MapGeometry:
    """How a score map lies on its source film.

    Attributes:
        film: Geometry of the cached film that was scored.
        map_size_px: Side of the square map, which shows the whole cached film.
        rows_px: Rows of the source film.
        columns_px: Columns of the source film.
    """

    film: FilmGeometry
    map_size_px: int
    rows_px: int
    columns_px: int

    def to_source(self, x_px: float, y_px: float) -> tuple[float, float]:
        """A point of the map on the source film, not clipped: the transform of ingest, inverted."""
        factor = self.film.size_px / self.map_size_px
        return (
            (x_px * factor - self.film.pad_left_px) / self.film.scale,
            (y_px * factor - self.film.pad_top_px) / self.film.scale,
        )

    def to_map(self, x_px: float, y_px: float) -> tuple[float, float]:
        """A point of the source film on the map."""
        factor = self.map_size_px / self.film.size_px
        return (
            (x_px * self.film.scale + self.film.pad_left_px) * factor,
            (y_px * self.film.scale + self.film.pad_top_px) * factor,
        )

    def source_region(self, finding: str, region: MapRegion) -> SourceRegion:
        """A region's box and peak on the source film."""
        x_min, y_min = self._clipped(region.x_min_px, region.y_min_px)
        x_max, y_max = self._clipped(region.x_max_px, region.y_max_px)
        peak_x, peak_y = self._clipped(region.peak_x_px, region.peak_y_px)
        return SourceRegion(
            finding=finding,
            x_px=x_min,
            y_px=y_min,
            width_px=x_max - x_min,
            height_px=y_max - y_min,
            score=region.score,
            peak_x_px=peak_x,
            peak_y_px=peak_y,
            n_map_px=region.n_px,
        )

    def _clipped(self, x_px: float, y_px: float) -> tuple[float, float]:
        x, y = self.to_source(x_px, y_px)
        return min(max(x, 0.0), float(self.columns_px)), min(max(y, 0.0), float(self.rows_px))


def threshold_level(threshold: float) -> int:
    """The least 16-bit score that reaches a threshold; 65536 where none does."""
    return min(round(threshold * SCORE_MAX), SCORE_MAX + 1)


def find_regions(
    score_map: NDArray[np.uint16], *, threshold: float, min_region_px: int = MIN_REGION_PX
) -> list[MapRegion]:
    """Regions of a map (H, W) by the rule above, the highest score first, then in reading order."""
    is_called = score_map >= max(threshold_level(threshold), 1)
    n_labels, labels, statistics, _ = cv2.connectedComponentsWithStats(
        is_called.astype(np.uint8), connectivity=8
    )
    regions = []
    for label in range(1, n_labels):
        left, top, width, height, n_px = (int(each) for each in statistics[label])
        if n_px < min_region_px:
            continue
        window = (slice(top, top + height), slice(left, left + width))
        inside = np.where(labels[window] == label, score_map[window], 0)
        row, column = divmod(int(np.argmax(inside)), width)
        regions.append(
            MapRegion(
                x_min_px=left,
                y_min_px=top,
                x_max_px=left + width,
                y_max_px=top + height,
                n_px=n_px,
                score=int(inside[row, column]) / SCORE_MAX,
                peak_x_px=left + column + 0.5,
                peak_y_px=top + row + 0.5,
            )
        )
    return sorted(regions, key=lambda each: (-each.score, each.y_min_px, each.x_min_px))


def rule_text(min_region_px: int = MIN_REGION_PX) -> str:
    """The rule as results state it."""
    return (
        "8-connected regions of map pixels at or above the run's operating threshold, at least "
        f"{min_region_px} map pixels each; score: the highest in the region"
    )


def is_reached(score: float, threshold: float) -> bool:
    """Whether a film's score reaches a threshold, compared as 16-bit numbers."""
    return math.floor(score * SCORE_MAX + 0.5) >= threshold_level(threshold)
