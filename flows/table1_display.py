"""Table 1 in the terminal: our means over seeds, and the paper's numbers beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from flows import stages
from flows.reproduction import TableRun

if TYPE_CHECKING:
    from flows.settings import Settings

METRICS = ("auroc", "froc_score")
# Table 1 of Wang et al. (IPMI 2021): AUROC and FROC score by method and finding.
PAPER: dict[str, dict[str, tuple[float, float | None]]] = {
    "chexnet": {"rib_fracture": (0.8867, None), "clavicle_fracture": (0.9555, None)},
    "retinanet": {"rib_fracture": (0.8609, 0.4654), "clavicle_fracture": (0.8610, 0.7985)},
    "fcos": {"rib_fracture": (0.8646, 0.5684), "clavicle_fracture": (0.8847, 0.8471)},
    "li-mil": {"rib_fracture": (0.8446, None), "clavicle_fracture": (0.9560, None)},
    "pi-model": {"rib_fracture": (0.8880, 0.7703), "clavicle_fracture": (0.9193, 0.8536)},
    "temporal-ensembling": {
        "rib_fracture": (0.8924, 0.7915),
        "clavicle_fracture": (0.9132, 0.8204),
    },
    "mean-teacher": {"rib_fracture": (0.9155, 0.8540), "clavicle_fracture": (0.9474, 0.8884)},
    "supervised": {"rib_fracture": (0.9025, 0.7267), "clavicle_fracture": (0.9174, 0.7967)},
    "aals": {"rib_fracture": (0.9318, 0.8914), "clavicle_fracture": (0.9646, 0.9265)},
}


@dataclass(frozen=True, kw_only=True)
class Table1Line:
    """One row of the table for one finding.

    Attributes:
        finding: Finding.
        row: Method, or `supervised-continued`.
        n_steps: Optimiser steps of the run.
        auroc: Of each seed.
        froc: Of each seed; empty for methods without comparable maps.
        paper: The paper's AUROC and FROC score; None where its table has none.
    """

    finding: str
    row: str
    n_steps: int
    auroc: tuple[float, ...]
    froc: tuple[float, ...]
    paper: tuple[float | None, float | None]


def table1_lines(settings: Settings, runs: Sequence[TableRun]) -> list[Table1Line]:
    """The table's numbers from the warehouse, by finding, rows in the order of the runs."""
    from warehouse_schema.query import run_query
    from warehouse_schema.tables.runs import TRAINING_RUNS

    store = stages.open_store(settings)
    leaders = run_query(store, "SELECT run_id, finding, auroc, froc_score FROM leaderboard")
    found = {(line["run_id"], line["finding"]): line for line in leaders.to_pylist()}
    steps = {
        line["run_id"]: line["n_steps"]
        for line in store.read(TRAINING_RUNS, columns=["run_id", "n_steps"]).to_pylist()
    }
    lines = []
    for finding in sorted({name for _, name in found}, reverse=True):
        for row in dict.fromkeys(run.row for run in runs):
            ids = [run.run_id for run in runs if run.row == row]
            values = {
                metric: tuple(
                    found[run_id, finding][metric]
                    for run_id in ids
                    if found[run_id, finding][metric] is not None
                )
                for metric in METRICS
            }
            lines.append(
                Table1Line(
                    finding=finding,
                    row=row,
                    n_steps=steps[ids[0]],
                    auroc=values["auroc"],
                    froc=values["froc_score"],
                    paper=PAPER.get(row, {}).get(finding, (None, None)),
                )
            )
    return lines


def print_table1(console: Console, settings: Settings, runs: Sequence[TableRun]) -> None:
    """Print our Table 1."""
    n_seeds = len({run.seed for run in runs})
    table = Table(
        "finding",
        "method",
        "steps",
        f"AUROC, mean of {n_seeds} (SD)",
        "FROC (SD)",
        "paper's AUROC",
        "paper's FROC",
        header_style="bold",
    )
    previous = ""
    for line in table1_lines(settings, runs):
        if previous not in {"", line.finding}:
            table.add_section()
        previous = line.finding
        table.add_row(
            line.finding,
            line.row,
            f"{line.n_steps:,}",
            _spread(line.auroc),
            _spread(line.froc),
            *("-" if value is None else f"{value:.4f}" for value in line.paper),
        )
    console.print(table)
    console.print(
        "The paper's numbers are on its private films: compare the order, not the values.",
        highlight=False,
    )


def _spread(values: tuple[float, ...]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" ({stdev(values):.3f})" if len(values) > 1 else "")
