"""The stages as Prefect tasks: one call each, nothing personal in parameters, results or errors.

Settings and secrets are read in the worker's process and never travel through Prefect. Results are
JSON by the flows' own serializer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun

from etl.privacy.value_loggers import silent_value_loggers
from flows import stages
from flows.progress_display import LineProgress
from flows.relabelling import run_relabel_stage
from flows.result_table import mean_difference_rows
from flows.settings import Settings, load_settings
from flows.stages import Counts
from flows.unexpected_errors import withheld
from warehouse_schema.errors import RiblineError, SourceError

P = ParamSpec("P")
R = TypeVar("R")

RETRY_DELAYS_S: list[float] = [30, 120, 600]


def known_errors_only(function: Callable[P, R]) -> Callable[P, R]:
    """Replace unexpected errors, whose messages may hold data, by their type and place.

    Libraries that would log such data are silent meanwhile.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with silent_value_loggers():
                return function(*args, **kwargs)
        except RiblineError:
            raise
        except Exception as error:  # noqa: BLE001
            raise withheld(error, what=function.__name__) from None

    return guarded


def is_source_away(task: object, task_run: TaskRun, state: State[object]) -> bool:
    """True where a retry is safe and may help: the source was away, and nothing was written."""
    try:
        state.result()
    except SourceError:
        return True
    except Exception:  # noqa: BLE001
        return False
    return False


@task(
    task_run_name="{stage}",
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_source_away,
)
@known_errors_only
def relabel_stage(stage: str) -> Counts:
    """One stage of the nightly sequence; returns its counts."""
    return run_relabel_stage(load_settings(), stage=stage, progress=log_progress())


@task(task_run_name="train {method}, fold {fold}")
@known_errors_only
def train(
    method: str,
    fold: int,
    seed: int | None,
    recipe: str | None,
    initial_run_id: str | None = None,
    *,
    changes: dict[str, object] | None = None,
) -> str:
    """Train one run, with some fields of the recipe changed; returns its run_id."""
    return stages.train(
        settings_with(seed, recipe).with_recipe_changes(changes or {}),
        method=method,
        fold=fold,
        initial_run_id=initial_run_id,
        progress=log_progress(),
    )


@task(task_run_name="predict {run_id}")
@known_errors_only
def predict(run_id: str) -> int:
    """Score validation and test images; returns the number of films."""
    return stages.predict(load_settings(), run_id=run_id, progress=log_progress())


@task(task_run_name="evaluate {run_id}")
@known_errors_only
def evaluate(run_id: str) -> None:
    """AUROC and FROC with intervals into ``evaluation_reports``."""
    stages.evaluate(load_settings(), run_id=run_id, progress=log_progress())


@task(task_run_name="compare {run_id_a} and {run_id_b}")
@known_errors_only
def compare(run_id_a: str, run_id_b: str) -> None:
    """The paired difference of two runs into ``run_comparisons``."""
    stages.compare(load_settings(), run_id_a=run_id_a, run_id_b=run_id_b, progress=log_progress())


@task(task_run_name="report")
@known_errors_only
def write_report(run_ids: list[str]) -> str:
    """The HTML report, in the last run's folder; returns its path in the home folder."""
    return stages.write_run_report(load_settings(), run_ids=run_ids)


@task(task_run_name="choose run")
@known_errors_only
def choose_run(run_id: str | None) -> str:
    """The run named, or the newest one."""
    return stages.require_run(load_settings(), run_id)


@task(task_run_name="summarise folds")
@known_errors_only
def summarise_folds(run_ids: list[str]) -> None:
    """One method over its folds into ``fold_summaries``."""
    stages.summarise_folds(load_settings(), run_ids=run_ids, progress=log_progress())


@task(task_run_name="mean differences")
@known_errors_only
def mean_differences(pairs: list[list[str]]) -> list[dict[str, str]]:
    """Mean paired difference over the folds, for every finding and metric."""
    return mean_difference_rows(load_settings(), pairs)


def settings_with(seed: int | None, recipe: str | None) -> Settings:
    """Settings in force, with a flow's parameters on top."""
    return load_settings().replaced(seed=seed, recipe=recipe)


def log_progress() -> LineProgress:
    """Progress as lines in the run's log."""
    return LineProgress(get_run_logger().info)
