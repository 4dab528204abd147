"""Which films a step sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from training.recipe import recipe
from training.sampler import epoch_batches, n_steps_per_epoch


@hypothesis_settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 32), st.integers(0, 99), st.integers(1, 30))
def test_natural_epoch_has_every_film_once_in_even_batches(n, batch_size, seed, epoch):
    settings = recipe("paper", batch_size=batch_size)
    batches = epoch_batches(settings, is_positive=np.zeros(n, bool), seed=seed, epoch=epoch)
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert len(batches) == n_steps_per_epoch(settings, n)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("mix", ["natural", "stratified"])
def test_an_epoch_of_two_passes_is_two_epochs_of_one(mix):
    single = recipe("demo", batch_mix=mix, batch_size=8, passes_per_epoch=1)
    double = dataclasses.replace(single, passes_per_epoch=2)

    def orders(settings, epochs):
        is_positive = np.arange(50) < 12
        return [
            batch.tolist()
            for epoch in epochs
            for batch in epoch_batches(settings, is_positive=is_positive, seed=1, epoch=epoch)
        ]

    assert orders(double, [2]) == orders(single, [3, 4])
    assert n_steps_per_epoch(double, 50) == 2 * n_steps_per_epoch(single, 50)


@pytest.mark.parametrize("mix", ["natural", "stratified"])
def test_order_is_a_function_of_seed_and_epoch(mix):
    settings = recipe("paper", batch_mix=mix, batch_size=8)
    is_positive = np.arange(50) < 12

    def order(seed, epoch):
        return np.concatenate(
            epoch_batches(settings, is_positive=is_positive, seed=seed, epoch=epoch)
        ).tolist()

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_stratified_batches_have_their_share_and_use_all_films_equally():
    settings = recipe("paper", batch_mix="stratified", positive_share=0.25, batch_size=8)
    is_positive = np.arange(60) < 10
    seen = np.zeros(60, dtype=int)
    for epoch in range(1, 11):
        for batch in epoch_batches(settings, is_positive=is_positive, seed=0, epoch=epoch):
            assert is_positive[batch].sum() == 2
            assert len(batch) == 8
            seen[batch] += 1
    assert seen[is_positive].max() - seen[is_positive].min() <= 1
    assert seen[~is_positive].max() - seen[~is_positive].min() <= 1
