"""The paper's experiments: their numbers and pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.opening import open_store
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from evaluation.reproduction.experiment import Experiment
    from evaluation.reproduction.outcome import Outcome, ReproducedRun
    from flows.settings import Settings

FOLDER = "reproductions"


def read_outcome(
    settings: Settings,
    *,
    experiment: Experiment,
    runs: Sequence[ReproducedRun],
    progress: Progress = SILENT,
) -> Outcome:
    """Our numbers of an experiment, beside the paper's."""
    from evaluation.reproduction.outcome import read_outcome as read

    progress.start("reproduce", None)
    outcome = read(
        store=open_store(settings),
        experiment=experiment,
        runs=runs,
        n_bootstrap=settings.n_bootstrap,
    )
    progress.finish()
    return outcome


def write_reproduction(settings: Settings, *, outcome: Outcome) -> Path:
    """The experiment's page in the home folder, its table as CSV beside it."""
    from evaluation.reproduction.page import write_reproduction as write

    path = settings.home / FOLDER / f"{outcome.experiment.name}.html"
    return write(store=open_store(settings), outcome=outcome, output_path=path)


def write_sharpening_page(*, output_path: Path) -> Path:
    """The page of the sharpening function as training computes it."""
    from evaluation.reproduction.figures import PeakCurve, SharpeningCurve
    from evaluation.reproduction.page import write_sharpening_page as write
    from training.sharpening_curves import STRENGTHS, T, fixed_strength, peak_rise

    fixed = [fixed_strength(strength) for strength in STRENGTHS]
    adaptive = [peak_rise(strength) for strength in STRENGTHS]
    return write(
        fixed=[
            SharpeningCurve(curve.strength, curve.before, curve.after, curve.formula)
            for curve in fixed
        ],
        adaptive=[PeakCurve(curve.strength, curve.before, curve.after) for curve in adaptive],
        t=T,
        largest_error=max(curve.largest_error for curve in (*fixed, *adaptive)),
        output_path=output_path,
    )
