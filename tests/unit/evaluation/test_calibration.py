"""Calibration against scikit-learn, a grid search and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from evaluation.bootstrap import PatientBootstrap
from evaluation.calibration import (
    bin_numbers,
    brier_score,
    calibration_draws,
    calibration_error,
    fit_isotonic,
    fit_temperature,
    reliability,
    temperature_map,
    temperature_probabilities,
)

GENERATOR = np.random.default_rng(8)
TRUE = GENERATOR.random(400)
LABELS = GENERATOR.random(400) < TRUE
# Overconfident: every logit is twice as large as it should be.
SCORES = TRUE**2 / (TRUE**2 + (1 - TRUE) ** 2)


def test_temperature_minimises_the_log_loss_and_finds_the_truth() -> None:
    temperature = fit_temperature(SCORES, LABELS)
    grid = np.geomspace(0.2, 20, 400)
    losses = [log_loss(LABELS, temperature_probabilities(SCORES, t)) for t in grid]
    assert temperature == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)
    assert temperature == pytest.approx(2.0, rel=0.2)


def test_knots_of_the_temperature_map_follow_it() -> None:
    fitted = temperature_map(1.7)
    inside = SCORES[(SCORES > 1e-4) & (SCORES < 1 - 1e-4)]
    np.testing.assert_allclose(fitted.of(inside), temperature_probabilities(inside, 1.7), atol=2e-3)
    assert (np.diff(fitted.probabilities) > 0).all()


@pytest.mark.parametrize("levels", [3, 1000])
def test_isotonic_equals_scikit_learn(levels: int) -> None:
    coarse = np.round(SCORES * levels) / levels
    expected = IsotonicRegression(out_of_bounds="clip").fit(coarse, LABELS)
    wanted = np.linspace(0, 1, 77)
    np.testing.assert_allclose(fit_isotonic(coarse, LABELS).of(wanted), expected.predict(wanted))


def test_reliability_equals_scikit_learn_without_ties() -> None:
    observed, predicted = calibration_curve(LABELS, SCORES, n_bins=10, strategy="quantile")
    bins = reliability(SCORES, LABELS)
    assert bins.n_images.tolist() == [40] * 10
    np.testing.assert_allclose(bins.mean_probabilities, predicted)
    np.testing.assert_allclose(bins.n_positive / bins.n_images, observed)


def test_error_by_hand() -> None:
    probabilities = np.array([0.1, 0.1, 0.1, 0.9])
    labels = np.array([True, False, False, True])
    # The three equal ones share a bin: |1/3 - 0.1| * 3/4 + |1 - 0.9| * 1/4.
    assert bin_numbers(probabilities).tolist() == [0, 0, 0, 1]
    assert calibration_error(probabilities, labels)[0] == pytest.approx(0.175 + 0.025)
    assert brier_score(SCORES, LABELS)[0] == pytest.approx(brier_score_loss(LABELS, SCORES))


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 0.1, 0.4, 0.5, 1.0]), min_size=1, max_size=40),
    data=st.data(),
)
def test_order_of_images_does_not_matter(values: list[float], data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(values)))))
    probabilities = np.array(values)
    np.testing.assert_array_equal(
        bin_numbers(probabilities[order]), bin_numbers(probabilities)[order]
    )
    for value in set(values):
        assert len(set(bin_numbers(probabilities)[probabilities == value])) == 1


def test_draws_equal_repeated_images() -> None:
    bootstrap = PatientBootstrap(
        patient_ids=[f"p{i:03}" for i in range(400)],
        strata=LABELS.astype(int).tolist(),
        seed=2,
        n_draws=3,
    )
    errors, squares = calibration_draws(SCORES, LABELS, bootstrap)
    bins = bin_numbers(SCORES)
    for row, weight in enumerate(np.concatenate(list(bootstrap.weights())).astype(int)):
        p, y, b = (np.repeat(values, weight) for values in (SCORES, LABELS, bins))
        assert squares[row] == pytest.approx(brier_score_loss(y, p))
        gaps = [abs((y[b == k] - p[b == k]).sum()) for k in range(10)]
        assert errors[row] == pytest.approx(sum(gaps) / len(p))


@pytest.mark.parametrize("labels", [np.zeros(400, bool), np.ones(400, bool)])
def test_a_missing_class_is_an_error(labels: np.ndarray) -> None:
    for fit in (fit_temperature, fit_isotonic):
        with pytest.raises(ValueError, match="one positive and one negative"):
            fit(SCORES, labels)
