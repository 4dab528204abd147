"""AUROC, average precision, ROC curves and DeLong against scikit-learn and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from evaluation.auroc import auroc, average_precision, bootstrap_classification, roc_curve
from evaluation.bootstrap import PatientBootstrap
from evaluation.delong import compare_aurocs, delong

Sample = tuple[NDArray[np.int64], NDArray[np.bool_]]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    n = draw(st.integers(4, 40))
    top = draw(st.sampled_from([1, 3, 65535]))
    scores = np.array(draw(st.lists(st.integers(0, top), min_size=n, max_size=n)))
    labels = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    labels[:4] = [True, True, False, False]
    return scores, labels


@settings(max_examples=60, deadline=None)
@given(sample=samples())
def test_equal_to_scikit_learn(sample: Sample) -> None:
    scores, labels = sample
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    fpr, tpr, thresholds = sklearn_roc_curve(labels, scores)
    curve = roc_curve(scores, labels)
    grid = np.linspace(0, 1, 50)
    np.testing.assert_allclose(
        np.interp(grid, curve.false_positive_rates, curve.true_positive_rates),
        np.interp(grid, fpr, tpr),
        atol=1e-12,
    )
    assert set(curve.thresholds) <= set(thresholds) | {np.inf}


@settings(max_examples=20, deadline=None)
@given(sample=samples())
def test_bootstrap_draws_equal_repeated_images(sample: Sample) -> None:
    scores, labels = sample
    bootstrap = PatientBootstrap(
        patient_ids=[f"p{i:03}" for i in range(len(scores))],
        strata=labels.astype(int).tolist(),
        seed=3,
        n_draws=4,
    )
    grid = np.array([0.0, 0.25, 1.0])
    draws = bootstrap_classification(scores, labels, bootstrap, grid)
    weights = np.concatenate(list(bootstrap.weights()))
    for row, weight in enumerate(weights.astype(int)):
        s, y = np.repeat(scores, weight), np.repeat(labels, weight)
        assert draws.auroc[row] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert draws.average_precision[row] == pytest.approx(
            average_precision_score(y, s), abs=1e-12
        )
        fpr, tpr, _ = sklearn_roc_curve(y, s, drop_intermediate=False)
        for x, rate in zip(grid, draws.true_positive_rates[row], strict=True):
            assert rate == pytest.approx(tpr[fpr <= x + 1e-12].max(), abs=1e-12)


def test_a_draw_that_lacks_a_class_is_undefined() -> None:
    # The only negative belongs to a patient with a positive, and so to the positives' stratum.
    bootstrap = PatientBootstrap(patient_ids=["a", "a", "b"], strata=[1, 0, 1], seed=1, n_draws=50)
    labels = np.array([True, False, True])
    draws = bootstrap_classification(np.array([3, 2, 1]), labels, bootstrap, np.array([0.0, 1.0]))
    weights = np.concatenate(list(bootstrap.weights()))
    has_both = weights[:, 1] > 0
    assert 0 < has_both.sum() < 50
    np.testing.assert_array_equal(np.isfinite(draws.auroc), has_both)
    assert np.isfinite(draws.average_precision).all()


def brute_force_delong(
    scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Structural components from all pairs, as DeLong 1988 writes them."""
    v10, v01 = [], []
    for row in scores:
        psi = (row[labels][:, None] > row[~labels]) + 0.5 * (row[labels][:, None] == row[~labels])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    m, n = labels.sum(), (~labels).sum()
    return np.mean(v10, axis=1), np.cov(v10) / m + np.cov(v01) / n


@settings(max_examples=50, deadline=None)
@given(sample=samples(), seed=st.integers(0, 1000))
def test_delong_equals_all_pairs(sample: Sample, seed: int) -> None:
    scores, labels = sample
    second = np.random.default_rng(seed).permutation(scores)
    result = delong(np.stack([scores, second]), labels)
    aurocs, covariance = brute_force_delong(np.stack([scores, second]).astype(float), labels)
    np.testing.assert_allclose(result.aurocs, aurocs, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)


# DeLong 1988's own example, 49 patients with ovarian cancer: albumin, total protein, K-G score and
# whether surgery helped; from the SAS/STAT documentation, "Comparing Receiver Operating
# Characteristic Curves", which also prints the results below.
OVARIAN_CANCER = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1   3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1   3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0   4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1   2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1   2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""


def test_delong_s_own_example() -> None:
    rows = np.array(OVARIAN_CANCER.split(), dtype=np.float64).reshape(-1, 4)
    albumin, protein, kg_score, labels = rows.T
    scores = np.stack([albumin, 10 - kg_score, protein])
    result = delong(scores, labels == 1)
    assert result.aurocs == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(result.covariance)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    for index, limits in enumerate([(0.5549, 0.9182), (0.5243, 0.9273), (0.4518, 0.8439)]):
        interval = result.interval(index)
        assert (interval.low, interval.high) == pytest.approx(limits, abs=5e-5)
    for other, difference, limits, p_value in (
        (0, 0.0108, (-0.1761, 0.1976), 0.9102),
        (2, -0.0780, (-0.2830, 0.1271), 0.4561),
    ):
        paired = compare_aurocs(scores[1], scores[other], labels == 1)
        assert paired.difference == pytest.approx(difference, abs=5e-5)
        assert (paired.interval.low, paired.interval.high) == pytest.approx(limits, abs=5e-5)
        assert paired.p_value == pytest.approx(p_value, abs=5e-5)


def test_paired_test_is_antisymmetric_and_sees_a_difference() -> None:
    generator = np.random.default_rng(5)
    labels = np.arange(400) < 100
    good = generator.normal(size=400) + 2.0 * labels
    poor = generator.normal(size=400) + 0.3 * labels
    forward, backward = compare_aurocs(poor, good, labels), compare_aurocs(good, poor, labels)
    assert forward.difference == pytest.approx(-backward.difference)
    assert forward.p_value == pytest.approx(backward.p_value)
    assert forward.difference > 0.2
    assert forward.p_value < 1e-6
    assert forward.interval.low > 0
    same = compare_aurocs(good, good, labels)
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_delong_interval_is_cut_to_one() -> None:
    result = delong(np.array([1, 2, 3, 10, 11, 2.5]), np.array([0, 0, 0, 1, 1, 1], bool))
    assert result.interval().high == 1.0
    assert 0.0 < result.interval().low < result.aurocs[0]


@pytest.mark.parametrize("labels", [np.zeros(3, bool), np.ones(3, bool)])
def test_a_missing_class_is_an_error(labels: NDArray[np.bool_]) -> None:
    with pytest.raises(ValueError, match="one positive and one negative"):
        auroc(np.arange(3), labels)


def test_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match="finite"):
        auroc(np.array([0.1, np.nan]), np.array([True, False]))


def test_delong_needs_two_of_each() -> None:
    with pytest.raises(ValueError, match="two positives"):
        delong(np.arange(3), np.array([True, False, False]))
