"""One self-contained page for each table or figure of the paper, in the report's design."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from evaluation.report.cohort import is_synthetic
from evaluation.report.figures import Picture
from evaluation.report.finding_section import finding_name
from evaluation.report.html_page import render_page, write_page
from evaluation.reproduction.experiment import AALS, SUPERVISED
from evaluation.reproduction.figures import (
    PeakCurve,
    SharpeningCurve,
    comparison_figure,
    mean_froc_figure,
    peak_figure,
    series_figure,
    sharpening_figure,
)
from evaluation.reproduction.gallery import method_gallery
from evaluation.reproduction.outcome import Line, Outcome, outcome_csv
from evaluation.reproduction.paper_numbers import CONDITIONS
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.runs import TRAINING_RUNS

_FEWEST_FOR_ORDER = 4


@dataclass(frozen=True)
class FindingOutcome:
    """One finding of a reproduction: its lines, its figure, and what they say."""

    name: str
    lines: list[Line]
    figure: Picture | None
    n_films: str
    n_sites: str
    told: list[str]


def write_reproduction(*, store: Store, outcome: Outcome, output_path: Path) -> Path:
    """Write an experiment's page, and its table as CSV beside it.

    Returns:
        ``output_path``.

    Raises:
        EvaluationError: A file cannot be written.
        WarehouseError: The pixel cache is torn (figure4).
    """
    experiment = outcome.experiment
    trained = {row["run_id"]: row for row in store.read(TRAINING_RUNS).to_pylist()}
    first = trained[outcome.runs[0].run_id]
    cohort = store.read(COHORT, where={"fold": first["fold"]}).to_pylist()
    cohort = [row for row in cohort if row["split"] is not None]
    is_gallery = experiment.figure == "gallery"
    text = render_page(
        "reproduction.html.j2",
        is_synthetic=is_synthetic(store, None),
        experiment=experiment,
        findings=[_finding_outcome(outcome, finding) for finding in outcome.findings],
        gallery=method_gallery(store=store, experiment=experiment, runs=outcome.runs)
        if is_gallery
        else [],
        n_seeds=outcome.n_seeds,
        n_runs=len({run.run_id for run in outcome.runs}),
        sources=", ".join(sorted({row["source"] for row in cohort})),
        n_films=len(cohort),
        n_test=sum(row["split"] == "test" for row in cohort),
        n_test_patients=len({row["patient_id"] for row in cohort if row["split"] == "test"}),
        conditions=_conditions(first, trained, outcome, cohort),
        runs=[(run, trained[run.run_id]) for run in outcome.runs],
        labels={row.key: row.label for row in experiment.rows},
        version=store.manifest().version,
    )
    write_page(output_path.with_suffix(".csv"), outcome_csv(outcome))
    return write_page(output_path, text)


def write_sharpening_page(
    *,
    fixed: list[SharpeningCurve],
    adaptive: list[PeakCurve],
    t: float,
    largest_error: float,
    output_path: Path,
) -> Path:
    """Write the page of the paper's Figure 2: the sharpening that training applies, drawn.

    Args:
        fixed: Pseudo-label against teacher's probability at each strength a.
        adaptive: The highest pseudo-label against the highest probability at each a0.
        t: Centre of the sharpening.
        largest_error: Largest distance of the code from eq. 6 in double precision.
        output_path: HTML file.

    Raises:
        EvaluationError: The file cannot be written.
    """
    text = render_page(
        "sharpening.html.j2",
        is_synthetic=False,
        fixed=sharpening_figure(fixed, t),
        adaptive=peak_figure(adaptive, t),
        peaks=[
            (curve.a0, float(rise.max()), float(curve.before[rise.argmax()]))
            for curve in adaptive
            for rise in [curve.after - curve.before]
        ],
        t=t,
        largest_error=largest_error,
    )
    return write_page(output_path, text)


def _finding_outcome(outcome: Outcome, finding: str) -> FindingOutcome:
    name, lines = finding_name(finding), outcome.of(finding)
    kind = outcome.experiment.figure
    figure = None
    if kind == "series":
        figure = series_figure(name, lines, axis=f"{outcome.experiment.heading} that takes part")
    elif kind == "froc":
        figure = mean_froc_figure(name, lines)
    elif kind == "forest":
        figure = comparison_figure(name, lines)
    auroc = lines[0].numbers.auroc
    froc = next((line.numbers.froc for line in lines if line.numbers.froc), None)
    return FindingOutcome(
        name,
        lines,
        figure,
        f"{auroc.n_positive} positive and {auroc.n_negative} negative films",
        f"{froc.n_positive} boxed sites, {froc.n_negative} films of R and N"
        if froc
        else "no boxes",
        _told(lines),
    )


def _told(lines: list[Line]) -> list[str]:
    """Which row is best, here and in the paper, and how far the two orders agree."""
    told = []
    for metric, ours, paper in (
        ("AUROC", [line.numbers.auroc for line in lines], [line.paper_auroc for line in lines]),
        ("FROC score", [line.numbers.froc for line in lines], [line.paper_froc for line in lines]),
    ):
        known = [
            (mean.value, reported, line)
            for line, mean, reported in zip(lines, ours, paper, strict=True)
            if mean is not None and reported is not None
        ]
        if len(known) < 2:
            continue
        if len({each[0] for each in known}) == 1:
            told.append(f"{metric}: all rows the same here ({known[0][0]:.3f}).")
            continue
        best = max(known, key=lambda each: each[0])
        best_paper = max(known, key=lambda each: each[1])
        tied = ", ".join(line.row.label for value, _, line in known if value == best[0])
        text = f"{metric}: highest here {tied} ({best[0]:.3f}), "
        text += f"in the paper {best_paper[2].row.label} ({best_paper[1]:.4f})"
        if len(known) >= _FEWEST_FOR_ORDER:
            rho = spearmanr([each[0] for each in known], [each[1] for each in known]).statistic
            shown = f"{rho:.2f}".replace("-", "−")
            text += (
                f"; the orders of {len(known)} rows correlate by ρ\u00a0=\u00a0{shown} (Spearman)"
            )
        told.append(f"{text}.")
    return told + _aals_against_supervised(lines)


def _aals_against_supervised(lines: list[Line]) -> list[str]:
    by_key = {line.row.key: line for line in lines}
    if AALS not in by_key or SUPERVISED not in by_key:
        return []
    aals, supervised = by_key[AALS], by_key[SUPERVISED]
    parts = []
    for metric, ours, theirs in (
        (
            "AUROC",
            (aals.numbers.auroc, supervised.numbers.auroc),
            (aals.paper_auroc, supervised.paper_auroc),
        ),
        (
            "FROC score",
            (aals.numbers.froc, supervised.numbers.froc),
            (aals.paper_froc, supervised.paper_froc),
        ),
    ):
        if ours[0] is None or ours[1] is None:
            continue
        text = f"{metric} {ours[0].value - ours[1].value:+.3f}"
        if theirs[0] is not None and theirs[1] is not None:
            text += f" (in the paper {theirs[0] - theirs[1]:+.3f})"
        parts.append(text)
    return [f"AALS against supervised: {', '.join(parts)}.".replace("-", "−")]


def _conditions(
    first: dict[str, Any],
    trained: dict[str, dict[str, Any]],
    outcome: Outcome,
    cohort: list[dict[str, Any]],
) -> list[tuple[str, str, str]]:
    recipe = json.loads(first["configuration_json"])
    subsets = Counter(row["subset"] for row in cohort)
    epochs = sorted(
        {
            str(json.loads(trained[run.run_id]["configuration_json"])["n_epochs"])
            for run in outcome.runs
        },
        key=int,
    )
    sources = ", ".join(sorted({row["source"] for row in cohort}))
    here = {
        "Data": f"{len(cohort)} films of {sources}",
        "R, P, N": f"{subsets['R']}, {subsets['P']}, {subsets['N']} films in all",
        "Input, pixels": f"{first['image_size_px']} x {first['image_size_px']}",
        "Backbone": f"{first['backbone']}, {first['weights_source']} weights",
        "Batch size": str(recipe["batch_size"]),
        "Learning rate": f"{recipe['learning_rate']:g} ({recipe['optimizer']})",
        "Epochs": f"{' or '.join(epochs)}, by step",
        "Evaluation": f"fold {first['fold']}, {outcome.n_seeds} seed"
        + ("s" if outcome.n_seeds > 1 else ""),
    }
    return [(name, paper, here[name]) for name, paper in CONDITIONS.items()]
