"""Readers' agreement on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from warehouse_schema.tables.annotation import READER_AGREEMENT

if TYPE_CHECKING:
    from rich.console import Console

    from warehouse_schema.store import Store


def print_agreement(console: Console, store: Store) -> None:
    """Print reader_agreement, measures over all readers first."""
    rows = store.read(READER_AGREEMENT).to_pylist()
    if not rows:
        console.print("No image has been read by two named readers.", highlight=False)
        return
    grid = Table(
        "finding", "readers", "measure", "value", "95 % interval", header_style="bold", box=None
    )
    for name in ("images", "positive", "boxes", "matched"):
        grid.add_column(name, justify="right")
    for row in sorted(rows, key=lambda each: (each["finding"], each["reader_id_a"] != "all")):
        grid.add_row(*_cells(row))
    console.print(grid)


def _cells(row: dict[str, Any]) -> list[str]:
    is_all = row["reader_id_a"] == "all"
    interval = "-" if row["ci_low"] is None else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
    return [
        row["finding"].replace("_", " "),
        "all" if is_all else f"{row['reader_id_a']} and {row['reader_id_b']}",
        row["measure"].replace("_", " "),
        "undefined" if row["value"] is None else f"{row['value']:.3f}",
        interval,
        *(f"{row[name]:,}" for name in ("n_images", "n_positive", "n_boxes", "n_matched")),
    ]
