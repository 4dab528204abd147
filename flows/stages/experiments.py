"""Stages from the cohort to a trained, evaluated and reported run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.counts import Counts
from flows.stages.labelling import labelled_findings
from flows.stages.opening import open_store
from warehouse_schema.errors import TrainingError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from evaluation.folds import FoldSummary
    from flows.settings import Settings


def train(
    settings: Settings,
    *,
    method: str,
    fold: int,
    initial_run_id: str | None = None,
    progress: Progress = SILENT,
) -> str:
    """Train one run on one fold; returns its run_id."""
    from training.recipe import recipe
    from training.train import train_run

    return train_run(
        store=open_store(settings),
        recipe=recipe(settings.recipe, **recipe_overrides(settings)),
        method=method,
        fold=fold,
        seed=settings.seed,
        initial_run_id=initial_run_id,
        progress=progress,
    )


def predict(settings: Settings, *, run_id: str, progress: Progress = SILENT) -> int:
    """Score validation and test images with a run's best epoch; returns the number of films."""
    from training.prediction import predict_run

    return predict_run(store=open_store(settings), run_id=run_id, progress=progress)


def evaluate(settings: Settings, *, run_id: str, progress: Progress = SILENT) -> Counts:
    """AUROC and FROC of a run, with intervals; its model card is written anew."""
    from evaluation.evaluate import evaluate_run
    from evaluation.model_card.page import write_model_card

    store = open_store(settings)
    summary = evaluate_run(
        store=store,
        run_id=run_id,
        n_bootstrap=settings.n_bootstrap,
        prevalence=settings.prevalence,
        progress=progress,
    )
    write_model_card(store=store, run_id=run_id)
    return {"n_metrics": len(summary.metrics), "notes": list(summary.notes)}


def compare(
    settings: Settings, *, run_id_a: str, run_id_b: str, progress: Progress = SILENT
) -> None:
    """The paired difference of two runs on the same images."""
    from evaluation.comparison import compare_runs

    progress.start("compare", None)
    compare_runs(
        store=open_store(settings),
        run_id_a=run_id_a,
        run_id_b=run_id_b,
        n_bootstrap=settings.n_bootstrap,
    )
    progress.finish()


def summarise_folds(
    settings: Settings, *, run_ids: Sequence[str], progress: Progress = SILENT
) -> list[FoldSummary]:
    """One method over its folds: the means and the pooled numbers."""
    from evaluation.folds import summarise_folds as summarise

    progress.start("summarise-folds", None)
    summaries = summarise(
        store=open_store(settings), run_ids=run_ids, n_bootstrap=settings.n_bootstrap
    )
    progress.finish()
    return summaries


def write_report(
    settings: Settings,
    *,
    run_ids: Sequence[str],
    output_path: Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """One self-contained HTML file about the runs."""
    from evaluation.report.page import write_report as write

    progress.start("report", None)
    path: Path = write(
        store=open_store(settings),
        run_ids=list(run_ids),
        output_path=output_path or settings.home / "report.html",
    )
    progress.finish()
    return path


def write_run_report(settings: Settings, *, run_ids: Sequence[str]) -> str:
    """The report in the last run's folder; returns its path relative to the home folder."""
    path = settings.home / "runs" / run_ids[-1] / "report.html"
    write_report(settings, run_ids=run_ids, output_path=path)
    return str(path.relative_to(settings.home))


def recipe_overrides(settings: Settings) -> dict[str, object]:
    """Fields of the recipe to change: those set, and the findings that this home labels."""
    from training.recipe import recipe

    overrides = dict(settings.recipe_overrides)
    findings = labelled_findings(settings)
    if "findings" not in overrides and set(findings) != set(recipe(settings.recipe).findings):
        overrides["findings"] = tuple(findings)
    return overrides


def newest_run(
    settings: Settings,
    *,
    method: str | None = None,
    fold: int | None = None,
    is_same_experiment: bool = False,
) -> str | None:
    """The run that started last, or None.

    Args:
        settings: Values in force.
        method: Only runs of this method.
        fold: Only runs on this fold.
        is_same_experiment: Only runs of the recipe and seed in force.
    """
    from warehouse_schema.tables.runs import TRAINING_RUNS

    wanted: dict[str, object] = {"method": method, "fold": fold}
    if is_same_experiment:
        wanted |= {"recipe": settings.recipe, "seed": settings.seed}
    rows = open_store(settings).read(
        TRAINING_RUNS, where={name: value for name, value in wanted.items() if value is not None}
    )
    runs = sorted(rows.to_pylist(), key=lambda run: (run["started_datetime"], run["run_id"]))
    return runs[-1]["run_id"] if runs else None


def require_run(settings: Settings, run_id: str | None) -> str:
    """A run named by an option, or the newest one.

    Raises:
        TrainingError: There is no such run, or none at all.
    """
    from warehouse_schema.tables.runs import TRAINING_RUNS

    if run_id is None:
        newest = newest_run(settings)
        if newest is None:
            raise TrainingError("There is no training run yet. Train one with `ribline train`.")
        return newest
    known = open_store(settings).read(TRAINING_RUNS, columns=["run_id"]).column(0).to_pylist()
    if run_id not in known:
        raise TrainingError(
            f"--run: there is no run {run_id}; known are {', '.join(known) or 'none'}."
        )
    return run_id
