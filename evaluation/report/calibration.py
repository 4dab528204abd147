"""Calibration in the report: reliability curves, and how far off the probabilities are."""

from dataclasses import dataclass

from evaluation.comparison import AUROC_PROTOCOL
from evaluation.report.curve_figures import Reliability, reliability_figure
from evaluation.report.curves import column
from evaluation.report.figures import Picture
from evaluation.report.numbers import ReportNumbers
from evaluation.report.values import Number
from warehouse_schema.tables.evaluation import CALIBRATION_POINTS, CALIBRATIONS

NAMES = {
    "raw": "Score as it is",
    "temperature": "Temperature scaling",
    "isotonic": "Isotonic regression",
}


@dataclass(frozen=True)
class CalibrationRow:
    """One calibration with its error and its Brier score."""

    name: str
    ece: Number | None
    brier: Number | None


@dataclass(frozen=True)
class Calibration:
    """A finding's reliability curves and calibration errors for the primary run."""

    figure: Picture
    rows: list[CalibrationRow]
    temperature: Number | None


def calibration(numbers: ReportNumbers, finding: str, name: str) -> Calibration | None:
    """Calibration of the primary run on one finding; None where none was computed."""
    run_id = numbers.runs[-1].run_id
    where = {"run_id": run_id, "finding": finding, "protocol": AUROC_PROTOCOL}
    points = numbers.store.read(CALIBRATION_POINTS, where=where, at=numbers.at).to_pylist()
    if not points:
        return None
    curves, rows = [], []
    for index, kind in enumerate(CALIBRATIONS):
        bins = [row for row in points if row["calibration"] == kind]
        bins.sort(key=lambda row: int(row["bin_number"]))
        ece = numbers.number(run_id, finding, f"ece@{kind}", AUROC_PROTOCOL)
        brier = numbers.number(run_id, finding, f"brier@{kind}", AUROC_PROTOCOL)
        rows.append(CalibrationRow(NAMES[kind], ece, brier))
        if bins and ece is not None:
            curves.append(
                Reliability(
                    NAMES[kind],
                    index,
                    column(bins, "mean_probability"),
                    column(bins, "observed_share"),
                    column(bins, "ci_low"),
                    column(bins, "ci_high"),
                    f"ECE {ece.text}",
                )
            )
    return Calibration(
        reliability_figure(name, curves),
        [row for row in rows if row.ece is not None],
        numbers.number(run_id, finding, "temperature", AUROC_PROTOCOL),
    )
