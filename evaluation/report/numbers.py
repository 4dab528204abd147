"""The report's numbers, read from the warehouse: results, differences, curves, training."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.method_names import method_name
from evaluation.report.figures import Curve, Picture, Series, epoch_figure, froc_figure, roc_figure
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import (
    EVALUATION_REPORTS,
    FROC_POINTS,
    ROC_POINTS,
    RUN_COMPARISONS,
)
from warehouse_schema.tables.runs import TRAINING_EPOCHS, TRAINING_RUNS

METRICS = (
    ("auroc", AUROC_PROTOCOL, "AUROC"),
    ("average_precision", AUROC_PROTOCOL, "Average precision"),
    ("froc_score", FROC_PROTOCOL, "FROC score"),
)
VARIANTS = (
    ("auroc_delong", AUROC_PROTOCOL, "AUROC, DeLong interval"),
    ("auroc", "test/N only/whole/student", "AUROC, negatives of N only"),
    ("froc_score", "test/R+N/valid/student", "FROC score, without padding"),
    ("froc_score", "test/R only/whole/student", "FROC score, false positives on R only"),
    ("froc_score", "test/N only/whole/student", "FROC score, false positives on N only"),
    ("auroc", "test/all/whole/teacher", "AUROC, teacher"),
    ("froc_score", "test/R+N/whole/teacher", "FROC score, teacher"),
)
OPERATING_NAMES = {
    "youden": "Largest sensitivity + specificity",
    "sensitivity_90": "Sensitivity of at least 90 %",
    "specificity_90": "Specificity of at least 90 %",
}
TELEMETRY = {
    "validation_auroc": "Validation AUROC",
    "loss": "Training loss",
    "loss_sup": "Supervised loss (eq. 1)",
    "loss_semi": "Distillation loss (eq. 4)",
    "aals_inactive_share": "Share of positive films without sharpening",
    "aals_mean_boost": "Mean boost of the pseudo label",
}


@dataclass(frozen=True)
class Number:
    """A value with its 95 % interval and what it was computed on."""

    value: float | None
    low: float | None
    high: float | None
    n_positive: int
    n_negative: int

    @property
    def text(self) -> str:
        """The value to three decimals, a dash where it is undefined."""
        return "–" if self.value is None else f"{self.value:.3f}"

    @property
    def interval(self) -> str:
        """The interval to two decimals, empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:.2f}–{self.high:.2f}"

    @property
    def percent(self) -> str:
        """The value in whole per cent."""
        return "–" if self.value is None else f"{100 * self.value:.0f}\u00a0%"

    @property
    def percent_interval(self) -> str:
        """The interval in whole per cent."""
        if self.low is None or self.high is None:
            return ""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f}\u00a0%"


@dataclass(frozen=True)
class Difference:
    """A paired difference from the first run."""

    difference: float
    low: float
    high: float
    p_value: float | None
    p_value_holm: float | None

    @property
    def text(self) -> str:
        """Signed difference to three decimals, with a proper minus sign."""
        return f"{self.difference:+.3f}".replace("-", "−")

    @property
    def interval(self) -> str:
        """The interval, signed."""
        return f"{self.low:+.2f} to {self.high:+.2f}".replace("-", "−")

    @property
    def p_text(self) -> str:
        """The corrected p value where there is one."""
        if self.p_value is None:
            return ""
        shown = self.p_value if self.p_value_holm is None else self.p_value_holm
        name = "p" if self.p_value_holm is None else "p (Holm)"
        return f"{name} < 0.001" if shown < 0.001 else f"{name} = {shown:.3f}"

    @property
    def verdict(self) -> str:
        """better, worse or undecided, by the interval."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


@dataclass(frozen=True)
class RunRow:
    """One run of the report: its row in ``training_runs`` and its display name."""

    run_id: str
    label: str
    row: dict[str, Any]


@dataclass(frozen=True)
class ResultRow:
    """One metric of one finding, one number per run and the differences from the first run."""

    name: str
    protocol: str
    numbers: list[Number | None]
    differences: list[Difference | None]


class ReportNumbers:
    """Everything numeric that the report shows of some runs, from one warehouse version.

    Raises:
        EvaluationError: A run is unknown or was not evaluated, or the runs' findings differ.
    """

    def __init__(self, *, store: Store, run_ids: list[str], at: int | None) -> None:
        self._store = store
        self._at = at
        self.runs = [self._run(run_id) for run_id in run_ids]
        self.runs = _distinct_labels(self.runs)
        findings = {str(run.row["findings"]) for run in self.runs}
        if len(findings) != 1:
            raise EvaluationError(
                f"run_ids: the runs have different findings ({'; '.join(sorted(findings))}). "
                "Report runs of one recipe together."
            )
        self.findings = [name.strip() for name in findings.pop().split(",")]
        self._numbers = self._read_numbers(run_ids)
        self._differences = self._read_differences(run_ids)

    def number(self, run_id: str, finding: str, metric: str, protocol: str) -> Number | None:
        """One number; None where it was not computed."""
        return self._numbers.get((run_id, finding, metric, protocol))

    def difference(self, run_id: str, finding: str, metric: str) -> Difference | None:
        """Difference of a run from the first run; None where they were not compared."""
        return self._differences.get((self.runs[0].run_id, run_id, finding, metric))

    def results(self, finding: str) -> list[ResultRow]:
        """Primary results of a finding."""
        return self._rows(finding, METRICS)

    def variants(self, finding: str) -> list[ResultRow]:
        """Secondary results of a finding, those that were computed for any run."""
        return [row for row in self._rows(finding, VARIANTS) if any(row.numbers)]

    def operating_points(self, run_id: str, finding: str) -> list[dict[str, Any]]:
        """Sensitivity, specificity, PPV and NPV at each operating point."""
        points = []
        for name, told in OPERATING_NAMES.items():
            shares = {
                metric: self.number(run_id, finding, f"{metric}@{name}", AUROC_PROTOCOL)
                for metric in ("threshold", "sensitivity", "specificity", "ppv", "npv")
            }
            if shares["threshold"] is not None:
                points.append({"name": name, "told": told, **shares})
        return points

    def roc(self, finding: str, name: str) -> Picture:
        """ROC figure of a finding."""
        return roc_figure(name, self._curves(finding, is_roc=True))

    def froc(self, finding: str, name: str) -> Picture | None:
        """FROC figure of a finding; None where no run has a FROC."""
        curves = self._curves(finding, is_roc=False)
        return froc_figure(name, curves) if curves else None

    def recall_at(self, run_id: str, finding: str, ratio: float) -> float | None:
        """Recall at a false positive ratio on the primary FROC curve."""
        points = self._points(run_id, finding, is_roc=False)
        reached = [row["recall"] for row in points if row["false_positive_ratio"] <= ratio + 1e-12]
        return reached[-1] if reached else None

    def training_figures(self, names: dict[str, str]) -> list[Picture]:
        """Training curves and telemetry by epoch, one figure per measured number."""
        where = {"run_id": [run.run_id for run in self.runs]}
        rows = self._store.read(TRAINING_EPOCHS, where=where, at=self._at).to_pylist()
        pictures = []
        for metric, title in TELEMETRY.items():
            series = self._series([row for row in rows if row["metric"] == metric], names)
            if series:
                findings = [names[f] for f in self.findings if len(series) > len(self.runs)]
                pictures.append(epoch_figure(title, series, findings))
        return pictures

    def _run(self, run_id: str) -> RunRow:
        rows = self._store.read(TRAINING_RUNS, where={"run_id": run_id}, at=self._at).to_pylist()
        if not rows:
            raise EvaluationError(
                f"run_ids: there is no training run {run_id}. List them with: "
                'ribline sql "FROM training_runs".'
            )
        method = str(rows[0]["method"])
        return RunRow(run_id, method_name(method), rows[0])

    def _read_numbers(self, run_ids: list[str]) -> dict[tuple[str, str, str, str], Number]:
        rows = self._store.read(EVALUATION_REPORTS, where={"run_id": run_ids}, at=self._at)
        numbers = {
            (row["run_id"], row["finding"], row["metric"], row["protocol"]): Number(
                row["value"], row["ci_low"], row["ci_high"], row["n_positive"], row["n_negative"]
            )
            for row in rows.to_pylist()
        }
        for run_id in run_ids:
            if not any(key[0] == run_id for key in numbers):
                raise EvaluationError(
                    f"run_ids: run {run_id} was not evaluated. Run `ribline evaluate` first."
                )
        return numbers

    def _read_differences(self, run_ids: list[str]) -> dict[tuple[str, str, str, str], Difference]:
        where = {"run_id_a": run_ids[0], "run_id_b": run_ids[1:], "method": "paired bootstrap"}
        rows = self._store.read(RUN_COMPARISONS, where=where, at=self._at).to_pylist()
        return {
            (row["run_id_a"], row["run_id_b"], row["finding"], row["metric"]): Difference(
                row["difference"],
                row["ci_low"],
                row["ci_high"],
                row["p_value"],
                row["p_value_holm"],
            )
            for row in rows
        }

    def _rows(self, finding: str, metrics: tuple[tuple[str, str, str], ...]) -> list[ResultRow]:
        return [
            ResultRow(
                name,
                protocol,
                [self.number(run.run_id, finding, metric, protocol) for run in self.runs],
                [
                    self.difference(run.run_id, finding, metric)
                    if protocol in {AUROC_PROTOCOL, FROC_PROTOCOL}
                    else None
                    for run in self.runs[1:]
                ],
            )
            for metric, protocol, name in metrics
        ]

    def _points(self, run_id: str, finding: str, *, is_roc: bool) -> list[dict[str, Any]]:
        table, protocol = (ROC_POINTS, AUROC_PROTOCOL) if is_roc else (FROC_POINTS, FROC_PROTOCOL)
        where = {"run_id": run_id, "finding": finding, "protocol": protocol}
        rows: list[dict[str, Any]] = self._store.read(table, where=where, at=self._at).to_pylist()
        return sorted(rows, key=lambda row: int(row["point_number"]))

    def _curves(self, finding: str, *, is_roc: bool) -> list[Curve]:
        x, y = (
            ("false_positive_rate", "true_positive_rate")
            if is_roc
            else ("false_positive_ratio", "recall")
        )
        metric, protocol = ("auroc", AUROC_PROTOCOL) if is_roc else ("froc_score", FROC_PROTOCOL)
        curves = []
        for run in self.runs:
            points = self._points(run.run_id, finding, is_roc=is_roc)
            number = self.number(run.run_id, finding, metric, protocol)
            if points and number is not None:
                summary = f"{number.text} ({number.interval})"
                low, high = _column(points, "ci_low", y), _column(points, "ci_high", y)
                curves.append(
                    Curve(run.label, _column(points, x), _column(points, y), low, high, summary)
                )
        return curves

    def _series(self, rows: list[dict[str, Any]], names: dict[str, str]) -> list[Series]:
        grouped: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        run_index = {run.run_id: index for index, run in enumerate(self.runs)}
        order = {finding: index for index, finding in enumerate(self.findings)}
        for row in rows:
            if row["value"] is not None and row["finding"] in {*order, "all"}:
                place = run_index[row["run_id"]], order.get(row["finding"], -1)
                grouped[place].append(row)
        if any(finding >= 0 for _, finding in grouped):
            grouped = {key: value for key, value in grouped.items() if key[1] >= 0}
        series = []
        for (run, finding), points in sorted(grouped.items()):
            points.sort(key=lambda row: int(row["epoch"]))
            about = f", {names[self.findings[finding]].lower()}" if finding >= 0 else ""
            label = f"{self.runs[run].label}{about}"
            epochs = _column(points, "epoch")
            series.append(Series(label, run, max(finding, 0), epochs, _column(points, "value")))
        return series


def _column(
    rows: list[dict[str, Any]], name: str, instead_of_null: str = ""
) -> NDArray[np.float64]:
    """Column of rows as floats; a null takes the value of another column."""
    values = [row[instead_of_null] if row[name] is None else row[name] for row in rows]
    return np.array(values, dtype=np.float64)


def _distinct_labels(runs: list[RunRow]) -> list[RunRow]:
    """Runs of one method are told apart by fold and seed."""
    labels = [run.label for run in runs]
    return [
        run
        if labels.count(run.label) == 1
        else RunRow(
            run.run_id, f"{run.label} (fold {run.row['fold']}, seed {run.row['seed']})", run.row
        )
        for run in runs
    ]
