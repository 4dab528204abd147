"""Subgroups in the report: forest plots with counts, a warning where they are small, drift."""

from dataclasses import dataclass
from typing import Any

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.report.figures import Picture
from evaluation.report.forest_figure import ForestGroup, ForestRow, forest_figure
from evaluation.report.numbers import ReportNumbers
from evaluation.report.values import Number
from evaluation.subgroups import ATTRIBUTE_NAMES, level_name
from warehouse_schema.tables.evaluation import SUBGROUP_ATTRIBUTES, SUBGROUP_METRICS

_FIGURES = (
    ("auroc", "AUROC", AUROC_PROTOCOL),
    ("sensitivity@youden", "Sensitivity at threshold J", AUROC_PROTOCOL),
    ("specificity@youden", "Specificity at threshold J", AUROC_PROTOCOL),
    ("froc_score", "FROC score", FROC_PROTOCOL),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Subgroups:
    """Forest plots of one finding; how many rows are small; drift in words."""

    figures: list[Picture]
    n_small: int
    n_rows: int
    drift: str


def subgroups(numbers: ReportNumbers, finding: str, name: str) -> Subgroups | None:
    """Subgroups of the primary run for one finding; None where none were computed."""
    run_id = numbers.runs[-1].run_id
    where = {"run_id": run_id, "finding": finding}
    rows = numbers.store.read(SUBGROUP_METRICS, where=where, at=numbers.at).to_pylist()
    if not rows:
        return None
    figures = []
    drawn: list[Row] = []
    for metric, axis, protocol in _FIGURES:
        chosen = [row for row in rows if row["metric"] == metric and row["protocol"] == protocol]
        if any(row["value"] is not None for row in chosen):
            over_all = numbers.number(run_id, finding, metric, protocol)
            figures.append(_figure(f"{name}: {axis}", chosen, axis, over_all))
            drawn += chosen
    return Subgroups(
        figures, sum(row["is_small"] for row in drawn), len(drawn), _drift_in_words(rows)
    )


def _figure(title: str, rows: list[Row], axis: str, over_all: Number | None) -> Picture:
    groups = []
    for attribute in SUBGROUP_ATTRIBUTES:
        levels = [row for row in rows if row["attribute"] == attribute]
        levels.sort(key=lambda row: int(row["level_number"]))
        if levels:
            lines = tuple(_line(row, axis) for row in levels)
            groups.append(ForestGroup(ATTRIBUTE_NAMES[attribute], lines))
    reference = None if over_all is None else over_all.value
    counted = _counted(axis)
    return forest_figure(title, groups, axis=axis, counted=counted, reference=reference)


def _line(row: Row, axis: str) -> ForestRow:
    if axis.startswith("Sensitivity"):
        counts = f"{row['n_positive']}"
    elif axis.startswith("Specificity"):
        counts = f"{row['n_negative']}"
    else:
        counts = f"{row['n_positive']} / {row['n_negative']}"
    return ForestRow(
        level_name(str(row["level"])),
        row["value"],
        row["ci_low"],
        row["ci_high"],
        counts,
        is_small=bool(row["is_small"]),
    )


def _counted(axis: str) -> str:
    if axis.startswith("Sensitivity"):
        return "positive"
    if axis.startswith("Specificity"):
        return "negative"
    return "boxes / films" if axis == "FROC score" else "pos. / neg."


def _drift_in_words(rows: list[Row]) -> str:
    slope = next((row for row in rows if row["metric"] == "auroc_slope"), None)
    if slope is None or slope["value"] is None:
        return ""
    told = f"AUROC changes by {slope['value']:+.3f} a year".replace("-", "−")
    if slope["ci_low"] is None:
        return f"{told}."
    interval = f"{slope['ci_low']:+.3f} to {slope['ci_high']:+.3f}".replace("-", "−")
    is_drift = slope["ci_low"] > 0 or slope["ci_high"] < 0
    verdict = "the interval leaves out zero" if is_drift else "no drift is shown"
    caution = ", on small numbers" if slope["is_small"] else ""
    return f"{told} ({interval}): {verdict}{caution}."
