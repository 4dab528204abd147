"""The result table: AUROC and FROC of runs, and their paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import stages

if TYPE_CHECKING:
    from flows.settings import Settings

COLUMNS = (
    "finding",
    "method",
    "AUROC (95 % interval)",
    "FROC (95 % interval)",
    "test films",
    "run",
)
RESULTS_SQL = """
SELECT l.*, e.n_positive, e.n_negative FROM leaderboard AS l JOIN evaluation_reports AS e
ON e.run_id = l.run_id AND e.finding = l.finding AND e.metric = 'auroc'
AND e.protocol = 'test/all/whole/student'
"""
DIFFERENCES_SQL = """
SELECT * FROM run_comparisons WHERE method = 'paired bootstrap' ORDER BY finding, metric
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the result table, as text.

    Attributes:
        finding: Finding.
        method: Method by name, or the difference of two.
        auroc: Value with its 95 % interval.
        froc: FROC score with its 95 % interval.
        images: Test images, positive + negative.
        run_id: Run.
    """

    finding: str
    method: str
    auroc: str
    froc: str
    images: str
    run_id: str


def results(settings: Settings, run_ids: Sequence[str]) -> list[Result]:
    """Test results by finding, runs in the order given, then the difference of the pair."""
    from warehouse_schema.query import run_query

    store = stages.open_store(settings)
    rows = [row for row in run_query(store, RESULTS_SQL).to_pylist() if row["run_id"] in run_ids]
    rows.sort(key=lambda row: (row["finding"], run_ids.index(row["run_id"])))
    differences = [
        row
        for row in run_query(store, DIFFERENCES_SQL).to_pylist()
        if row["run_id_a"] in run_ids and row["run_id_b"] in run_ids
    ]
    lines: list[Result] = []
    for finding in dict.fromkeys(row["finding"] for row in rows):
        lines += [_result(row) for row in rows if row["finding"] == finding]
        lines += _difference([row for row in differences if row["finding"] == finding])
    return lines


def print_results(console: Console, settings: Settings, run_ids: Sequence[str]) -> None:
    """Print the result table of some runs."""
    table = Table(*COLUMNS, header_style="bold")
    finding = ""
    for line in results(settings, run_ids):
        if finding not in {"", line.finding}:
            table.add_section()
        finding = line.finding
        table.add_row(*(Text(value) for value in astuple(line)))
    console.print(table)


def result_rows(settings: Settings, run_ids: Sequence[str]) -> list[dict[str, str]]:
    """The result table as rows for a Prefect table artifact."""
    return [dict(zip(COLUMNS, astuple(line), strict=True)) for line in results(settings, run_ids)]


def mean_difference_rows(
    settings: Settings, pairs: Sequence[Sequence[str]]
) -> list[dict[str, str]]:
    """Mean paired difference over pairs of runs, one row per finding and metric.

    Args:
        settings: Values in force.
        pairs: Reference run and compared run, one pair a fold or seed.
    """
    from evaluation.comparison import mean_difference

    means = mean_difference(
        store=stages.open_store(settings),
        run_id_pairs=[(pair[0], pair[1]) for pair in pairs],
        n_bootstrap=settings.n_bootstrap,
    )
    return [
        {
            "finding": mean.finding,
            "metric": mean.metric,
            "mean difference": _interval(
                mean.mean, mean.interval.low, mean.interval.high, sign="+"
            ),
            "pairs": str(len(mean.differences)),
        }
        for mean in means
    ]


def _result(row: dict[str, object]) -> Result:
    return Result(
        finding=str(row["finding"]),
        method=str(row["method"]),
        auroc=_interval(row["auroc"], row["auroc_ci_low"], row["auroc_ci_high"]),
        froc=_interval(row["froc_score"], row["froc_score_ci_low"], row["froc_score_ci_high"]),
        images=f"{row['n_positive']} + {row['n_negative']}",
        run_id=str(row["run_id"]),
    )


def _difference(rows: list[dict[str, object]]) -> list[Result]:
    by_metric = {
        row["metric"]: _interval(row["difference"], row["ci_low"], row["ci_high"], sign="+")
        for row in rows
    }
    if not by_metric:
        return []
    return [
        Result(
            finding=str(rows[0]["finding"]),
            method="difference",
            auroc=by_metric.get("auroc", "-"),
            froc=by_metric.get("froc_score", "-"),
            images="",
            run_id="",
        )
    ]


def _interval(value: object, low: object, high: object, *, sign: str = "") -> str:
    if not isinstance(value, float):
        return "-"
    if not isinstance(low, float) or not isinstance(high, float):
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
