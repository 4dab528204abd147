"""Calibrated probabilities of image scores, and how well probabilities are calibrated.

Both maps are fitted on the validation split alone. Temperature: sigmoid(logit(s) / T) with the T
that minimises the log loss (Guo et al., ICML 2017, arXiv 1706.04599); a score of 0 or 1 counts as
half a 16-bit step inside. Isotonic: scikit-learn's monotone regression of the label on the score.

A reliability curve has up to ten bins of equally many images, by rising probability; images with
one probability share a bin. The expected calibration error (ECE) is over these bins: equally wide
ones would hold hardly an image above 0.5 where one film in ten is positive.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from evaluation.bootstrap import PatientBootstrap
from evaluation.score_maps import SCORE_MAX

N_BINS = 10
_LOG_TEMPERATURES = (-5.0, 5.0)
_TEMPERATURE_KNOTS = 257


@dataclass(frozen=True)
class CalibrationMap:
    """A map from image scores to probabilities: linear between knots, constant outside.

    ``scores``: (k,) float64, rising, 0 to 1. ``probabilities``: (k,) float64.
    """

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of scores (n,) in 0 to 1."""
        return np.interp(scores, self.scores, self.probabilities)


@dataclass(frozen=True)
class Reliability:
    """Bins of a reliability curve, (g,) each, by rising probability."""

    mean_probabilities: NDArray[np.float64]
    n_images: NDArray[np.int64]
    n_positive: NDArray[np.int64]


def fit_temperature(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    """Temperature of scores (n,) in 0 to 1; ValueError when a class is missing."""
    _require_both(is_positive)
    logits = _logits(scores)
    sign = np.where(is_positive, 1.0, -1.0)

    def log_loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -sign * logits / np.exp(log_temperature)).mean())

    found = minimize_scalar(log_loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def temperature_probabilities(
    scores: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Probabilities of scores (n,) at a temperature."""
    result: NDArray[np.float64] = expit(_logits(scores) / temperature)
    return result


def temperature_map(temperature: float) -> CalibrationMap:
    """The knots of a temperature's map, evenly spaced in the logit of the score."""
    end = float(_logits(np.ones(1))[0])
    scores: NDArray[np.float64] = expit(np.linspace(-end, end, _TEMPERATURE_KNOTS))
    return CalibrationMap(scores, temperature_probabilities(scores, temperature))


def fit_isotonic(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> CalibrationMap:
    """Isotonic map of scores (n,) in 0 to 1; ValueError when a class is missing."""
    _require_both(is_positive)
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    model.fit(scores, np.asarray(is_positive, dtype=np.float64))
    return CalibrationMap(
        np.asarray(model.X_thresholds_, dtype=np.float64),
        np.asarray(model.y_thresholds_, dtype=np.float64),
    )


def bin_numbers(probabilities: NDArray[np.float64], n_bins: int = N_BINS) -> NDArray[np.intp]:
    """Bin of each image (n,), from 0 without gaps; equal probabilities share a bin."""
    order = np.argsort(probabilities, kind="stable")
    ranked = probabilities[order]
    first = np.searchsorted(ranked, ranked, side="left")
    bins = np.empty(len(ranked), dtype=np.intp)
    bins[order] = first * n_bins // len(ranked)
    return np.unique(bins, return_inverse=True)[1]


def reliability(probabilities: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> Reliability:
    """Reliability bins of probabilities (n,)."""
    bins = bin_numbers(probabilities)
    n_images = np.bincount(bins)
    return Reliability(
        mean_probabilities=np.bincount(bins, weights=probabilities) / n_images,
        n_images=n_images,
        n_positive=np.bincount(bins, weights=is_positive).astype(np.int64),
    )


def calibration_error(
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """ECE of resamples ``weights`` (b, n) with the bins of all images, (b,); one by default."""
    drawn = np.ones((1, len(probabilities))) if weights is None else weights
    bins = bin_numbers(probabilities)
    member = bins[:, None] == np.arange(bins.max() + 1)
    gaps = drawn @ (member * (is_positive - probabilities)[:, None])
    error: NDArray[np.float64] = np.abs(gaps).sum(axis=1) / drawn.sum(axis=1)
    return error


def brier_score(
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Mean squared error of resamples ``weights`` (b, n), (b,); one by default."""
    drawn = np.ones((1, len(probabilities))) if weights is None else weights
    score: NDArray[np.float64] = drawn @ (probabilities - is_positive) ** 2 / drawn.sum(axis=1)
    return score


def calibration_draws(
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    bootstrap: PatientBootstrap,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ECE and Brier score in every bootstrap draw, (b,) each."""
    drawn = [
        (
            calibration_error(probabilities, is_positive, weights),
            brier_score(probabilities, is_positive, weights),
        )
        for weights in bootstrap.weights()
    ]
    errors, scores = zip(*drawn, strict=True)
    return np.concatenate(errors), np.concatenate(scores)


def _logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    half_step = 0.5 / SCORE_MAX
    result: NDArray[np.float64] = logit(np.clip(scores, half_step, 1.0 - half_step))
    return result


def _require_both(is_positive: NDArray[np.bool_]) -> None:
    if not is_positive.any() or is_positive.all():
        raise ValueError("calibration needs at least one positive and one negative image")
