"""Prefect flow cross-validate: train-aals on every fold, the folds' means and mean differences."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows import tasks
from flows.artifacts import publish_differences
from flows.recipe_parameters import MethodName, RecipeName, Seed
from flows.run_names import training_name
from flows.train_aals import train_aals


@flow(
    name="cross-validate",
    flow_run_name=training_name,
    validate_parameters=True,
    persist_result=True,
    result_serializer="json",
)
def cross_validate(
    n_folds: Annotated[int, Field(ge=1, le=20, description="Folds to train, from 0.")] = 5,
    seed: Seed = None,
    recipe: RecipeName = None,
    method: MethodName = "aals",
) -> list[list[str]]:
    """Train, evaluate and compare both methods on every fold; returns the pairs of run_ids."""
    pairs = [
        train_aals(fold=fold, seed=seed, recipe=recipe, method=method) for fold in range(n_folds)
    ]
    for run_ids in zip(*pairs, strict=True):
        tasks.summarise_folds(list(run_ids))
    differences = tasks.mean_differences(pairs)
    publish_differences("cross-validate", title=f"{method} minus supervised", rows=differences)
    return pairs
