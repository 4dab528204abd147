"""The classic FROC: share of boxes hit against false-positive regions per image.

Regions are the peaks of ``score_peaks``. As with the modified FROC, sensitivity changes only at the
boxes' scores, so an image leaves a vector of counts at these; :class:`FrocCounts` then holds peaks
in the place of pixels, and one "pixel" per image. Sensitivity at a number of false positives is a
step function, where MONAI and CAMELYON16 interpolate; unlike ``compute_froc_curve_data`` of MONAI,
the lowest threshold is a point of the curve.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from evaluation.froc import FrocCounts
from evaluation.score_maps import ScoredImage, maximum_score
from evaluation.score_peaks import match_peaks

FALSE_POSITIVES_PER_IMAGE: NDArray[np.float64] = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])


def distinct_box_scores(images: Iterable[ScoredImage]) -> NDArray[np.int64]:
    """Distinct best peaks of boxes over all images, (k,) descending; boxes not hit give none."""
    scores = [match_peaks(image).box_scores for image in images if len(image.boxes_px)]
    if not scores:
        return np.zeros(0, dtype=np.int64)
    distinct = np.unique(np.concatenate(scores))[::-1]
    return distinct[distinct >= 0].copy()


class LesionCounter:
    """Collects counts of false-positive peaks image by image; holds no map.

    The thresholds come from :func:`distinct_box_scores` over the boxed images.
    """

    def __init__(self, thresholds: NDArray[np.int64]) -> None:
        self._thresholds = thresholds
        self._false: list[NDArray[np.int32]] = []
        self._box_rows: list[int] = []
        self._box_scores: list[int] = []
        self._maximum_scores: list[int] = []

    def add(self, image: ScoredImage) -> None:
        """Count one image; its row is the number of images added before."""
        peaks = match_peaks(image)
        is_known = np.isin(peaks.box_scores, self._thresholds) | (peaks.box_scores < 0)
        if not is_known.all():
            raise ValueError("an image has a box whose score is not among the thresholds")
        self._box_rows.extend([len(self._false)] * len(peaks.box_scores))
        self._box_scores.extend(int(score) for score in peaks.box_scores)
        below = np.searchsorted(np.sort(peaks.false_scores), self._thresholds, side="left")
        self._false.append((len(peaks.false_scores) - below).astype(np.int32))
        self._maximum_scores.append(maximum_score(image))

    def counts(self) -> FrocCounts:
        """The counts of all images added so far."""
        n_images = len(self._false)
        ones = np.ones(n_images, dtype=np.int64)
        return FrocCounts(
            thresholds=self._thresholds,
            box_rows=np.array(self._box_rows, dtype=np.int64),
            box_scores=np.array(self._box_scores, dtype=np.int64),
            outside_counts=np.array(self._false, dtype=np.int32).reshape(
                n_images, len(self._thresholds)
            ),
            image_px=ones,
            valid_px=ones,
            maximum_scores=np.array(self._maximum_scores, dtype=np.int64),
        )


def lesion_counts(images: Iterable[ScoredImage]) -> FrocCounts:
    """Counts of images that can be walked through twice (a list, or views of memory maps)."""
    if isinstance(images, Iterator):
        raise ValueError("lesion_counts walks through the images twice: pass a sequence")
    counter = LesionCounter(distinct_box_scores(images))
    for image in images:
        counter.add(image)
    return counter.counts()
