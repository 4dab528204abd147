"""Patient-level resampling: strata kept, order and chunk size without effect."""

import numpy as np
import pytest

from evaluation.bootstrap import PatientBootstrap, percentile_interval, two_sided_p

PATIENTS = ["c", "a", "b", "a", "d", "e"]
STRATA = [0, 1, 0, 0, 1, 0]  # patient a has images in both: she belongs to 1


def draws(patients: list[str], strata: list[int], *, at_once: int = 250) -> np.ndarray:
    bootstrap = PatientBootstrap(patient_ids=patients, strata=strata, seed=7, n_draws=300)
    return np.concatenate(list(bootstrap.weights(at_once)))


def test_images_of_a_patient_are_drawn_together_and_strata_keep_their_size() -> None:
    weights = draws(PATIENTS, STRATA)
    np.testing.assert_array_equal(weights[:, 1], weights[:, 3])
    np.testing.assert_array_equal(weights[:, 1] + weights[:, 4], 2)
    np.testing.assert_array_equal(weights[:, [0, 2, 5]].sum(axis=1), 3)


@pytest.mark.parametrize("at_once", [1, 7, 299, 5000])
def test_chunk_size_has_no_effect(at_once: int) -> None:
    np.testing.assert_array_equal(draws(PATIENTS, STRATA), draws(PATIENTS, STRATA, at_once=at_once))


def test_order_of_images_has_no_effect() -> None:
    order = [5, 3, 0, 1, 4, 2]
    shuffled = draws([PATIENTS[i] for i in order], [STRATA[i] for i in order])
    np.testing.assert_array_equal(draws(PATIENTS, STRATA)[:, order], shuffled)


def test_every_patient_is_drawn_once_on_average() -> None:
    assert draws(PATIENTS, STRATA).mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


def test_interval_and_p_value() -> None:
    values = np.arange(1, 1000, dtype=np.float64)
    interval = percentile_interval(values)
    assert (interval.low, interval.high) == pytest.approx((25.95, 974.05))
    assert two_sided_p(values) == pytest.approx(2 / 1000)
    assert two_sided_p(np.array([-1.0, 1.0])) == 1.0
    assert two_sided_p(np.zeros(10)) == 1.0


def test_no_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="one entry per image"):
        PatientBootstrap(patient_ids=[], strata=[], seed=1)
