"""How many optimiser steps each method gets, and with whose settings."""

from __future__ import annotations

import pytest

from training.methods import METHODS
from training.protocol import run_recipe
from training.recipe import recipe
from training.sampler import n_steps_per_epoch
from training.train import run_row, train_run

SETTINGS = recipe(
    "demo",
    batch_size=16,
    n_epochs=10,
    passes_per_epoch=2,
    step2_batch_size=8,
    step2_n_epochs=5,
    step2_learning_rate=1e-3,
)
N_STEP1, N_STEP2 = 160, 200
STEP1, STEP2 = 10 * 2 * 10, 5 * 25


def of(method: str, *, has_initial_run: bool):
    return run_recipe(
        SETTINGS,
        METHODS[method],
        has_initial_run=has_initial_run,
        n_films_step1=N_STEP1,
        n_films_step2=N_STEP2,
    )


@pytest.mark.parametrize(
    ("method", "has_initial_run", "n_steps", "n_epochs", "crop_px", "batch_size", "rate"),
    [
        ("supervised", False, STEP1, 10, 96, 16, 4e-3),
        ("supervised", True, STEP2, 5, None, 8, 1e-3),
        ("aals", True, STEP2, 5, None, 8, 1e-3),
        ("pi-model", True, STEP2, 5, None, 8, 1e-3),
        ("temporal-ensembling", True, STEP2, 5, None, 8, 1e-3),
        ("mean-teacher", True, STEP2, 5, None, 8, 1e-3),
        ("li-mil", True, STEP2, 5, None, 8, 1e-3),
        ("chexnet", False, STEP1 + STEP2, 15, None, 8, 4e-3),
        ("retinanet", False, STEP1 + STEP2, 15, 96, 16, 4e-3),
        ("fcos", False, STEP1 + STEP2, 15, 96, 16, 4e-3),
        ("retinanet", True, STEP2, 5, None, 8, 1e-3),
        ("chexnet", True, STEP2, 5, None, 8, 1e-3),
    ],
)
def test_every_method_takes_its_steps(  # noqa: PLR0917
    method, has_initial_run, n_steps, n_epochs, crop_px, batch_size, rate
):
    settings = of(method, has_initial_run=has_initial_run)
    n_films = N_STEP2 if METHODS[method].uses_p else N_STEP1
    found = settings.n_epochs * n_steps_per_epoch(settings, n_films)
    assert abs(found - n_steps) <= n_epochs / 2
    assert (settings.n_epochs, settings.crop_px) == (n_epochs, crop_px)
    assert (settings.batch_size, settings.learning_rate) == (batch_size, rate)


def test_a_supervised_run_goes_on_for_as_many_steps_as_a_second_step(make_store, tiny_recipe):
    store = make_store()
    arguments = {"store": store, "recipe": tiny_recipe, "fold": 0, "seed": 1}
    first = train_run(method="supervised", **arguments)
    runs = {
        method: train_run(method=method, initial_run_id=first, **arguments)
        for method in ("supervised", "aals")
    }
    runs["retinanet"] = train_run(method="retinanet", **arguments)
    n_steps = {name: run_row(store, run_id)["n_steps"] for name, run_id in runs.items()}
    step1 = run_row(store, first)["n_steps"]
    assert n_steps["supervised"] == n_steps["aals"] == 2 * 4
    assert n_steps["retinanet"] == pytest.approx(step1 + n_steps["aals"], abs=2)
