"""The paper's experiments again: one run at a time, each found where it exists."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.reproduction.experiment import Experiment, Row
from flows import stages
from flows.demo import HOSPITAL_FOLDER, prepare_home, write_synthetic_hospital
from flows.experiment import SUPERVISED
from flows.relabelling import relabel
from warehouse_schema.errors import ArgumentError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from evaluation.reproduction.outcome import Outcome
    from flows.settings import Settings
    from warehouse_schema.table import Table

FOLD = 0
_STEP1 = Row(key=SUPERVISED, label="Supervised", method=SUPERVISED)
DATABASE_FILE = "hospital.sqlite"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A synthetic hospital and a recipe of a size that a machine can bear.

    Attributes:
        recipe: Recipe by name.
        n_patients: Patients of the synthetic hospital.
        boxed_share: Share of its positives that readers boxed.
        n_seeds: Seeds of training by default, from 0.
    """

    recipe: str
    n_patients: int
    boxed_share: float
    n_seeds: int


PROFILES = {
    "cpu": Profile(recipe="table1", n_patients=1200, boxed_share=0.2, n_seeds=3),
    "gpu": Profile(recipe="table1_gpu", n_patients=6000, boxed_share=0.12, n_seeds=3),
}


@dataclass(frozen=True, kw_only=True)
class TableRun:
    """One run of an experiment.

    Attributes:
        row: Row of the experiment by key: a method, a value of t ...
        seed: Seed of the training.
        run_id: The run.
        is_found: True where it was trained before.
    """

    row: str
    seed: int
    run_id: str
    is_found: bool


def prepare_profile_home(
    *, folder: Path, profile: str, n_patients: int | None = None, progress: Progress = SILENT
) -> Settings:
    """A home with the profile's hospital up to the cohort; what is there already is kept.

    Args:
        folder: New, empty, or a home that this function has begun before.
        profile: `cpu` or `gpu`.
        n_patients: Patients; those of the profile by default.
        progress: Listener.

    Raises:
        ArgumentError: No such profile, or the folder is another home.
    """
    from flows.settings import CONFIGURATION_NAME, load_settings
    from warehouse_schema.tables.labels import COHORT

    if profile not in PROFILES:
        raise ArgumentError(
            f"--profile: got '{profile}', allowed are {', '.join([*PROFILES, 'own'])}."
        )
    chosen = PROFILES[profile]
    if (folder / CONFIGURATION_NAME).is_file():
        settings = load_settings(home=folder, is_environment_used=False)
        if settings.recipe != chosen.recipe:
            raise ArgumentError(
                f"--out: {folder} is a home of recipe {settings.recipe}, profile {profile} needs "
                f"{chosen.recipe}. Name a new folder."
            )
    else:
        settings = prepare_home(folder=folder, seed=0, recipe_name=chosen.recipe)
    hospital = settings.home / HOSPITAL_FOLDER
    if not (hospital / DATABASE_FILE).is_file():
        shutil.rmtree(hospital, ignore_errors=True)
        write_synthetic_hospital(
            folder=hospital,
            n_patients=n_patients or chosen.n_patients,
            seed=0,
            boxed_share=chosen.boxed_share,
            n_processes=settings.n_processes,
            progress=progress,
        )
    if not stages.open_store(settings).read(COHORT, columns=["fold"]).num_rows:
        relabel(settings, progress=progress)
    return settings


def run_experiment(
    settings: Settings,
    *,
    experiment: Experiment,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int],
    fold: int = FOLD,
    tell: Callable[[TableRun], None] = lambda run: None,
    progress: Progress = SILENT,
) -> list[TableRun]:
    """Train, predict and evaluate every run of an experiment, seed by seed.

    A run with the same recipe, seed, fold, start and data is not trained again, and neither are its
    predictions or figures made again: the same call goes on where it was stopped, and experiments
    share the runs that they have in common.

    Args:
        settings: Home and recipe.
        experiment: Table or figure of the paper.
        rows: Rows by key, all by default.
        seeds: Seeds of training.
        fold: Cross-validation fold.
        tell: Called with each run when it is evaluated.
        progress: Listener.

    Raises:
        ArgumentError: No such row, no seed, or a seed below 0.
        RiblineError: A stage cannot go on.
    """
    chosen = _chosen_rows(experiment, rows, seeds)
    runs: list[TableRun] = []
    for seed in seeds:
        seeded = settings.replaced(seed=seed)
        first = None
        if any(_starts_from_step1(row) for row in chosen):
            first = _finished(seeded, _STEP1, fold, None, progress)
        for row in chosen:
            initial = first.run_id if first and _starts_from_step1(row) else None
            is_first = row.method == SUPERVISED and not row.is_continued
            if first is not None and is_first:
                run = replace(first, row=row.key)
            else:
                run = _finished(seeded, row, fold, initial, progress)
            runs.append(run)
            tell(run)
    return runs


def _chosen_rows(
    experiment: Experiment, rows: Sequence[str] | None, seeds: Sequence[int]
) -> list[Row]:
    known = {row.key: row for row in experiment.rows}
    keys = list(known) if rows is None else list(rows)
    unknown = [key for key in keys if key not in known]
    if unknown or not keys:
        raise ArgumentError(
            f"--method: got {', '.join(unknown) or 'nothing'}, allowed are {', '.join(known)}."
        )
    if not seeds or min(seeds) < 0:
        raise ArgumentError("--seed: at least one, each 0 or above.")
    return [known[key] for key in keys]


def _starts_from_step1(row: Row) -> bool:
    from training.methods import method_named

    return row.is_continued or method_named(row.method).needs_initial_run


def _finished(
    settings: Settings, row: Row, fold: int, initial_run_id: str | None, progress: Progress
) -> TableRun:
    """A run of one row, trained, scored and evaluated."""
    from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
    from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

    known = stages.open_store(settings).read(TRAINING_RUNS, columns=["run_id"])
    changed = {**settings.recipe_overrides, **row.overrides}
    run_id = stages.train(
        settings.replaced(recipe_overrides=changed),
        method=row.method,
        fold=fold,
        initial_run_id=initial_run_id,
        progress=progress,
    )
    if not _has_rows(settings, PREDICTIONS, run_id):
        stages.predict(settings, run_id=run_id, progress=progress)
    if not _has_rows(settings, EVALUATION_REPORTS, run_id):
        stages.evaluate(settings, run_id=run_id, progress=progress)
    is_found = run_id in known.column("run_id").to_pylist()
    return TableRun(row=row.key, seed=settings.seed, run_id=run_id, is_found=is_found)


def _has_rows(settings: Settings, table: Table, run_id: str) -> bool:
    rows = stages.open_store(settings).read(table, columns=["run_id"], where={"run_id": run_id})
    return bool(rows.num_rows)


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A finished experiment: its numbers and its page."""

    outcome: Outcome
    page_path: Path


def default_seeds(profile: str, name: str) -> int:
    """How many seeds an experiment takes where none are named: one is enough for pictures."""
    if name == "figure4":
        return 1
    return PROFILES[profile].n_seeds if profile in PROFILES else 1


def reproduce(
    settings: Settings,
    *,
    name: str,
    rows: Sequence[str] | None,
    seeds: Sequence[int],
    fold: int = FOLD,
    tell: Callable[[TableRun], None] = lambda run: None,
    progress: Progress = SILENT,
) -> Reproduction:
    """Run an experiment by name, and write its page; arguments as of :func:`run_experiment`.

    Raises:
        ArgumentError: As :func:`run_experiment`.
        RiblineError: A stage cannot go on.
    """
    from evaluation.reproduction.experiment import EXPERIMENTS
    from evaluation.reproduction.outcome import ReproducedRun
    from flows.stages.reproduction import read_outcome, write_reproduction

    experiment = EXPERIMENTS[name]
    runs = run_experiment(
        settings,
        experiment=experiment,
        rows=rows,
        seeds=seeds,
        fold=fold,
        tell=tell,
        progress=progress,
    )
    outcome = read_outcome(
        settings,
        experiment=experiment,
        runs=[ReproducedRun(row=run.row, seed=run.seed, run_id=run.run_id) for run in runs],
        progress=progress,
    )
    return Reproduction(outcome=outcome, page_path=write_reproduction(settings, outcome=outcome))
