"""Prefect flow evaluate-run: predictions, AUROC and FROC of one run."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows import tasks
from flows.artifacts import publish_results
from flows.run_names import evaluation_name


@flow(
    name="evaluate-run",
    flow_run_name=evaluation_name,
    validate_parameters=True,
    persist_result=True,
    result_serializer="json",
)
def evaluate_run(
    run_id: Annotated[str | None, Field(description="Training run; the newest by default.")] = None,
) -> str:
    """Predict and evaluate one run; returns its run_id."""
    chosen = tasks.choose_run(run_id)
    tasks.predict(chosen)
    tasks.evaluate(chosen)
    report = tasks.write_report([chosen])
    publish_results("evaluate-run", title=f"Run {chosen}", run_ids=[chosen], report=report)
    return chosen
