"""An experiment's numbers, read from its runs, beside the paper's."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.bootstrap import DRAWS
from evaluation.metric import Resampling
from evaluation.reproduction.experiment import Experiment, Row
from evaluation.reproduction.seed_means import RowNumbers, SeedMean, row_numbers
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.runs import TRAINING_RUNS


@dataclass(frozen=True, kw_only=True)
class ReproducedRun:
    """One run of an experiment: its row's key, its seed and its run_id."""

    row: str
    seed: int
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of an experiment for one finding: ours, and the paper's where it reports one."""

    row: Row
    finding: str
    n_steps: int
    numbers: RowNumbers
    paper_auroc: float | None
    paper_froc: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An experiment's lines by finding, and the runs that they come from."""

    experiment: Experiment
    findings: list[str]
    lines: list[Line]
    runs: list[ReproducedRun]
    n_seeds: int

    def of(self, finding: str) -> list[Line]:
        """The lines of one finding, in the experiment's order."""
        return [line for line in self.lines if line.finding == finding]


def read_outcome(
    *,
    store: Store,
    experiment: Experiment,
    runs: Sequence[ReproducedRun],
    n_bootstrap: int = DRAWS,
    seed: int = 0,
) -> Outcome:
    """Compute an experiment's numbers from the predictions of its runs.

    Raises:
        EvaluationError: No run was given, a run is unknown or cannot be evaluated.
    """
    trained = {row["run_id"]: row for row in store.read(TRAINING_RUNS).to_pylist()}
    unknown = [run.run_id for run in runs if run.run_id not in trained]
    if unknown or not runs:
        raise EvaluationError(
            f"runs: got {', '.join(unknown) or 'none'}; runs in training_runs are needed. "
            f"Run `ribline reproduce {experiment.name}`."
        )
    resampling = Resampling(n_draws=n_bootstrap, seed=seed)
    findings = [name.strip() for name in trained[runs[0].run_id]["findings"].split(",")]
    lines = []
    for finding in findings:
        for row in experiment.rows:
            ids = [run.run_id for run in runs if run.row == row.key]
            if ids:
                paper = experiment.paper.get(row.key, {}).get(finding, (None, None))
                numbers = row_numbers(
                    store=store, run_ids=ids, finding=finding, resampling=resampling
                )
                lines.append(
                    Line(
                        row=row,
                        finding=finding,
                        n_steps=trained[ids[0]]["n_steps"],
                        numbers=numbers,
                        paper_auroc=paper[0],
                        paper_froc=paper[1],
                    )
                )
    return Outcome(
        experiment=experiment,
        findings=findings,
        lines=lines,
        runs=list(runs),
        n_seeds=len({run.seed for run in runs}),
    )


def outcome_csv(outcome: Outcome) -> str:
    """The outcome's table as CSV, one line for each row, finding and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("experiment", "row", "finding", "metric", "value", "ci_low", "ci_high"),
            *("by_seed", "n_positive", "n_negative", "n_steps", "paper"),
        ]
    )
    for line in outcome.lines:
        metrics: tuple[tuple[str, SeedMean | None, float | None], ...] = (
            ("auroc", line.numbers.auroc, line.paper_auroc),
            ("froc_score", line.numbers.froc, line.paper_froc),
        )
        for metric, mean, paper in metrics:
            ours = (
                ["", "", "", "", "", ""]
                if mean is None
                else [
                    f"{mean.value:.6f}",
                    f"{mean.low:.6f}",
                    f"{mean.high:.6f}",
                    " ".join(f"{value:.6f}" for value in mean.by_seed),
                    mean.n_positive,
                    mean.n_negative,
                ]
            )
            names = [outcome.experiment.name, line.row.key, line.finding, metric]
            writer.writerow([*names, *ours, line.n_steps, "" if paper is None else paper])
    return text.getvalue()
