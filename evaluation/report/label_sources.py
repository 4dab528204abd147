"""Where the labels of the cohort come from, and how good they are known to be."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from evaluation.report.figures import Picture
from evaluation.report.forest_figure import ForestGroup, ForestRow, forest_figure
from evaluation.report.values import Number
from evaluation.scored_run import ScoredRun
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import READER_AGREEMENT
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE, LABEL_QUALITY

EVIDENCE_NAMES = {
    "chest_film_report": "Report of the chest film",
    "other_imaging_report": "Report of other imaging",
    "clinical_text": "Clinical note",
    "code": "Diagnosis code",
    "public_label": "Label of the public data set",
}
POLARITIES = ("positive", "negative", "uncertain", "old", "ignored")
TIER_NAMES = {
    "chest_film_report": "the chest film's report",
    "other_imaging": "other imaging",
    "clinical_text": "clinical text",
    "code_only": "a code alone",
}
AGREEMENT_NAMES = {
    "cohen_kappa": "Cohen's κ, finding on the film",
    "fleiss_kappa": "Fleiss' κ, finding on the film",
    "observed_agreement": "Films on which readers agree",
    "box_agreement": "Boxes with a partner",
    "mean_iou": "Mean overlap of partners (IoU)",
}
_METRIC_NAMES = {"ppv": "PPV", "npv": "NPV"}
Row = dict[str, Any]


@dataclass(frozen=True)
class EvidenceRow:
    """Films of the cohort with evidence of one type, by what it says; index as POLARITIES."""

    name: str
    n_films: list[int]


@dataclass(frozen=True)
class LabelSources:
    """Labels and evidence of one finding among the cohort's films."""

    labels: list[tuple[str, int]]
    evidence: list[EvidenceRow]
    tiers: list[tuple[str, int]]
    n_conflicts: int
    n_silent: int


@dataclass(frozen=True)
class AgreementRow:
    """One measure of the readers' agreement, by finding."""

    name: str
    value: Number
    n_images: int


def label_sources(store: Store, run: ScoredRun, finding: str) -> LabelSources:
    """Count labels and evidence of a finding on the cohort's films."""
    where = {"finding": finding}
    rows = store.read(IMAGE_LABELS, where=where, at=run.version).to_pylist()
    labels = [row for row in rows if row["image_id"] in run.cohort]
    evidence = store.read(
        LABEL_EVIDENCE,
        columns=["image_id", "evidence_type", "polarity"],
        where=where,
        at=run.version,
    ).to_pylist()
    evidence = [row for row in evidence if row["image_id"] in run.cohort]
    films = {(row["evidence_type"], row["polarity"], row["image_id"]) for row in evidence}
    counts = Counter((kind, polarity) for kind, polarity, _ in films)
    kinds = [kind for kind in EVIDENCE_NAMES if any(key[0] == kind for key in counts)]
    tiers = Counter(row["visibility_tier"] for row in labels if row["visibility_tier"])
    with_evidence = {row["image_id"] for row in evidence}
    return LabelSources(
        Counter(str(row["label"]) for row in labels).most_common(),
        [
            EvidenceRow(EVIDENCE_NAMES[kind], [counts[kind, polarity] for polarity in POLARITIES])
            for kind in kinds
        ],
        [(TIER_NAMES.get(tier, tier), n) for tier, n in tiers.most_common()],
        sum(bool(row["is_conflict"]) for row in labels),
        sum(row["image_id"] not in with_evidence for row in labels),
    )


def chart_review(store: Store, run: ScoredRun, finding: str, name: str) -> Picture | None:
    """What a chart review found of the labels and their sources; None where there was none."""
    rows = store.read(LABEL_QUALITY, where={"finding": finding}, at=run.version).to_pylist()
    if not rows:
        return None
    newest = max(rows, key=lambda row: (int(row["label_version"]), str(row["review_id"])))
    rows = [row for row in rows if row["review_id"] == newest["review_id"]]
    groups = [
        ForestGroup(title, tuple(_line(row) for row in rows if row["scope"] == scope))
        for scope, title in (("label", "Label"), ("source", "Sources"))
        if any(row["scope"] == scope for row in rows)
    ]
    title = f"{name}: labels against the chart review"
    return forest_figure(title, groups, axis="Share", counted="reviewed")


def _line(row: Row) -> ForestRow:
    metric = _METRIC_NAMES.get(row["metric"], row["metric"])
    source = "" if row["scope"] == "label" else f"{str(row['name']).replace('_', ' ')}, "
    return ForestRow(
        f"{source}{metric}",
        row["value"],
        row["ci_low"],
        row["ci_high"],
        str(row["n_reviewed"]),
        is_small=row["n_reviewed"] < 20,
    )


def reader_agreement(store: Store, run: ScoredRun, finding: str) -> list[AgreementRow]:
    """How far readers agree on a finding: over all of them, or the only pair there is."""
    rows = store.read(READER_AGREEMENT, where={"finding": finding}, at=run.version).to_pylist()
    over_all = [row for row in rows if row["reader_id_a"] == "all"]
    pairs = {(row["reader_id_a"], row["reader_id_b"]) for row in rows}
    chosen = rows if len(pairs) == 1 else over_all
    chosen.sort(key=lambda row: list(AGREEMENT_NAMES).index(row["measure"]))
    return [
        AgreementRow(
            AGREEMENT_NAMES[row["measure"]],
            Number(row["value"], row["ci_low"], row["ci_high"], row["n_positive"], 0),
            row["n_images"],
        )
        for row in chosen
        if row["value"] is not None
    ]
