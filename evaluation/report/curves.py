"""The report's curves, read from the warehouse: ROC, both FROCs, training by epoch."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.report.curve_figures import (
    Curve,
    OperatingMark,
    Series,
    epoch_figure,
    froc_figure,
    lesion_froc_figure,
    roc_figure,
)
from evaluation.report.figures import Picture
from evaluation.report.numbers import ReportNumbers
from evaluation.report.values import RunRow
from warehouse_schema.table import Table
from warehouse_schema.tables.evaluation import FROC_POINTS, LESION_FROC_POINTS, ROC_POINTS
from warehouse_schema.tables.runs import TRAINING_EPOCHS

TELEMETRY = {
    "validation_auroc": "Validation AUROC",
    "loss": "Training loss",
    "loss_sup": "Supervised loss (eq. 1)",
    "loss_semi": "Distillation loss (eq. 4)",
    "aals_inactive_share": "Share of positive films without sharpening",
    "aals_mean_maximum": "Mean of the teacher's largest probability",
    "aals_mean_boost": "Mean boost of the pseudo-label",
}
# Table, protocol, columns of x and y, and the metric that sums the curve up.
CurveSource = tuple[Table, str, str, str, str]
ROC_SOURCE: CurveSource = (
    ROC_POINTS,
    AUROC_PROTOCOL,
    "false_positive_rate",
    "true_positive_rate",
    "auroc",
)
FROC_SOURCE: CurveSource = (
    FROC_POINTS,
    FROC_PROTOCOL,
    "false_positive_ratio",
    "recall",
    "froc_score",
)
LESION_SOURCE: CurveSource = (
    LESION_FROC_POINTS,
    "test/R+N/peaks/student",
    "false_positives_per_image",
    "lesion_sensitivity",
    "lesion_froc_score",
)
_MARK_NAMES = {"youden": "J", "sensitivity_90": "Se", "specificity_90": "Sp"}
Rows = list[dict[str, Any]]


class ReportCurves:
    """Curves of the runs of a report."""

    def __init__(self, numbers: ReportNumbers) -> None:
        self._numbers = numbers

    def roc(self, finding: str, name: str) -> Picture:
        """ROC figure of a finding; the primary run's operating points are marked."""
        return roc_figure(name, [self._roc_curve(run, finding) for run in self._numbers.runs])

    def froc(self, finding: str, name: str) -> Picture | None:
        """FROC figure of a finding; None where no run has a FROC."""
        curves = self._curves(finding, FROC_SOURCE)
        return froc_figure(name, curves) if curves else None

    def lesion_froc(self, finding: str, name: str) -> Picture | None:
        """Classic FROC figure of a finding; None where no run has one."""
        curves = self._curves(finding, LESION_SOURCE)
        return lesion_froc_figure(name, curves) if curves else None

    def recall_at(self, run_id: str, finding: str, ratio: float) -> float | None:
        """Recall at a false positive ratio on the primary FROC curve."""
        points = self._points(FROC_POINTS, run_id, finding, FROC_PROTOCOL)
        reached = [row["recall"] for row in points if row["false_positive_ratio"] <= ratio + 1e-12]
        return reached[-1] if reached else None

    def training_figures(self, names: dict[str, str]) -> list[Picture]:
        """Training curves and telemetry by epoch, one figure per measured number."""
        where = {"run_id": [run.run_id for run in self._numbers.runs]}
        rows = self._numbers.store.read(
            TRAINING_EPOCHS, where=where, at=self._numbers.at
        ).to_pylist()
        pictures = []
        for metric, title in TELEMETRY.items():
            series = self._series([row for row in rows if row["metric"] == metric], names)
            if series:
                is_by_finding = len(series) > len(self._numbers.runs)
                findings = [names[name] for name in self._numbers.findings if is_by_finding]
                pictures.append(epoch_figure(title, series, findings))
        return pictures

    def _points(self, table: Table, run_id: str, finding: str, protocol: str) -> Rows:
        where = {"run_id": run_id, "finding": finding, "protocol": protocol}
        rows: Rows = self._numbers.store.read(table, where=where, at=self._numbers.at).to_pylist()
        return sorted(rows, key=lambda row: int(row["point_number"]))

    def _roc_curve(self, run: RunRow, finding: str) -> Curve:
        curve = self._curve(run, finding, ROC_SOURCE)
        assert curve is not None, "evaluate_run always writes the primary ROC"
        if self._numbers.place_of(run.run_id):
            return curve
        by_place: dict[tuple[float, float], list[str]] = {}
        for point in self._numbers.operating_points(run.run_id, finding):
            sensitivity, specificity = point["sensitivity"], point["specificity"]
            if sensitivity is not None and specificity is not None:
                place = 1 - specificity.value, sensitivity.value
                by_place.setdefault(place, []).append(_MARK_NAMES[point["name"]])
        marks = tuple(OperatingMark(", ".join(names), *at) for at, names in by_place.items())
        return Curve(**(vars(curve) | {"marks": marks}))

    def _curves(self, finding: str, source: CurveSource) -> list[Curve]:
        curves = (self._curve(run, finding, source) for run in self._numbers.runs)
        return [curve for curve in curves if curve is not None]

    def _curve(self, run: RunRow, finding: str, source: CurveSource) -> Curve | None:
        table, protocol, x, y, metric = source
        points = self._points(table, run.run_id, finding, protocol)
        number = self._numbers.number(run.run_id, finding, metric, protocol)
        if not points or number is None:
            return None
        return Curve(
            run.label,
            self._numbers.place_of(run.run_id),
            column(points, x),
            column(points, y),
            column(points, "ci_low", y),
            column(points, "ci_high", y),
            f"{number.text} ({number.interval})" if number.interval else number.text,
        )

    def _series(self, rows: Rows, names: dict[str, str]) -> list[Series]:
        grouped: dict[tuple[int, int], Rows] = defaultdict(list)
        runs, findings = self._numbers.runs, self._numbers.findings
        run_index = {run.run_id: index for index, run in enumerate(runs)}
        order = {finding: index for index, finding in enumerate(findings)}
        for row in rows:
            if row["value"] is not None and row["finding"] in {*order, "all"}:
                place = run_index[row["run_id"]], order.get(row["finding"], -1)
                grouped[place].append(row)
        if any(finding >= 0 for _, finding in grouped):
            grouped = {key: value for key, value in grouped.items() if key[1] >= 0}
        series = []
        for (run, finding), points in sorted(grouped.items()):
            points.sort(key=lambda row: int(row["epoch"]))
            about = f", {names[findings[finding]].lower()}" if finding >= 0 else ""
            series.append(
                Series(
                    f"{runs[run].label}{about}",
                    self._numbers.place_of(runs[run].run_id),
                    max(finding, 0),
                    column(points, "epoch"),
                    column(points, "value"),
                )
            )
        return series


def column(rows: Rows, name: str, instead_of_null: str = "") -> NDArray[np.float64]:
    """Column of rows as floats; a null takes the value of another column."""
    values = [row[instead_of_null] if row[name] is None else row[name] for row in rows]
    return np.array(values, dtype=np.float64)
