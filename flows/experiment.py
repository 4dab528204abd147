"""Supervised pre-training, then the method on top of it: which run starts from which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows import stages
from warehouse_schema.errors import EvaluationError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings

SUPERVISED = "supervised"


@dataclass(frozen=True, kw_only=True)
class TrainedPair:
    """The two runs that one experiment compares.

    Attributes:
        supervised_run_id: Pre-training on R+N.
        method_run_id: The semi-supervised run that starts from it.
    """

    supervised_run_id: str
    method_run_id: str


def train_pair(
    settings: Settings, *, method: str, fold: int, progress: Progress = SILENT
) -> TrainedPair:
    """Train the supervised run and the method's run on one fold; predict, evaluate and compare.

    Raises:
        RiblineError: A stage cannot go on.
    """
    run_ids: list[str] = []
    for name in (SUPERVISED, method):
        run_id = stages.train(
            settings,
            method=name,
            fold=fold,
            initial_run_id=initial_run_of(name, run_ids),
            progress=progress,
        )
        stages.predict(settings, run_id=run_id, progress=progress)
        stages.evaluate(settings, run_id=run_id, progress=progress)
        run_ids.append(run_id)
    supervised, trained = run_ids
    stages.compare(settings, run_id_a=supervised, run_id_b=trained, progress=progress)
    return TrainedPair(supervised_run_id=supervised, method_run_id=trained)


def initial_run_of(method: str, run_ids: Sequence[str]) -> str | None:
    """The supervised run, where the method starts from it; supervised after supervised goes on.

    Args:
        method: Method by name.
        run_ids: Runs of the pair so far: none, or the supervised one.

    Raises:
        ArgumentError: No such method.
    """
    from training.methods import method_named

    starts_from_run = method_named(method).needs_initial_run or method == SUPERVISED
    return run_ids[0] if run_ids and starts_from_run else None


def train_from_start(
    settings: Settings,
    *,
    method: str,
    fold: int,
    initial_run_id: str | None = None,
    progress: Progress = SILENT,
) -> str:
    """Train one run; where the method needs a supervised run, find it or train it first.

    Args:
        settings: Values in force; recipe and seed among them.
        method: Method by name.
        fold: Cross-validation fold.
        initial_run_id: Run to start from; the supervised run of the same recipe, seed, fold and
            data by default.
        progress: Listener.

    Returns:
        The run_id.

    Raises:
        ArgumentError: No such method.
        TrainingError: No such run, or training cannot start.
    """
    from training.methods import method_named

    initial = None if initial_run_id is None else stages.require_run(settings, initial_run_id)
    if initial is None and method_named(method).needs_initial_run:
        initial = stages.train(settings, method=SUPERVISED, fold=fold, progress=progress)
    return stages.train(
        settings, method=method, fold=fold, initial_run_id=initial, progress=progress
    )


def runs_of_folds(settings: Settings, *, method: str) -> list[str]:
    """The newest run of every fold, of one method, with the recipe and seed in force.

    Raises:
        EvaluationError: There is none.
    """
    from warehouse_schema.tables.runs import TRAINING_RUNS

    where = {"method": method, "recipe": settings.recipe, "seed": settings.seed}
    runs = stages.open_store(settings).read(TRAINING_RUNS, where=where).to_pylist()
    runs.sort(key=lambda run: (run["started_datetime"], run["run_id"]))
    newest = {run["fold"]: run["run_id"] for run in runs}
    run_ids = [newest[fold] for fold in sorted(newest)]
    if not run_ids:
        raise EvaluationError(
            f"--method: there is no run of {method} with recipe {settings.recipe} and seed "
            f"{settings.seed}. Train one with `ribline train`, or name runs with --run."
        )
    return run_ids


def reported_runs(settings: Settings) -> list[str]:
    """The newest evaluated run of every method, the supervised one first.

    Raises:
        EvaluationError: No run has been evaluated.
    """
    from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
    from warehouse_schema.tables.runs import TRAINING_RUNS

    store = stages.open_store(settings)
    evaluated = set(store.read(EVALUATION_REPORTS, columns=["run_id"])["run_id"].to_pylist())
    runs = store.read(TRAINING_RUNS, columns=["run_id", "method", "started_datetime"]).to_pylist()
    runs.sort(key=lambda run: (run["started_datetime"], run["run_id"]))
    newest = {run["method"]: run["run_id"] for run in runs if run["run_id"] in evaluated}
    if not newest:
        raise EvaluationError(
            "No run has been evaluated yet. Run `ribline predict` and `ribline evaluate` first."
        )
    return [newest[name] for name in sorted(newest, key=lambda name: (name != SUPERVISED, name))]
