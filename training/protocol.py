"""The protocol of Table 1: every method gets the same number of optimiser steps.

Step 1 is supervised, on R and N; step 2 starts from its best epoch. A method that needs no step 1
takes the steps of both in one run; a run continued from one of its own kind takes as many as a
step 2 on R, P and N.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from training.methods.method import Method
from training.recipe import Recipe
from training.sampler import n_steps_per_epoch

# What a first step does not use stands at its default there: an ablation's runs share their step 1.
_STEP2_ALONE: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Recipe)
    if field.name
    in {
        *("t", "a0", "adaptive_t", "p_fraction", "tier_weights", "uncertain_target"),
        *("consistency_weight", "consistency_rise", "ensemble_alpha", "mil_box_weight"),
    }
}


def run_recipe(
    recipe: Recipe,
    method: type[Method],
    *,
    has_initial_run: bool,
    n_films_step1: int,
    n_films_step2: int,
) -> Recipe:
    """The recipe of one run: whose values it takes, and how many steps an epoch has.

    Args:
        recipe: As the user chose it, with the values of both steps.
        method: The run's method.
        has_initial_run: True where the run starts from another run's best epoch.
        n_films_step1: Training films in R and N.
        n_films_step2: Training films in R, P and N, of P the recipe's share.
    """
    first, second = recipe.for_step(1), recipe.for_step(2)
    if has_initial_run:
        if method.uses_p:
            return second
        return dataclasses.replace(second, steps_per_epoch=n_steps_per_epoch(second, n_films_step2))
    if not method.takes_both_steps:
        return dataclasses.replace(first, **_STEP2_ALONE)
    n_steps = first.n_epochs * n_steps_per_epoch(first, n_films_step1)
    n_steps += second.n_epochs * n_steps_per_epoch(second, n_films_step2)
    n_epochs = first.n_epochs + second.n_epochs
    whole = dataclasses.replace(second, learning_rate=first.learning_rate)
    return dataclasses.replace(
        whole if method.needs_whole_films else first,
        n_epochs=n_epochs,
        passes_per_epoch=1,
        # Epochs are of one length, so the sum is met to half a step an epoch.
        steps_per_epoch=max(1, round(n_steps / n_epochs)),
    )
