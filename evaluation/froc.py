"""The paper's modified FROC (Wang et al., IPMI 2021, section 3.1), exact and in one pass.

"A fracture site is considered as recalled if the center of its bounding-box is activated. And the
activated pixels outside bounding-boxes are regarded as false positives." The FROC score is the
mean recall at ten false positive ratios, 1 % to 10 %.

Recall changes only at the scores of box centres, and each recall is reached at the smallest
number of false positive pixels when the threshold equals such a score. So the distinct centre
scores are all the thresholds there are to look at: they are collected from the boxed images first,
then each map is read once and leaves a vector of counts. The result equals a sweep over all 65,536
thresholds, and a bootstrap over patients is a matrix product with the count vectors.

Recall at a ratio is a step function: the largest recall at a false positive ratio <= x. It is not
interpolated.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.score_maps import (
    N_SCORES,
    ScoredImage,
    centre_scores,
    maximum_score,
    outside_histogram,
)

Denominator = Literal["whole_image", "valid_area"]

FALSE_POSITIVE_RATIOS: NDArray[np.float64] = np.arange(1, 11) / 100.0
# Two different ratios of 65,843 maps of 1024 x 1024 pixels differ by at least 1.4e-11, and rounding
# moves a ratio by less than 1e-15: so this slack makes "<=" exact.
RATIO_SLACK = 1e-12
_COLUMNS_PER_PRODUCT = 512


@dataclass(frozen=True)
class FrocCounts:
    """What a FROC curve of any subset or resample of n images with m boxes needs.

    ``thresholds``: (k,) int64, the distinct scores of box centres, descending.
    ``box_rows``: (m,) int64, the image of each box. ``box_scores``: (m,) int64, centre scores.
    ``outside_counts``: (n, k) int32, valid pixels outside all boxes with score >= threshold.
    ``image_px``, ``valid_px``: (n,) int64, pixels of the whole map and of its valid area.
    ``maximum_scores``: (n,) int64, image scores.
    """

    thresholds: NDArray[np.int64]
    box_rows: NDArray[np.int64]
    box_scores: NDArray[np.int64]
    outside_counts: NDArray[np.int32]
    image_px: NDArray[np.int64]
    valid_px: NDArray[np.int64]
    maximum_scores: NDArray[np.int64]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.image_px)

    @property
    def has_box(self) -> NDArray[np.bool_]:
        """Whether each image has a box, (n,)."""
        result: NDArray[np.bool_] = np.bincount(self.box_rows, minlength=self.n_images) > 0
        return result

    def subset(self, rows: NDArray[np.bool_]) -> "FrocCounts":
        """The counts of a mask of the images (n,), with their boxes."""
        place = np.cumsum(rows) - 1
        is_kept = rows[self.box_rows]
        return replace(
            self.with_boxes(is_kept),
            box_rows=place[self.box_rows[is_kept]],
            outside_counts=self.outside_counts[rows],
            image_px=self.image_px[rows],
            valid_px=self.valid_px[rows],
            maximum_scores=self.maximum_scores[rows],
        )

    def with_boxes(self, is_kept: NDArray[np.bool_]) -> "FrocCounts":
        """The same images with a mask of their boxes (m,); the others stay no false positives."""
        return replace(self, box_rows=self.box_rows[is_kept], box_scores=self.box_scores[is_kept])

    @classmethod
    def joined(cls, parts: Sequence["FrocCounts"]) -> "FrocCounts":
        """Counts of several sets of images one after the other, taken at the same thresholds."""
        thresholds = parts[0].thresholds
        if not all(np.array_equal(part.thresholds, thresholds) for part in parts):
            raise ValueError("counts can be joined only when their thresholds are the same")
        starts = np.cumsum([0, *(part.n_images for part in parts[:-1])])
        return cls(
            thresholds=thresholds,
            box_rows=np.concatenate(
                [part.box_rows + start for part, start in zip(parts, starts, strict=True)]
            ),
            box_scores=np.concatenate([part.box_scores for part in parts]),
            outside_counts=np.concatenate([part.outside_counts for part in parts]),
            image_px=np.concatenate([part.image_px for part in parts]),
            valid_px=np.concatenate([part.valid_px for part in parts]),
            maximum_scores=np.concatenate([part.maximum_scores for part in parts]),
        )

    def denominators(self, denominator: Denominator) -> NDArray[np.float64]:
        """Pixels that each image's false positives are divided by, (n,)."""
        pixels = self.image_px if denominator == "whole_image" else self.valid_px
        return pixels.astype(np.float64)


@dataclass(frozen=True)
class FrocCurve:
    """Points of a FROC curve from the empty activation on, (k + 1,) each, recall ascending.

    The first point has threshold 65,536 (nothing is activated), recall 0 and ratio 0.
    """

    thresholds: NDArray[np.int64]
    recalls: NDArray[np.float64]
    false_positive_ratios: NDArray[np.float64]

    def recall_at(self, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
        """Largest recall at a false positive ratio <= each of ``ratios``, same shape."""
        reached = np.searchsorted(self.false_positive_ratios, ratios + RATIO_SLACK, side="right")
        return self.recalls[reached - 1]

    def score(self) -> float:
        """FROC score: mean recall at the false positive ratios 1 % to 10 %."""
        return float(self.recall_at(FALSE_POSITIVE_RATIOS).mean())


def distinct_centre_scores(images: Iterable[ScoredImage]) -> NDArray[np.int64]:
    """Distinct scores at box centres over all images, (k,) descending."""
    scores = [centre_scores(image) for image in images if len(image.boxes_px)]
    if not scores:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate(scores))[::-1].copy()


def count_outside(image: ScoredImage, thresholds: NDArray[np.int64]) -> NDArray[np.int32]:
    """Valid pixels outside all boxes with score >= each threshold, (k,); thresholds descending."""
    if not len(thresholds):
        return np.zeros(0, dtype=np.int32)
    ascending = thresholds[::-1]
    per_bin = np.add.reduceat(outside_histogram(image), ascending)
    return np.cumsum(per_bin[::-1]).astype(np.int32)


class FrocCounter:
    """Collects count vectors image by image; holds no map.

    Memory: 4 bytes x images x distinct centre scores. The thresholds come from
    :func:`distinct_centre_scores` over the boxed images.
    """

    def __init__(self, thresholds: NDArray[np.int64]) -> None:
        self._thresholds = thresholds
        self._outside: list[NDArray[np.int32]] = []
        self._box_rows: list[int] = []
        self._box_scores: list[int] = []
        self._sizes: list[tuple[int, int, int]] = []

    def add(self, image: ScoredImage) -> None:
        """Count one image; its row is the number of images added before."""
        scores = centre_scores(image)
        if not np.isin(scores, self._thresholds).all():
            raise ValueError("an image has a box whose centre score is not among the thresholds")
        self._box_rows.extend([len(self._sizes)] * len(scores))
        self._box_scores.extend(int(score) for score in scores)
        self._outside.append(count_outside(image, self._thresholds))
        self._sizes.append((image.score_map.size, image.area().n_pixels, maximum_score(image)))

    def counts(self) -> FrocCounts:
        """The counts of all images added so far."""
        sizes = np.array(self._sizes, dtype=np.int64).reshape(-1, 3)
        outside = np.array(self._outside, dtype=np.int32)
        return FrocCounts(
            thresholds=self._thresholds,
            box_rows=np.array(self._box_rows, dtype=np.int64),
            box_scores=np.array(self._box_scores, dtype=np.int64),
            outside_counts=outside.reshape(len(sizes), len(self._thresholds)),
            image_px=sizes[:, 0],
            valid_px=sizes[:, 1],
            maximum_scores=sizes[:, 2],
        )


def froc_counts(images: Iterable[ScoredImage]) -> FrocCounts:
    """Counts of images that can be walked through twice (a list, or views of memory maps)."""
    if isinstance(images, Iterator):
        raise ValueError("froc_counts walks through the images twice: pass a sequence")
    counter = FrocCounter(distinct_centre_scores(images))
    for image in images:
        counter.add(image)
    return counter.counts()


def froc_curve(
    counts: FrocCounts,
    *,
    false_positive_rows: NDArray[np.bool_] | None = None,
    denominator: Denominator = "whole_image",
) -> FrocCurve:
    """FROC curve of all boxes against the false positives of the selected images.

    ``false_positive_rows``: (n,) mask of the images whose false positives are averaged (R only or
    N only); all by default. Recall always counts every box. ValueError without boxes or images.
    """
    rows = np.ones(counts.n_images, bool) if false_positive_rows is None else false_positive_rows
    if not len(counts.box_scores) or not rows.any():
        raise ValueError("a FROC curve needs at least one box and one image")
    weights = np.ones((1, counts.n_images))
    recalls, ratios = resampled_points(counts, weights, rows=rows, denominator=denominator)
    return FrocCurve(
        thresholds=np.concatenate(([N_SCORES], counts.thresholds)),
        recalls=np.concatenate(([0.0], recalls[0])),
        false_positive_ratios=np.concatenate(([0.0], ratios[0])),
    )


def resampled_points(
    counts: FrocCounts,
    weights: NDArray[np.float64],
    *,
    rows: NDArray[np.bool_],
    denominator: Denominator = "whole_image",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and false positive ratio at every threshold for resamples of the images.

    ``weights``: (b, n), how often each resample contains each image. Returns two arrays (b, k).
    With equal denominators every product is one of whole numbers below 2**53, hence exact and
    independent of the order of summation.
    """
    hit = (counts.box_scores[:, None] >= counts.thresholds[None, :]).astype(np.float64)
    box_weights = weights[:, counts.box_rows]
    recalls = box_weights @ hit / box_weights.sum(axis=1, keepdims=True)
    selected = weights[:, rows]
    pixels = counts.denominators(denominator)[rows]
    one_size = bool((pixels == pixels[0]).all())
    scaled = selected if one_size else selected / pixels
    ratios = np.empty_like(recalls)
    for start in range(0, len(counts.thresholds), _COLUMNS_PER_PRODUCT):
        columns = slice(start, start + _COLUMNS_PER_PRODUCT)
        chunk = counts.outside_counts[:, columns][rows].astype(np.float64)
        ratios[:, columns] = scaled @ chunk
    total = selected.sum(axis=1, keepdims=True) * (pixels[0] if one_size else 1.0)
    ratios[total[:, 0] == 0] = np.nan
    np.divide(ratios, total, out=ratios, where=total > 0)
    return recalls, ratios


def resampled_recalls(
    counts: FrocCounts,
    weights: NDArray[np.float64],
    ratios_wanted: NDArray[np.float64],
    *,
    rows: NDArray[np.bool_],
    denominator: Denominator = "whole_image",
) -> NDArray[np.float64]:
    """Recall at each wanted false positive ratio for resamples of the images, (b, r).

    NaN for a resample without an image whose false positives count.
    """
    recalls, ratios = resampled_points(counts, weights, rows=rows, denominator=denominator)
    with_origin = np.concatenate([np.zeros((len(weights), 1)), recalls], axis=1)
    reached = np.stack(
        [np.searchsorted(row, ratios_wanted + RATIO_SLACK, side="right") for row in ratios]
    )
    found = np.take_along_axis(with_origin, reached, axis=1)
    found[np.isnan(ratios).any(axis=1)] = np.nan
    return found
