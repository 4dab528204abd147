"""Rows of the result tables from the numbers of one run."""

from collections.abc import Iterable

import pyarrow as pa

from evaluation.calibration import CalibrationMap
from evaluation.metric import CurvePoint
from warehouse_schema.table import Table

X_COLUMN, Y_COLUMN = 5, 6


def number_rows(table: Table, run_id: str, numbers: Iterable[tuple[str, object]]) -> pa.Table:
    """Rows of a table whose columns are run, finding and a number's own fields."""
    rows = [{"run_id": run_id, "finding": finding, **vars(number)} for finding, number in numbers]
    return pa.Table.from_pylist(rows, schema=table.schema)


def curve_rows(table: Table, run_id: str, points: Iterable[tuple[str, CurvePoint]]) -> pa.Table:
    """Rows of a table that ``warehouse_schema.tables.evaluation.curve_points`` declares."""
    x, y = (table.columns[place].name for place in (X_COLUMN, Y_COLUMN))
    rows = [
        {
            "run_id": run_id,
            "finding": finding,
            "protocol": point.protocol,
            "point_number": point.point_number,
            "threshold": point.threshold,
            x: point.x,
            y: point.y,
            "ci_low": point.ci_low,
            "ci_high": point.ci_high,
        }
        for finding, point in points
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)


def knot_rows(
    table: Table, run_id: str, maps: Iterable[tuple[str, str, str, CalibrationMap]]
) -> pa.Table:
    """Rows of ``calibration_maps`` from (finding, network, calibration, map)."""
    rows = [
        {
            "run_id": run_id,
            "network": network,
            "finding": finding,
            "calibration": calibration,
            "knot_number": number,
            "score": float(score),
            "probability": float(probability),
        }
        for finding, network, calibration, fitted in maps
        for number, (score, probability) in enumerate(
            zip(fitted.scores, fitted.probabilities, strict=True)
        )
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)
