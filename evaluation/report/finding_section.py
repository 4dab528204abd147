"""All that the report says and shows of one finding."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.report.calibration import Calibration, calibration
from evaluation.report.curves import ReportCurves
from evaluation.report.figures import Picture
from evaluation.report.films import FilmExample, film_examples
from evaluation.report.forest_figure import ForestGroup, ForestRow, forest_figure
from evaluation.report.label_examples import LabelExample, label_examples
from evaluation.report.label_sources import (
    TIER_NAMES,
    AgreementRow,
    LabelSources,
    chart_review,
    label_sources,
    reader_agreement,
)
from evaluation.report.numbers import ReportNumbers
from evaluation.report.subgroups import Subgroups, subgroups
from evaluation.report.values import Difference, Number, ResultRow
from evaluation.score_maps import SCORE_MAX
from evaluation.scored_run import ScoredRun
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import IMAGE_LABELS


@dataclass(frozen=True)
class OperatingSummary:
    """What the primary run calls at its threshold, in films.

    ``missed_on``: where the missed fractures had been seen, most frequent first.
    """

    threshold: float
    n_found: int
    n_missed: int
    n_false_alarms: int
    n_left: int
    sensitivity: Number
    specificity: Number
    ppv_hospital: Number | None
    prevalence_hospital: Number | None
    missed_on: list[tuple[str, int]]


@dataclass(frozen=True)
class FindingSection:
    """All that the report shows of one finding."""

    finding: str
    name: str
    n_positive: int
    n_negative: int
    n_left_out: int
    auroc: Number
    froc: Number | None
    operating: OperatingSummary | None
    recall_1: float | None
    comparisons: list[tuple[str, list[tuple[str, Difference]]]]
    results: list[ResultRow]
    variants: list[ResultRow]
    operating_points: list[dict[str, Any]]
    methods: Picture | None
    roc: Picture
    froc_figure: Picture | None
    lesion_froc_figure: Picture | None
    calibration: Calibration | None
    subgroups: Subgroups | None
    examples: list[FilmExample]
    sources: LabelSources
    review: Picture | None
    agreement: list[AgreementRow]
    labels: list[LabelExample]


def finding_section(
    store: Store, run: ScoredRun, numbers: ReportNumbers, finding: str
) -> FindingSection:
    """Gather everything of one finding for the primary run."""
    auroc = numbers.number(run.run_id, finding, "auroc", AUROC_PROTOCOL)
    assert auroc is not None, "evaluate_run always writes the primary AUROC"
    froc = numbers.number(run.run_id, finding, "froc_score", FROC_PROTOCOL)
    operating = _operating_summary(store, run, numbers, finding, auroc)
    name = finding_name(finding)
    curves = ReportCurves(numbers)
    n_test = sum(image.split == "test" for image in run.cohort.values())
    return FindingSection(
        finding=finding,
        name=name,
        n_positive=auroc.n_positive,
        n_negative=auroc.n_negative,
        n_left_out=n_test - auroc.n_positive - auroc.n_negative,
        auroc=auroc,
        froc=None if froc is None or froc.value is None else froc,
        operating=operating,
        recall_1=curves.recall_at(run.run_id, finding, 0.01),
        comparisons=_comparisons(numbers, finding),
        results=numbers.results(finding),
        variants=numbers.variants(finding),
        operating_points=numbers.operating_points(run.run_id, finding),
        methods=_method_figure(numbers, finding, name),
        roc=curves.roc(finding, name),
        froc_figure=curves.froc(finding, name),
        lesion_froc_figure=curves.lesion_froc(finding, name),
        calibration=calibration(numbers, finding, name),
        subgroups=subgroups(numbers, finding, name),
        examples=[]
        if operating is None
        else film_examples(
            store=store,
            run=run,
            finding=finding,
            finding_name=name,
            threshold=operating.threshold,
        ),
        sources=label_sources(store, run, finding),
        review=chart_review(store, run, finding, name),
        agreement=reader_agreement(store, run, finding),
        labels=label_examples(store, run, finding),
    )


def finding_name(finding: str) -> str:
    """``rib_fracture`` as "Rib fracture"."""
    return finding.replace("_", " ").capitalize()


def _comparisons(
    numbers: ReportNumbers, finding: str
) -> list[tuple[str, list[tuple[str, Difference]]]]:
    """For every run but the first its differences from the first, by metric."""
    told = []
    for row in numbers.runs[1:]:
        differences = [
            (name, difference)
            for metric, name in (("auroc", "AUROC"), ("froc_score", "FROC score"))
            if (difference := numbers.difference(row.run_id, finding, metric)) is not None
        ]
        if differences:
            told.append((row.label, differences))
    return told


def _method_figure(numbers: ReportNumbers, finding: str, name: str) -> Picture | None:
    """All runs side by side; None for one run alone."""
    if len(numbers.runs) == 1:
        return None
    groups = []
    for row in numbers.results(finding):
        lines = tuple(
            ForestRow(
                run.label,
                number.value,
                number.low,
                number.high,
                number.text,
                index=numbers.place_of(run.run_id),
            )
            for run, number in zip(numbers.runs, row.numbers, strict=True)
            if number is not None and number.value is not None
        )
        if lines:
            groups.append(ForestGroup(row.name, lines))
    return forest_figure(f"{name}: runs side by side", groups, axis="Value", counted="value")


def _operating_summary(
    store: Store, run: ScoredRun, numbers: ReportNumbers, finding: str, auroc: Number
) -> OperatingSummary | None:
    threshold, sensitivity, specificity, ppv = (
        numbers.number(run.run_id, finding, f"{metric}@youden", AUROC_PROTOCOL)
        for metric in ("threshold", "sensitivity", "specificity", "ppv_hospital")
    )
    if threshold is None or sensitivity is None or specificity is None:
        return None
    assert threshold.value is not None
    assert sensitivity.value is not None
    assert specificity.value is not None
    n_found = round(sensitivity.value * auroc.n_positive)
    n_left = round(specificity.value * auroc.n_negative)
    return OperatingSummary(
        threshold=threshold.value,
        n_found=n_found,
        n_missed=auroc.n_positive - n_found,
        n_false_alarms=auroc.n_negative - n_left,
        n_left=n_left,
        sensitivity=sensitivity,
        specificity=specificity,
        ppv_hospital=ppv,
        prevalence_hospital=numbers.number(
            run.run_id, finding, "prevalence_hospital", AUROC_PROTOCOL
        ),
        missed_on=_missed_on(store, run, finding, threshold.value),
    )


def _missed_on(
    store: Store, run: ScoredRun, finding: str, threshold: float
) -> list[tuple[str, int]]:
    images = run.images(finding=finding, network="student", split="test")
    level = round(threshold * SCORE_MAX)
    missed = {
        image_id
        for image_id, is_positive, score in zip(
            images.image_ids, images.is_positive, images.scores, strict=True
        )
        if is_positive and score < level
    }
    rows = store.read(
        IMAGE_LABELS,
        columns=["image_id", "visibility_tier"],
        where={"finding": finding},
        at=run.version,
    ).to_pylist()
    tiers = Counter(row["visibility_tier"] for row in rows if row["image_id"] in missed)
    return [(TIER_NAMES[tier], n) for tier, n in tiers.most_common() if tier is not None]
