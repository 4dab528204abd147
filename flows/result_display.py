"""What `ribline predict FILE...` prints: one line a file, by its number, never by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from etl.results.film_results import FileOutcome, ResultSummary
    from etl.results.result_delivery import DeliverySummary
    from warehouse_schema.film_scores import OperatingPoint

CALLED = "bold"


def print_results(console: Console, summary: ResultSummary) -> None:
    """Print scores with their verdict, boxes, and why a file was not scored."""
    point = summary.operating_point
    findings = list(point.thresholds)
    table = Table(
        "file", "image", *(_heading(each, point) for each in findings), "boxes", "note",
        header_style="bold",
    )  # fmt: skip
    for each in summary.outcomes:
        table.add_row(
            Text(str(each.number)),
            Text(each.image_id or "-"),
            *(_score(each, finding, point) for finding in findings),
            Text("-" if each.n_regions is None else str(each.n_regions)),
            Text(each.reason or ("unchanged" if each.is_unchanged else "")),
        )
    console.print(table)
    console.print(
        f"{summary.n_scored} of {len(summary.outcomes)} files scored by {summary.run.run_id}; "
        "research use only, not for diagnosis.",
        highlight=False,
    )
    for note in summary.notes:
        console.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Results: {summary.folder}", markup=False, highlight=False, soft_wrap=True)


def print_faults(console: Console, what: str, faults: Mapping[int, str]) -> None:
    """Print what went wrong with some of a list, by place."""
    for number, fault in sorted(faults.items()):
        console.print(f"{what} {number}: {fault}", markup=False, highlight=False, soft_wrap=True)


def print_delivery(console: Console, delivery: DeliverySummary) -> None:
    """Print what the PACS took."""
    print_faults(console, "film", delivery.faults)
    console.print(
        f"{delivery.n_sent} DICOM objects of {delivery.n_films} films stored in the PACS.",
        highlight=False,
    )


def _heading(finding: str, point: OperatingPoint) -> str:
    threshold = point.thresholds[finding]
    return finding if threshold is None else f"{finding} (>= {threshold:.3f})"


def _score(outcome: FileOutcome, finding: str, point: OperatingPoint) -> Text:
    if finding not in outcome.scores:
        return Text("-")
    threshold = point.thresholds[finding]
    is_called = threshold is not None and outcome.scores[finding] >= threshold
    sign = " +" if is_called else ""
    return Text(f"{outcome.scores[finding]:.3f}{sign}", style=CALLED if is_called else "")
