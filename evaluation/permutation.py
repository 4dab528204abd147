"""Permutation test of the difference of two FROC scores on the same images.

Under the null hypothesis it does not matter which run a patient's maps come from: a permutation
exchanges the maps of each patient with probability 1/2 and takes the difference anew. Two networks
need not share a scale of scores, so a score is replaced by the false positive ratio that its own
run reaches at it, as Venkatraman's permutation test of ROC curves takes ranks (Biometrics 2000,
PubMed 11129471). Counts are known at each run's centre scores, so a map's false positives between
two of them count at the lower ratio; without an exchange both FROC scores are the exact ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.froc import FALSE_POSITIVE_RATIOS, RATIO_SLACK, FrocCounts, froc_curve

_DRAWS_AT_ONCE = 250


@dataclass(frozen=True)
class RatioCounts:
    """A run's counts at common false positive ratios, rising, (k,).

    ``outside``: (n, k) float64, share of each image's pixels activated outside boxes.
    ``hits``: (m, k) bool, whether each box is recalled.
    """

    outside: NDArray[np.float64]
    hits: NDArray[np.bool_]


def permutation_p(
    first: FrocCounts,
    second: FrocCounts,
    *,
    patient_ids: Sequence[str],
    seed: int,
    n_draws: int,
) -> float:
    """Two-sided p value of second minus first, at least 1 / (draws + 1).

    Both counts are of the same images and boxes in the same order; ``patient_ids``: (n,). The
    result does not depend on the order of the images.
    """
    if not np.array_equal(first.box_rows, second.box_rows):
        raise ValueError("the two counts are not of the same images and boxes")
    levels = np.unique(
        np.concatenate([froc_curve(counts).false_positive_ratios for counts in (first, second)])
    )
    a, b = (at_ratios(counts, levels) for counts in (first, second))
    observed = abs(difference(a, b, np.zeros((1, first.n_images)), first.box_rows)[0])
    patients, of_image = np.unique(np.asarray(patient_ids), return_inverse=True)
    generator = np.random.default_rng(np.random.SeedSequence([seed, len(patients)]))
    n_extreme = 0
    for start in range(0, n_draws, _DRAWS_AT_ONCE):
        rows = min(_DRAWS_AT_ONCE, n_draws - start)
        swapped = generator.integers(0, 2, size=(rows, len(patients)))[:, of_image]
        drawn = difference(a, b, swapped.astype(np.float64), first.box_rows)
        n_extreme += int((np.abs(drawn) >= observed - RATIO_SLACK).sum())
    return (n_extreme + 1) / (n_draws + 1)


def at_ratios(counts: FrocCounts, levels: NDArray[np.float64]) -> RatioCounts:
    """Counts of a run at common ratios (k,): those of its largest own ratio <= each."""
    curve = froc_curve(counts)
    own = np.searchsorted(curve.false_positive_ratios, levels, side="right") - 1
    nothing = np.zeros((counts.n_images, 1))
    outside = np.concatenate([nothing, counts.outside_counts], axis=1)[:, own]
    hits = counts.box_scores[:, None] >= curve.thresholds[own][None, :]
    return RatioCounts(outside / counts.denominators("whole_image")[:, None], hits)


def difference(
    a: RatioCounts,
    b: RatioCounts,
    swapped: NDArray[np.float64],
    box_rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """FROC score of b minus a, with the images (d, n) of ones exchanged between them, (d,)."""
    ratio_a, ratio_b = a.outside.mean(axis=0), b.outside.mean(axis=0)
    moved = swapped @ (b.outside - a.outside) / len(a.outside)
    recall_a, recall_b = a.hits.mean(axis=0), b.hits.mean(axis=0)
    gained = swapped[:, box_rows] @ (b.hits.astype(np.float64) - a.hits) / len(box_rows)
    return _scores(ratio_b - moved, recall_b - gained) - _scores(ratio_a + moved, recall_a + gained)


def _scores(ratios: NDArray[np.float64], recalls: NDArray[np.float64]) -> NDArray[np.float64]:
    """FROC score of each curve (d, k), whose first point is the empty activation."""
    wanted = FALSE_POSITIVE_RATIOS + RATIO_SLACK
    reached = np.stack([np.searchsorted(row, wanted, side="right") for row in ratios])
    score: NDArray[np.float64] = np.take_along_axis(recalls, reached - 1, axis=1).mean(axis=1)
    return score
