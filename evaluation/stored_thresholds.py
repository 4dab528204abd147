"""Thresholds of an evaluated run, as stored: chosen on validation, used on other films."""

from __future__ import annotations

from typing import get_args

from evaluation.comparison import AUROC_PROTOCOL
from evaluation.operating_points import OperatingPointName
from warehouse_schema.errors import ArgumentError
from warehouse_schema.film_scores import OperatingPoint
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
from warehouse_schema.tables.runs import TRAINING_RUNS


def stored_operating_point(*, store: Store, run_id: str, name: str = "youden") -> OperatingPoint:
    """Thresholds of a run's student by finding; None for a finding that was not evaluated.

    Raises:
        ArgumentError: Unknown run or operating point.
    """
    allowed = get_args(OperatingPointName)
    if name not in allowed:
        raise ArgumentError(f"--operating-point: got {name!r}; allowed are {', '.join(allowed)}.")
    runs = store.read(TRAINING_RUNS, columns=["findings"], where={"run_id": run_id}).to_pylist()
    if not runs:
        raise ArgumentError(
            f"run: there is no finished run '{run_id}'. The table training_runs lists them."
        )
    where = {"run_id": run_id, "metric": f"threshold@{name}", "protocol": AUROC_PROTOCOL}
    rows = store.read(EVALUATION_REPORTS, columns=["finding", "value"], where=where).to_pylist()
    stored = {row["finding"]: row["value"] for row in rows}
    return OperatingPoint(
        name=name,
        thresholds={finding: stored.get(finding) for finding in runs[0]["findings"].split(",")},
    )
