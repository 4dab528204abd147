"""One self-contained HTML report of one run, or of several side by side."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.report.figures import Picture
from evaluation.report.films import FilmExample, film_examples
from evaluation.report.numbers import Difference, Number, ReportNumbers, ResultRow
from evaluation.report.records import (
    LabelExample,
    cohort_flow,
    is_synthetic,
    label_counts,
    label_error_queue,
    label_examples,
    lineage_rows,
    patient_table,
)
from evaluation.scored_run import ScoredRun
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store


@dataclass(frozen=True)
class OperatingSummary:
    """What the primary run calls at its threshold, in films."""

    threshold: float
    n_found: int
    n_missed: int
    n_false_alarms: int
    sensitivity: Number
    specificity: Number


@dataclass(frozen=True)
class FindingSection:
    """All that the report shows of one finding."""

    finding: str
    name: str
    n_positive: int
    n_negative: int
    auroc: Number
    froc: Number | None
    operating: OperatingSummary | None
    recall_1: float | None
    recall_10: float | None
    comparisons: list[tuple[str, str, Difference]]
    results: list[ResultRow]
    variants: list[ResultRow]
    operating_points: list[dict[str, Any]]
    roc: Picture
    froc_figure: Picture | None
    examples: list[FilmExample]
    labels: list[LabelExample]
    label_counts: dict[str, int]


def write_report(*, store: Store, run_ids: list[str], output_path: Path) -> Path:
    """Write the report of evaluated runs; the first run is the reference, the last the primary one.

    The file holds every picture, needs no network and no script, and prints. Note text is shown for
    SYNTHETIC data only; otherwise rule ids and character offsets.

    Returns:
        ``output_path``.

    Raises:
        EvaluationError: No run was named, or a run is unknown, was not evaluated or does not fit
            the others; the file cannot be written.
        WarehouseError: The film cache or a map file is missing or torn.
    """
    if not run_ids:
        raise EvaluationError(
            "run_ids: none was named; name at least one evaluated run. List them with: "
            'ribline sql "FROM leaderboard".'
        )
    draft = output_path.with_name(f".{output_path.name}.draft")
    try:
        output_path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        draft.write_text(render_report(store=store, run_ids=run_ids), encoding="utf-8")
        draft.replace(output_path)
    except OSError as error:
        raise EvaluationError(
            f"output_path: the report cannot be written ({error.strerror}). "
            "Name a file in a folder you may write to."
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink()
    return output_path


def render_report(*, store: Store, run_ids: list[str]) -> str:
    """The report as HTML text; raises as :func:`write_report`."""
    run = ScoredRun(store=store, run_id=run_ids[-1])
    manifest = store.manifest(run.version)
    numbers = ReportNumbers(store=store, run_ids=run_ids, at=run.version)
    names = {finding: finding_name(finding) for finding in numbers.findings}
    counts = label_counts(store, run)
    sections = [
        finding_section(store, run, numbers, finding, dict(counts[finding]))
        for finding in numbers.findings
    ]
    test = [image for image in run.cohort.values() if image.split == "test"]
    environment = Environment(
        loader=PackageLoader("evaluation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        is_synthetic=is_synthetic(store, run.version),
        findings=names,
        joined_findings=_joined([name.lower() for name in names.values()]),
        sections=sections,
        runs=numbers.runs,
        primary=numbers.runs[-1],
        reference=numbers.runs[0],
        n_test_films=len(test),
        n_test_patients=len({image.patient_id for image in test}),
        n_cohort=len(run.cohort),
        flow=cohort_flow(store, run.version),
        patients=patient_table(store, run),
        queue=label_error_queue(store, run.run_id, run.version),
        training=numbers.training_figures(names),
        lineage=lineage_rows(store, run_ids, run.version),
        manifest=manifest,
    )


def finding_section(
    store: Store,
    run: ScoredRun,
    numbers: ReportNumbers,
    finding: str,
    counts: dict[str, int],
) -> FindingSection:
    """Gather everything of one finding for the primary run."""
    auroc = numbers.number(run.run_id, finding, "auroc", AUROC_PROTOCOL)
    assert auroc is not None, "evaluate_run always writes the primary AUROC"
    froc = numbers.number(run.run_id, finding, "froc_score", FROC_PROTOCOL)
    operating = _operating_summary(numbers, run.run_id, finding, auroc)
    name = finding_name(finding)
    comparisons = [
        (row.label, metric, difference)
        for row in numbers.runs[1:]
        for metric in ("auroc", "froc_score")
        if (difference := numbers.difference(row.run_id, finding, metric)) is not None
    ]
    return FindingSection(
        finding=finding,
        name=name,
        n_positive=auroc.n_positive,
        n_negative=auroc.n_negative,
        auroc=auroc,
        froc=None if froc is None or froc.value is None else froc,
        operating=operating,
        recall_1=numbers.recall_at(run.run_id, finding, 0.01),
        recall_10=numbers.recall_at(run.run_id, finding, 0.10),
        comparisons=comparisons,
        results=numbers.results(finding),
        variants=numbers.variants(finding),
        operating_points=numbers.operating_points(run.run_id, finding),
        roc=numbers.roc(finding, name),
        froc_figure=numbers.froc(finding, name),
        examples=[]
        if operating is None
        else film_examples(
            store=store,
            run=run,
            finding=finding,
            finding_name=name,
            threshold=operating.threshold,
        ),
        labels=label_examples(store, run, finding),
        label_counts=counts,
    )


def finding_name(finding: str) -> str:
    """``rib_fracture`` as "Rib fracture"."""
    return finding.replace("_", " ").capitalize()


def _operating_summary(
    numbers: ReportNumbers, run_id: str, finding: str, auroc: Number
) -> OperatingSummary | None:
    shares = [
        numbers.number(run_id, finding, f"{metric}@youden", AUROC_PROTOCOL)
        for metric in ("threshold", "sensitivity", "specificity")
    ]
    threshold, sensitivity, specificity = shares
    if threshold is None or sensitivity is None or specificity is None:
        return None
    assert threshold.value is not None
    assert sensitivity.value is not None
    assert specificity.value is not None
    n_found = round(sensitivity.value * auroc.n_positive)
    return OperatingSummary(
        threshold=threshold.value,
        n_found=n_found,
        n_missed=auroc.n_positive - n_found,
        n_false_alarms=auroc.n_negative - round(specificity.value * auroc.n_negative),
        sensitivity=sensitivity,
        specificity=specificity,
    )


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
