"""What a model card shows of a run beside the study's facts: tables, read from the warehouse."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.report.lineage import lineage_rows
from evaluation.subgroups import ATTRIBUTE_NAMES, level_name
from warehouse_schema.errors import WarehouseError
from warehouse_schema.manifest import Manifest
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import (
    EVALUATION_REPORTS,
    SUBGROUP_ATTRIBUTES,
    SUBGROUP_METRICS,
)
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.results import MODEL_EXPORTS
from warehouse_schema.tables.runs import LINEAGE, TRAINING_RUNS

SPLITS = ("train", "validation", "test")
SUBSETS = (
    ("R", "R: positive, boxed"),
    ("P", "P: positive, not boxed"),
    ("N", "N: negative"),
)
METRICS = (
    ("auroc", AUROC_PROTOCOL, "AUROC, by film"),
    ("average_precision", AUROC_PROTOCOL, "Average precision, by film"),
    ("froc_score", FROC_PROTOCOL, "FROC score, by boxed site"),
    ("sensitivity@youden", AUROC_PROTOCOL, "Sensitivity at the youden threshold"),
    ("specificity@youden", AUROC_PROTOCOL, "Specificity at the youden threshold"),
    ("ppv@youden", AUROC_PROTOCOL, "Positive predictive value there"),
    ("npv@youden", AUROC_PROTOCOL, "Negative predictive value there"),
)
POINTS = {
    "youden": "Largest sensitivity + specificity (youden)",
    "sensitivity_90": "Sensitivity of at least 90 % (sensitivity_90)",
    "specificity_90": "Specificity of at least 90 % (specificity_90)",
}
# With fewer, an interval of sensitivity is wider than a quarter.
FEW_POSITIVES = 60
Row = dict[str, Any]


@dataclass(frozen=True)
class MetricRow:
    """One line of the table of results; ``cells`` are by finding: value, interval, counts."""

    name: str
    cells: list[tuple[str, str, str]]


def metric_rows(store: Store, run_id: str, findings: list[str], at: int | None) -> list[MetricRow]:
    """Results with their 95 % intervals, and how many they were computed on."""
    rows = store.read(EVALUATION_REPORTS, where={"run_id": run_id}, at=at).to_pylist()
    known = {(row["finding"], row["metric"], row["protocol"]): row for row in rows}
    return [
        MetricRow(name, [_cell(known.get((each, metric, protocol))) for each in findings])
        for metric, protocol, name in METRICS
    ]


def _cell(row: Row | None) -> tuple[str, str, str]:
    if row is None or row["value"] is None:
        return "–", "", ""
    has_interval = row["ci_low"] is not None and row["ci_high"] is not None
    interval = f"{row['ci_low']:.2f}–{row['ci_high']:.2f}" if has_interval else ""
    return f"{row['value']:.3f}", interval, f"{row['n_positive']} + {row['n_negative']}"


def threshold_rows(
    store: Store, run_id: str, findings: list[str], at: int | None
) -> list[tuple[str, list[str]]]:
    """Thresholds of every operating point by finding."""
    where = {"run_id": run_id, "protocol": AUROC_PROTOCOL}
    rows = store.read(EVALUATION_REPORTS, where=where, at=at).to_pylist()
    known = {(row["finding"], row["metric"]): row["value"] for row in rows}
    table = []
    for point, name in POINTS.items():
        values = [known.get((finding, f"threshold@{point}")) for finding in findings]
        table.append((name, ["–" if each is None else f"{each:.4f}" for each in values]))
    return table


def cohort_rows(store: Store, run: Row, at: int | None) -> list[tuple[str, list[str]]]:
    """Films and patients of the run's fold by split."""
    cohort = store.read(COHORT, where={"fold": run["fold"], "split": list(SPLITS)}, at=at)
    rows = cohort.to_pylist()
    by_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    groups = [*by_split.values(), rows]
    table = [
        ("Patients", [str(len({row["patient_id"] for row in group})) for group in groups]),
        ("Films", [str(len(group)) for group in groups]),
    ]
    for subset, told in SUBSETS:
        counts = [sum(row["subset"] == subset for row in group) for group in groups]
        table.append((told, [str(count) for count in counts]))
    return table


def label_rows(
    store: Store, run: Row, findings: list[str], at: int | None
) -> list[tuple[str, list[str]]]:
    """Labels of the fold's films by finding: positive, negative, uncertain, excluded."""
    where = {"fold": run["fold"], "split": list(SPLITS)}
    chosen = set(
        store.read(COHORT, columns=["image_id"], where=where, at=at)["image_id"].to_pylist()
    )
    labels = store.read(
        IMAGE_LABELS,
        columns=["image_id", "finding", "label"],
        where={"finding": findings},
        at=at,
    ).to_pylist()
    counts = {
        finding: Counter(
            row["label"]
            for row in labels
            if row["finding"] == finding and row["image_id"] in chosen
        )
        for finding in findings
    }
    return [
        (label.capitalize(), [str(counts[finding][label]) for finding in findings])
        for label in ("positive", "negative", "uncertain", "excluded")
    ]


def subgroup_rows(store: Store, run_id: str, findings: list[str], at: int | None) -> list[Row]:
    """AUROC of subgroups, where the evaluation computed them."""
    where = {"run_id": run_id, "finding": findings, "metric": "auroc", "protocol": AUROC_PROTOCOL}
    rows = store.read(SUBGROUP_METRICS, where=where, at=at).to_pylist()
    levels: dict[tuple[int, int, str], dict[str, Row]] = {}
    for row in rows:
        place = SUBGROUP_ATTRIBUTES.index(row["attribute"])
        key = (place, row["level_number"], row["level"])
        levels.setdefault(key, {})[row["finding"]] = row
    return [
        {
            "attribute": ATTRIBUTE_NAMES[SUBGROUP_ATTRIBUTES[place]],
            "level": level_name(level),
            "cells": [_cell(by_finding.get(finding)) for finding in findings],
        }
        for (place, _, level), by_finding in sorted(levels.items())
    ]


def recipe_rows(run: Row) -> list[tuple[str, str]]:
    """Every field of the run's recipe."""
    fields = json.loads(run["configuration_json"])
    return [(name, _shown(value)) for name, value in sorted(fields.items())]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)


def data_versions(store: Store, run_id: str) -> list[Row]:
    """The newest commit of every stage of the run, and the version of each table that it read."""
    return [row for row in lineage_rows(store, [run_id], None) if row["run_id"] == run_id]


def study_manifest(store: Store, run_id: str) -> Manifest:
    """The warehouse as the run's evaluation left it, or its training; the newest where a patient's
    erasure has ended that history."""
    rows = store.read(LINEAGE, where={"run_id": run_id, "stage": ["train", "evaluate"]})
    versions = rows["commit_version"].to_pylist()
    with suppress(WarehouseError):
        return store.manifest(max(versions) if versions else None)
    return store.manifest()


def exports(store: Store, run_id: str) -> list[Row]:
    """ONNX files of the run."""
    return list(store.read(MODEL_EXPORTS, where={"run_id": run_id}).to_pylist())


def limits(facts: dict[str, str], run: Row, metrics: list[MetricRow]) -> list[str]:
    """What a reader must know before using a number, as far as the warehouse shows it."""
    n_positive = [int(counts.split(" + ")[0]) for _, _, counts in metrics[0].cells if counts]
    told = []
    if "is_synthetic" in facts:
        told.append(
            "All data are SYNTHETIC: the films are drawn and the records invented. No number here "
            "says anything about patients."
        )
    if not facts.get("external_sources"):
        told.append(
            f"Tested on held-out patients of the sources it was trained on ({facts['sources']}) "
            "alone. How it does in another hospital, on other devices, is not known."
        )
    if n_positive and min(n_positive) < FEW_POSITIVES:
        told.append(
            f"The test split has {min(n_positive)} positive films of a finding: the intervals are "
            "wide, and a difference between runs may be chance."
        )
    if not metrics[0].cells or all(not counts for _, _, counts in metrics[0].cells):
        told.append("The run has not been evaluated: no number here says how well it does.")
    told += [
        "Labels follow from codes and notes by rule and contain errors; a fracture that nobody "
        "recorded counts as negative.",
        "Prevalence in the cohort is not that of a ward or an emergency room; predictive values "
        "do not carry over.",
        "Only frontal chest films that the selection rule keeps were seen: lateral and oblique "
        "films and rib or clavicle series may score anything.",
        "It sees one film and knows nothing else of the patient; it tells neither the age of a "
        "fracture nor its number.",
    ]
    if run["initial_run_id"] is not None:
        told.append(f"It starts from run {run['initial_run_id']}, and shares its training films.")
    return told


def run_row(store: Store, run_id: str, at: int | None) -> Row | None:
    """The run's row, or None."""
    rows = store.read(TRAINING_RUNS, where={"run_id": run_id}, at=at).to_pylist()
    return dict(rows[0]) if rows else None
