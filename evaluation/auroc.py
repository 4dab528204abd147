"""AUROC, average precision and ROC curves of image scores, with resampling weights.

The image score is the maximum of the score map over its valid area (the paper, section 3.1). Ties
count half in AUROC; average precision is the step sum of precision over recall, as scikit-learn's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import PatientBootstrap


@dataclass(frozen=True)
class RocCurve:
    """ROC points with descending thresholds, (k,) each; the first one activates nothing.

    Points on a straight line between their neighbours may be left out.
    """

    thresholds: NDArray[np.float64]
    false_positive_rates: NDArray[np.float64]
    true_positive_rates: NDArray[np.float64]


@dataclass(frozen=True)
class RankedScores:
    """Images grouped by distinct score, descending, ready for resampling.

    ``order``: (n,) images sorted by score. ``starts``: (g,) first place of each group.
    ``scores``: (g,) distinct scores. ``is_positive``: (n,) in sorted order.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    scores: NDArray[np.float64]
    is_positive: NDArray[np.bool_]

    def cumulative(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight of positives and of negatives with score >= each distinct score, (b, g) each."""
        ordered = weights[:, self.order]
        positive = np.add.reduceat(ordered * self.is_positive, self.starts, axis=1)
        negative = np.add.reduceat(ordered * ~self.is_positive, self.starts, axis=1)
        return np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)


@dataclass(frozen=True)
class ClassificationDraws:
    """Bootstrap draws: AUROC and average precision (b,), true positive rates on a grid (b, g)."""

    auroc: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    true_positive_rates: NDArray[np.float64]


def rank_scores(scores: NDArray[np.generic], is_positive: NDArray[np.bool_]) -> RankedScores:
    """Group images by score; ValueError on NaN or when a class is missing."""
    values = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(is_positive, dtype=bool)
    if values.shape != labels.shape or not np.isfinite(values).all():
        raise ValueError("scores must be finite and one per image")
    if not labels.any() or labels.all():
        raise ValueError("AUROC needs at least one positive and one negative image")
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return RankedScores(order, starts, ordered[starts], labels[order])


def _auroc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    gained = np.diff(negative, axis=1, prepend=0.0)
    halves = positive - np.diff(positive, axis=1, prepend=0.0) / 2.0
    area: NDArray[np.float64] = (gained * halves).sum(axis=1)
    return _ratio(area, positive[:, -1] * negative[:, -1])


def _average_precision(
    positive: NDArray[np.float64], negative: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = positive + negative
    precision = np.divide(positive, total, out=np.zeros_like(total), where=total > 0)
    summed: NDArray[np.float64] = (np.diff(positive, axis=1, prepend=0.0) * precision).sum(axis=1)
    return _ratio(summed, positive[:, -1])


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of whole, NaN where a resample holds nothing of it."""
    shares = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def auroc(scores: NDArray[np.generic], is_positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of scores (n,); ValueError when a class is missing."""
    ranked = rank_scores(scores, is_positive)
    return float(_auroc(*ranked.cumulative(np.ones((1, len(ranked.order)))))[0])


def average_precision(scores: NDArray[np.generic], is_positive: NDArray[np.bool_]) -> float:
    """Average precision of scores (n,); ValueError when a class is missing."""
    ranked = rank_scores(scores, is_positive)
    return float(_average_precision(*ranked.cumulative(np.ones((1, len(ranked.order)))))[0])


def roc_curve(
    scores: NDArray[np.generic], is_positive: NDArray[np.bool_], *, every_point: bool = False
) -> RocCurve:
    """ROC points of scores (n,); ValueError when a class is missing.

    ``every_point`` keeps the points that lie on a straight line between their neighbours.
    """
    ranked = rank_scores(scores, is_positive)
    positive, negative = ranked.cumulative(np.ones((1, len(ranked.order))))
    tp = np.concatenate(([0.0], positive[0]))
    fp = np.concatenate(([0.0], negative[0]))
    bends = np.ones(len(tp), dtype=bool)
    if not every_point:
        bends[1:-1] = np.diff(tp)[:-1] * np.diff(fp)[1:] != np.diff(tp)[1:] * np.diff(fp)[:-1]
    thresholds = np.concatenate(([np.inf], ranked.scores))
    return RocCurve(thresholds[bends], fp[bends] / fp[-1], tp[bends] / tp[-1])


def bootstrap_classification(
    scores: NDArray[np.generic],
    is_positive: NDArray[np.bool_],
    bootstrap: PatientBootstrap,
    false_positive_rates: NDArray[np.float64],
) -> ClassificationDraws:
    """Draws of AUROC, average precision and the true positive rate at given false positive rates.

    The rate at x is a step function: the largest one at a false positive rate <= x. Make positive
    and negative separate strata: a draw that lacks a class, which then only patients with images of
    both can cause, gives NaN.
    """
    ranked = rank_scores(scores, is_positive)
    areas, precisions, rates = [], [], []
    for weights in bootstrap.weights():
        positive, negative = ranked.cumulative(weights)
        areas.append(_auroc(positive, negative))
        precisions.append(_average_precision(positive, negative))
        for tp, fp in zip(positive, negative, strict=True):
            reached = np.searchsorted(fp, false_positive_rates * fp[-1] + 1e-9, side="right")
            rates.append(np.concatenate(([0.0], _ratio(tp, tp[-1:])))[reached])
    return ClassificationDraws(
        np.concatenate(areas), np.concatenate(precisions), np.array(rates, dtype=np.float64)
    )
