"""DeLong's variance of AUROC and of differences between correlated AUROCs.

DeLong, DeLong, Clarke-Pearson, Biometrics 1988 (PubMed 3203132), computed with midranks after Sun
and Xu, IEEE Signal Processing Letters 2014 (doi:10.1109/LSP.2014.2337313).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from evaluation.bootstrap import Interval


@dataclass(frozen=True)
class DeLong:
    """AUROCs (k,) of k scores on the same images, and their covariance (k, k)."""

    aurocs: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def interval(self, index: int = 0, level: float = 0.95) -> Interval:
        """Normal interval of one AUROC, cut to [0, 1]; width zero when the AUROC is 0 or 1."""
        half = float(norm.ppf(0.5 + level / 2) * np.sqrt(self.covariance[index, index]))
        centre = float(self.aurocs[index])
        return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half))


@dataclass(frozen=True)
class DeLongComparison:
    """Difference of two AUROCs (second minus first) with its 95 % interval and two-sided p."""

    difference: float
    interval: Interval
    p_value: float


def delong(scores: NDArray[np.generic], is_positive: NDArray[np.bool_]) -> DeLong:
    """AUROCs and covariance of ``scores`` (k, n) against ``is_positive`` (n,).

    ValueError when fewer than two positives or two negatives leave the variance undefined.
    """
    matrix = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    positives, negatives = matrix[:, is_positive], matrix[:, ~is_positive]
    m, n = positives.shape[1], negatives.shape[1]
    if min(m, n) < 2:
        raise ValueError(f"DeLong needs two positives and two negatives, got {m} and {n}")
    rank_all = np.apply_along_axis(rankdata, 1, np.concatenate([positives, negatives], axis=1))
    rank_positive = np.apply_along_axis(rankdata, 1, positives)
    rank_negative = np.apply_along_axis(rankdata, 1, negatives)
    v10 = (rank_all[:, :m] - rank_positive) / n
    v01 = 1.0 - (rank_all[:, m:] - rank_negative) / m
    covariance = np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n
    return DeLong(aurocs=v10.mean(axis=1), covariance=covariance)


def compare_aurocs(
    first: NDArray[np.generic], second: NDArray[np.generic], is_positive: NDArray[np.bool_]
) -> DeLongComparison:
    """DeLong's paired test of second minus first, scores (n,) on the same images."""
    result = delong(np.stack([first, second]), is_positive)
    difference = float(result.aurocs[1] - result.aurocs[0])
    contrast = np.array([-1.0, 1.0])
    deviation = float(np.sqrt(max(contrast @ result.covariance @ contrast, 0.0)))
    half = float(norm.ppf(0.975)) * deviation
    if deviation == 0.0:
        p_value = 1.0 if difference == 0.0 else 0.0
    else:
        p_value = float(2 * norm.sf(abs(difference) / deviation))
    return DeLongComparison(difference, Interval(difference - half, difference + half), p_value)
