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
    places = np.flatnonzero(is_top)
    rows, columns = places // valid.shape[1], places % valid.shape[1]
    if len(places):
        _, labels, _, centroids = cv2.connectedComponentsWithStats(
            is_top.view(np.uint8), connectivity=8
        )
        region = labels.ravel()[places]
        away = (columns - centroids[region, 0]) ** 2 + (rows - centroids[region, 1]) ** 2
        order = np.lexsort((places, away.round(6), region))
        _, first = np.unique(region[order], return_index=True)
        chosen = np.sort(order[first])
        rows, columns = rows[chosen], columns[chosen]
    scores = valid[rows, columns].astype(np.int64)
    return Peaks(rows + area.row_start, columns + area.column_start, scores)


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
