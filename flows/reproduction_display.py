"""Reproductions in the terminal: our means over seeds, and the paper's numbers beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from evaluation.reproduction.outcome import Outcome
    from evaluation.reproduction.seed_means import SeedMean


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print an experiment's table."""
    table = Table(
        "finding",
        outcome.experiment.heading.lower(),
        "steps",
        f"AUROC, mean of {outcome.n_seeds} (95 % interval)",
        "paper's AUROC",
        "FROC (95 % interval)",
        "paper's FROC",
        header_style="bold",
    )
    for finding in outcome.findings:
        for line in outcome.of(finding):
            table.add_row(
                finding,
                line.row.key,
                f"{line.n_steps:,}",
                _ours(line.numbers.auroc),
                _paper(line.paper_auroc),
                _ours(line.numbers.froc),
                _paper(line.paper_froc),
            )
        table.add_section()
    console.print(table)
    console.print(
        "The paper's numbers are on its private films: compare the order, not the values.",
        highlight=False,
    )


def _ours(mean: SeedMean | None) -> str:
    return "-" if mean is None else f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})"


def _paper(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
