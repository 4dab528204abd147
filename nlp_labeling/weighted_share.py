"""A share estimated from a stratified sample, with its 95 % interval.

The point is the weighted ratio. Its variance is linearized (Taylor) and summed over strata with the
finite population correction (Cochran, Sampling Techniques, 3rd ed., 5A and 6). The interval is that
of Korn and Graubard (Survey Methodology 24, 1998): Clopper-Pearson at the effective sample size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, t

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One reviewed unit.

    Attributes:
        stratum: Stratum it was drawn from.
        n_stratum: Units in the stratum.
        is_in_domain: Whether the share is about it.
        is_hit: Whether it counts towards the share.
    """

    stratum: str
    n_stratum: int
    is_in_domain: bool
    is_hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A weighted share in [0, 1] with its interval; all None where the domain is empty.

    ``n_reviewed`` counts the sample's units in the domain, ``n_represented`` the population's.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_reviewed: int
    n_represented: float


def weighted_share(units: Sequence[Unit]) -> Share:
    """The share of hits within the domain, weighted back to the population.

    ``units`` are all reviewed units of the strata, also those outside the domain.
    """
    strata: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        strata[unit.stratum].append(unit)
    weights = np.array([unit.n_stratum / len(strata[unit.stratum]) for unit in units])
    domain = np.array([unit.is_in_domain for unit in units], dtype=bool)
    hits = np.array([unit.is_hit for unit in units], dtype=float)
    n_reviewed = int(domain.sum())
    if n_reviewed == 0:
        return Share(value=None, ci_low=None, ci_high=None, n_reviewed=0, n_represented=0.0)
    total = float(weights[domain].sum())
    value = float((weights * hits)[domain].sum() / total)
    residuals = np.where(domain, weights * (hits - value) / total, 0.0)
    names = np.array([unit.stratum for unit in units])
    variance = sum(
        _stratum_variance(residuals[names == name], rows[0].n_stratum)
        for name, rows in strata.items()
    )
    is_census = all(
        len(strata[unit.stratum]) == unit.n_stratum for unit in units if unit.is_in_domain
    )
    low, high = (
        (value, value)
        if is_census
        else _interval(value, variance, n_reviewed, len(units) - len(strata), weights[domain])
    )
    return Share(value=value, ci_low=low, ci_high=high, n_reviewed=n_reviewed, n_represented=total)


def _stratum_variance(residuals: np.ndarray, n_stratum: int) -> float:
    n = len(residuals)
    if n < 2:
        return float((1 - n / n_stratum) * (residuals**2).sum())
    spread = ((residuals - residuals.mean()) ** 2).sum()
    return float((1 - n / n_stratum) * n / (n - 1) * spread)


def _interval(
    value: float, variance: float, n: int, degrees: int, weights: np.ndarray
) -> tuple[float, float]:
    # Without spread the variance says nothing; unequal weights still cost (Kish).
    kish = float(weights.sum() ** 2 / (weights**2).sum())
    effective = value * (1 - value) / variance if variance > 0 else kish
    if n > 1 and degrees > 0:
        tail = (1 + LEVEL) / 2
        effective *= float(t.ppf(tail, n - 1) / t.ppf(tail, degrees)) ** 2
    hits = value * effective
    misses = effective - hits
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, hits, misses + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, misses)) if misses > 0 else 1.0
    return low, high
