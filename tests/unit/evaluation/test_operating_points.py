"""Thresholds from validation scores and Wilson intervals."""

import numpy as np
import pytest
from scipy.stats import binomtest

from evaluation.bootstrap import PatientBootstrap
from evaluation.operating_points import (
    choose_threshold,
    operating_counts,
    operating_draws,
    predictive_values,
    wilson_interval,
)

SCORES = np.array([90, 80, 70, 60, 50, 40, 30, 20, 10, 5])
LABELS = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0], bool)


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("youden", 50),  # sensitivity 4/4, specificity 5/6
        ("sensitivity_90", 50),  # 3 of 4 at 60 is not enough
        ("specificity_90", 80),  # 5 of 6 at 70 is not enough
    ],
)
def test_choice_on_validation(name: str, threshold: float) -> None:
    assert choose_threshold(name, SCORES, LABELS) == threshold  # type: ignore[arg-type]


def test_collinear_points_are_considered() -> None:
    scores, labels = np.arange(20, 0, -1), np.arange(20) < 10
    assert choose_threshold("sensitivity_90", scores, labels) == 12


def test_counts_at_a_threshold() -> None:
    counts = operating_counts(SCORES, LABELS, 60)
    assert (counts.true_positive, counts.false_negative) == (3, 1)
    assert (counts.true_negative, counts.false_positive) == (5, 1)
    assert counts.sensitivity() == 0.75
    assert counts.specificity() == pytest.approx(5 / 6)
    assert counts.sensitivity_interval() == wilson_interval(3, 4)
    assert counts.specificity_interval() == wilson_interval(5, 6)


@pytest.mark.parametrize(("successes", "trials"), [(0, 9), (9, 9), (3, 12), (400, 1000)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    interval = wilson_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_needs_trials() -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        wilson_interval(0, 0)


def test_draws_equal_counts_of_repeated_images() -> None:
    bootstrap = PatientBootstrap(
        patient_ids=list("abcdefghij"), strata=LABELS.astype(int).tolist(), seed=4, n_draws=30
    )
    draws = operating_draws(SCORES, LABELS, np.array([60.0, 91.0]), bootstrap)
    for row, weight in enumerate(np.concatenate(list(bootstrap.weights())).astype(int)):
        scores, labels = np.repeat(SCORES, weight), np.repeat(LABELS, weight)
        for column, threshold in enumerate((60, 91)):
            for metric, (part, whole) in (
                operating_counts(scores, labels, threshold).shares().items()
            ):
                expected = part / whole if whole else np.nan
                found = draws.shares[metric][row, column]
                assert found == pytest.approx(expected, nan_ok=True)


def test_predictive_values_follow_bayes() -> None:
    sensitivity, specificity = np.array([0.745, 0.0]), np.array([0.933, 1.0])
    ppv, npv = predictive_values(sensitivity, specificity, 0.0279)
    assert ppv[0] == pytest.approx(0.242, abs=2e-3)
    assert npv[0] == pytest.approx(0.933 * 0.9721 / (0.933 * 0.9721 + 0.255 * 0.0279))
    assert np.isnan(ppv[1])
    # At the prevalence of the images themselves they are the plain shares.
    counts = operating_counts(SCORES, LABELS, 60)
    ppv, npv = predictive_values(
        np.array([counts.sensitivity()]), np.array([counts.specificity()]), LABELS.mean()
    )
    assert (ppv[0], npv[0]) == pytest.approx((3 / 4, 5 / 6))
