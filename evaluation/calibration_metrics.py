"""Calibration of one finding: fitted on validation, measured on test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.calibration import (
    CalibrationMap,
    brier_score,
    calibration_draws,
    calibration_error,
    fit_isotonic,
    fit_temperature,
    reliability,
    temperature_map,
    temperature_probabilities,
)
from evaluation.metric import Metric, Resampling, Scope
from evaluation.operating_points import wilson_interval
from evaluation.score_maps import SCORE_MAX
from evaluation.scored_run import ScoredImages


@dataclass(frozen=True, kw_only=True)
class CalibrationPoint:
    """One row of ``calibration_points`` without run and finding."""

    protocol: str
    calibration: str
    bin_number: int
    mean_probability: float
    observed_share: float
    ci_low: float
    ci_high: float
    n_images: int
    n_positive: int


@dataclass(frozen=True)
class Calibration:
    """Numbers and bins on test, and the fitted maps by name."""

    metrics: list[Metric]
    points: list[CalibrationPoint]
    maps: dict[str, CalibrationMap]


def calibrate(
    test: ScoredImages, validation: ScoredImages, *, network: str, resampling: Resampling
) -> Calibration:
    """Temperature and isotonic maps from validation; ECE, Brier score and reliability on test.

    The scores as they are (``raw``) are measured alike. Nothing where validation lacks a class.
    """
    if not validation.has_both_classes:
        return Calibration([], [], {})
    scope = Scope.of_images(test, protocol=f"test/all/whole/{network}", resampling=resampling)
    fitted_on = validation.scores / SCORE_MAX
    temperature = fit_temperature(fitted_on, validation.is_positive)
    isotonic = fit_isotonic(fitted_on, validation.is_positive)
    scores = test.scores / SCORE_MAX
    probabilities = {
        "raw": scores,
        "temperature": temperature_probabilities(scores, temperature),
        "isotonic": isotonic.of(scores),
    }
    metrics = [scope.plain("temperature", temperature)]
    points = []
    for name, values in probabilities.items():
        bootstrap = resampling.of(test, test.is_positive)
        errors, squares = calibration_draws(values, test.is_positive, bootstrap)
        error = float(calibration_error(values, test.is_positive)[0])
        square = float(brier_score(values, test.is_positive)[0])
        metrics.append(scope.bootstrapped(f"ece@{name}", error, errors))
        metrics.append(scope.bootstrapped(f"brier@{name}", square, squares))
        points += _points(scope.protocol, name, values, test.is_positive)
    maps = {"temperature": temperature_map(temperature), "isotonic": isotonic}
    return Calibration(metrics, points, maps)


def _points(
    protocol: str,
    name: str,
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
) -> list[CalibrationPoint]:
    bins = reliability(probabilities, is_positive)
    points = []
    for number, (mean, n_images, n_positive) in enumerate(
        zip(bins.mean_probabilities, bins.n_images, bins.n_positive, strict=True)
    ):
        interval = wilson_interval(int(n_positive), int(n_images))
        points.append(
            CalibrationPoint(
                protocol=protocol,
                calibration=name,
                bin_number=number,
                mean_probability=float(mean),
                observed_share=float(n_positive / n_images),
                ci_low=interval.low,
                ci_high=interval.high,
                n_images=int(n_images),
                n_positive=int(n_positive),
            )
        )
    return points
