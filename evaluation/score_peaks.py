"""Peaks of a score map: the false-positive regions and hits of the classic FROC.

A peak is a pixel of the valid area whose score is above zero and not below any other within a
square of ``radius`` pixels around it (a 64th of the map's side: 16 pixels of 1,024, some 7 mm of a
chest film). Equal neighbouring pixels (8-connected) are one peak, at the pixel nearest to their
mean place, ties by row, then column.

Matching: a peak hits every box whose pixels (as in ``score_maps``) hold it. A box's score is that
of its best peak; further peaks in it count for nothing. A peak outside all boxes of the finding is
a false positive. Without overlapping boxes this is CAMELYON16's rule (JAMA 2017, PubMed 29234806),
which MONAI's ``compute_fp_tp_probs`` follows.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evaluation.score_maps import ScoredImage, box_pixels

RADIUS_SHARE = 64
NOT_HIT = -1


@dataclass(frozen=True)
class Peaks:
    """Peaks of one map: ``rows``, ``columns`` and ``scores``, (p,) int64 each, in map order."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    scores: NDArray[np.int64]


@dataclass(frozen=True)
class MatchedPeaks:
    """Peaks against boxes.

    ``box_scores``: (m,) int64, the best peak in each box, -1 where there is none.
    ``false_scores``: (f,) int64, peaks outside all boxes.
    """

    box_scores: NDArray[np.int64]
    false_scores: NDArray[np.int64]


def peak_radius(score_map: NDArray[np.uint16]) -> int:
    """Distance in pixels within which only the highest pixel is a peak."""
    height, width = score_map.shape
    return max(1, int(max(height, width)) // RADIUS_SHARE)


def find_peaks(image: ScoredImage, radius: int | None = None) -> Peaks:
    """Peaks of an image's valid area."""
    area = image.area()
    valid = np.ascontiguousarray(area.of(image.score_map))
    side = 2 * (peak_radius(image.score_map) if radius is None else radius) + 1
    highest = cv2.dilate(valid, np.ones((side, side), np.uint8))
    is_top = (valid == highest) & (valid > 0)
    rows, columns = _middles(np.flatnonzero(is_top), valid.shape[1])
    scores = valid[rows, columns].astype(np.int64)
    return Peaks(rows + area.row_start, columns + area.column_start, scores)


def _middles(places: NDArray[np.intp], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of one pixel for each 8-connected region of the pixels ``places``, rising."""
    rows, columns = places // width, places % width
    pairs = [
        _neighbours(places, columns, down * width + right, right)
        for down, right in ((0, 1), (1, -1), (1, 0), (1, 1))
    ]
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    if len(first):
        graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(places),) * 2)
        region = connected_components(graph, directed=False)[1]
        sizes = np.bincount(region)
        away = rows - (np.bincount(region, weights=rows) / sizes)[region]
        aside = columns - (np.bincount(region, weights=columns) / sizes)[region]
        order = np.lexsort((places, (away**2 + aside**2).round(6), region))
        chosen = np.sort(order[np.unique(region[order], return_index=True)[1]])
        rows, columns = rows[chosen], columns[chosen]
    return rows, columns


def _neighbours(
    places: NDArray[np.intp], columns: NDArray[np.intp], step: int, right: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of indexes into ``places`` (rising) that lie a step and ``right`` columns apart."""
    found = np.minimum(np.searchsorted(places, places + step), len(places) - 1)
    is_pair = places[found] == places + step
    is_pair &= columns[found] - columns == right
    return np.flatnonzero(is_pair), found[is_pair]


def match_peaks(image: ScoredImage, radius: int | None = None) -> MatchedPeaks:
    """An image's peaks against its boxes."""
    peaks = find_peaks(image, radius)
    is_outside = np.ones(len(peaks.scores), dtype=bool)
    best = []
    for box in image.boxes_px:
        rows, columns = box_pixels(box, image.area())
        is_inside = (
            (peaks.rows >= rows.start)
            & (peaks.rows < rows.stop)
            & (peaks.columns >= columns.start)
            & (peaks.columns < columns.stop)
        )
        is_outside &= ~is_inside
        best.append(int(peaks.scores[is_inside].max(initial=NOT_HIT)))
    return MatchedPeaks(np.array(best, dtype=np.int64), peaks.scores[is_outside])
