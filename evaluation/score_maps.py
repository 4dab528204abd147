"""16-bit score maps: quantisation, valid area, box pixels and histograms.

A score map is a ``uint16`` array of shape (H, W) in the network frame, ``round(p * 65535)`` of the
probability map. Everything that evaluation computes refers to these stored scores. A pixel is
activated at threshold T when its score >= T.

Rounding. A box is ``(x_min, y_min, x_max, y_max)`` in pixels of the network frame, where pixel
(row r, column c) covers the half-open square [c, c + 1) x [r, r + 1).

* The centre pixel is the one that contains the box's mid-point: ``floor((x_min + x_max) / 2)``,
  ``floor((y_min + y_max) / 2)``, moved to the nearest valid pixel when it falls outside the valid
  area (a clipped box on a border).
* The pixels of a box are all that it touches: columns ``floor(x_min)`` to ``ceil(x_max) - 1``,
  rows alike, at least the centre pixel, clipped to the valid area.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SCORE_MAX = 65535
N_SCORES = SCORE_MAX + 1
# cv2.calcHist counts in float32, which is exact up to this many pixels.
_EXACT_FLOAT32_PIXELS = 1 << 24


def quantise(probabilities: NDArray[np.floating]) -> NDArray[np.uint16]:
    """16-bit scores of probabilities in [0, 1], any shape; ValueError on NaN or values outside."""
    values = np.asarray(probabilities, dtype=np.float64)
    if not bool(np.all((values >= 0.0) & (values <= 1.0))):
        raise ValueError("probabilities must be finite and within [0, 1]")
    return np.rint(values * SCORE_MAX).astype(np.uint16)


@dataclass(frozen=True)
class ValidArea:
    """The rectangle of a map that shows the film and not padding; half-open pixel ranges."""

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int

    def __post_init__(self) -> None:
        if min(self.row_start, self.column_start) < 0 or self.n_pixels <= 0:
            raise ValueError(f"a valid area needs at least one pixel, got {self}")

    @property
    def n_pixels(self) -> int:
        """Number of pixels in the area; zero or negative when a range is empty."""
        height, width = self.row_stop - self.row_start, self.column_stop - self.column_start
        return height * width if height > 0 and width > 0 else 0

    def of(self, score_map: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The part of a map (H, W) inside this area, as a view; ValueError when it sticks out."""
        height, width = score_map.shape
        if self.row_stop > height or self.column_stop > width:
            raise ValueError(f"{self} does not fit a map of {height} x {width} pixels")
        return score_map[self.row_start : self.row_stop, self.column_start : self.column_stop]


@dataclass(frozen=True)
class ScoredImage:
    """One image's score map with its boxes of one finding.

    ``score_map``: (H, W) uint16, may be a view into a memory-mapped file.
    ``boxes_px``: (n, 4) float64, x_min, y_min, x_max, y_max in the network frame.
    ``valid_area``: None when the map has no padding.
    """

    score_map: NDArray[np.uint16]
    boxes_px: NDArray[np.float64]
    valid_area: ValidArea | None = None

    def area(self) -> ValidArea:
        """The valid area, the whole map when none was given."""
        if self.valid_area is not None:
            return self.valid_area
        height, width = self.score_map.shape
        return ValidArea(0, height, 0, width)


def centre_pixel(box_px: Sequence[float], area: ValidArea) -> tuple[int, int]:
    """Row and column of a box's centre pixel; see the module's text for the rounding."""
    x_min, y_min, x_max, y_max = (float(value) for value in box_px)
    row, column = int(np.floor((y_min + y_max) / 2)), int(np.floor((x_min + x_max) / 2))
    return (
        min(max(row, area.row_start), area.row_stop - 1),
        min(max(column, area.column_start), area.column_stop - 1),
    )


def box_pixels(box_px: Sequence[float], area: ValidArea) -> tuple[slice, slice]:
    """Row and column slices of the pixels that a box touches, at least its centre pixel."""
    x_min, y_min, x_max, y_max = (float(value) for value in box_px)
    row, column = centre_pixel(box_px, area)
    rows = slice(
        max(min(int(np.floor(y_min)), row), area.row_start),
        min(max(int(np.ceil(y_max)), row + 1), area.row_stop),
    )
    columns = slice(
        max(min(int(np.floor(x_min)), column), area.column_start),
        min(max(int(np.ceil(x_max)), column + 1), area.column_stop),
    )
    return rows, columns


def centre_scores(image: ScoredImage) -> NDArray[np.int64]:
    """Score at each box's centre pixel, (n,) in the order of the boxes."""
    area = image.area()
    area.of(image.score_map)
    pixels = [centre_pixel(box, area) for box in image.boxes_px]
    return np.array([image.score_map[pixel] for pixel in pixels], dtype=np.int64)


def outside_mask(image: ScoredImage) -> NDArray[np.bool_]:
    """(H, W) mask of the valid pixels outside all boxes of the image."""
    area = image.area()
    mask = np.zeros(image.score_map.shape, dtype=bool)
    mask[area.row_start : area.row_stop, area.column_start : area.column_stop] = True
    for box in image.boxes_px:
        mask[box_pixels(box, area)] = False
    return mask


def outside_histogram(image: ScoredImage) -> NDArray[np.int64]:
    """Number of valid pixels outside all boxes with each score, (65536,)."""
    valid = image.area().of(image.score_map)
    counts = score_histogram(valid)
    if len(image.boxes_px):
        inside = ~outside_mask(image)
        # Padding is neither inside nor outside a box: only the valid part was counted above.
        area = image.area()
        inside = inside[area.row_start : area.row_stop, area.column_start : area.column_stop]
        counts -= np.bincount(valid[inside], minlength=N_SCORES)
    return counts


def score_histogram(scores: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Number of pixels with each score in a (H, W) map, (65536,)."""
    if scores.dtype != np.uint16:
        raise ValueError(f"score maps are uint16, got {scores.dtype}")
    if scores.size > _EXACT_FLOAT32_PIXELS:
        return np.bincount(scores.ravel(), minlength=N_SCORES)
    histogram = cv2.calcHist([scores], [0], None, [N_SCORES], [0, N_SCORES])
    return histogram.ravel().astype(np.int64)


def maximum_score(image: ScoredImage) -> int:
    """The image score: the largest score in the valid area."""
    return int(image.area().of(image.score_map).max())
