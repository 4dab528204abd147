"""Chance-corrected agreement, and its interval by resampling patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

Floats = NDArray[np.float64]
LEVEL = 0.95
_DRAWS_AT_ONCE = 500


def cohen_kappa(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Cohen's kappa of two readers' yes and no (n,); NaN where both say the same throughout."""
    if not len(a) or (len(set(a)) == 1 and set(a) == set(b)):
        return float("nan")
    return float(cohen_kappa_score(a, b, labels=[False, True]))


def cohen_kappa_of_counts(counts: Floats) -> Floats:
    """Cohen's kappa (...,) of counts (..., 4): both yes, only a, only b, neither."""
    n = counts.sum(axis=-1)
    both, only_a, only_b, neither = np.moveaxis(counts, -1, 0)
    yes_a, yes_b = both + only_a, both + only_b
    observed = _ratio(both + neither, n)
    expected = _ratio(yes_a * yes_b + (n - yes_a) * (n - yes_b), n * n)
    return _ratio(observed - expected, 1.0 - expected)


def fleiss_kappa(counts: Floats) -> float:
    """Fleiss' kappa of counts (n images, k categories) of readers, at least two an image.

    J. L. Fleiss, Psychological Bulletin 76 (1971) 378. Where images have different numbers of
    readers, each image's agreement and each image's shares weigh the same.
    """
    terms = fleiss_terms(counts)
    return float(fleiss_kappa_of_terms(terms.sum(axis=0)))


def fleiss_terms(counts: Floats) -> Floats:
    """Per image (n, 2 + k): 1, its agreement and its categories' shares; sums give the kappa."""
    n_readers = counts.sum(axis=1)
    agreement = (counts * (counts - 1)).sum(axis=1) / (n_readers * (n_readers - 1))
    shares = counts / n_readers[:, None]
    return np.column_stack([np.ones(len(counts)), agreement, shares])


def fleiss_kappa_of_terms(terms: Floats) -> Floats:
    """Fleiss' kappa (...,) of summed terms (..., 2 + k)."""
    n = terms[..., 0]
    expected = (_ratio(terms[..., 2:], n[..., None]) ** 2).sum(axis=-1)
    return _ratio(_ratio(terms[..., 1], n) - expected, 1.0 - expected)


def ratio_of_terms(terms: Floats) -> Floats:
    """First term by second (...,) of (..., 2); NaN where the second is 0."""
    return _ratio(terms[..., 0], terms[..., 1])


def patient_interval(
    terms: Floats,
    patients: NDArray[np.intp],
    statistic: Callable[[Floats], Floats],
    *,
    n_bootstrap: int,
    seed: int,
) -> tuple[float, float] | None:
    """Percentile interval of a statistic of summed terms, patients drawn with replacement.

    Args:
        terms: Per image (n, k).
        patients: Number of each image's patient (n,).
        statistic: Of sums (draws, k), a value a draw.
        n_bootstrap: Draws.
        seed: Seed.

    Returns:
        Ends of the 95 % interval; None with one patient, or where most draws are undefined.
    """
    n_patients = len(np.unique(patients))
    if n_patients < 2:
        return None
    sums = np.zeros((n_patients, terms.shape[1]))
    np.add.at(sums, np.unique(patients, return_inverse=True)[1], terms)
    rng = np.random.default_rng(seed)
    values = []
    for start in range(0, n_bootstrap, _DRAWS_AT_ONCE):
        n_draws = min(_DRAWS_AT_ONCE, n_bootstrap - start)
        weights = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_draws)
        values.append(statistic(weights @ sums))
    drawn = np.concatenate(values)
    drawn = drawn[np.isfinite(drawn)]
    if 2 * len(drawn) < n_bootstrap:
        return None
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _ratio(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b is 0 (or, after rounding, next to it)."""
    a, b = np.broadcast_arrays(a, b)
    is_defined = np.abs(b) > 1e-12
    ratio: Floats = np.divide(a, b, out=np.full(a.shape, np.nan), where=is_defined)
    return ratio
