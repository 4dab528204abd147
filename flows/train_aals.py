"""Prefect flow train-aals: supervised pre-training, then AALS, evaluated and compared."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows import tasks
from flows.artifacts import publish_results
from flows.experiment import SUPERVISED
from flows.run_names import training_name

Fold = Annotated[int, Field(ge=0, description="Cross-validation fold.")]
Seed = Annotated[int | None, Field(description="Seed; that of the settings by default.")]
RecipeName = Annotated[str | None, Field(description="Recipe; that of the settings by default.")]


@flow(
    name="train-aals",
    flow_run_name=training_name,
    validate_parameters=True,
    persist_result=True,
    result_serializer="json",
)
def train_aals(
    fold: Fold = 0, seed: Seed = None, recipe: RecipeName = None, method: str = "aals"
) -> list[str]:
    """Train the supervised run and the method's run on one fold; returns their run_ids."""
    run_ids: list[str] = []
    for name in (SUPERVISED, method):
        run_id = tasks.train(name, fold, seed, recipe, *run_ids)
        tasks.predict(run_id)
        tasks.evaluate(run_id)
        run_ids.append(run_id)
    tasks.compare(*run_ids)
    report = tasks.write_report(run_ids)
    publish_results("train-aals", title=f"{method}, fold {fold}", run_ids=run_ids, report=report)
    return run_ids
