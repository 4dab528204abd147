"""Query results as a table on the screen, csv, json or parquet."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from warehouse_schema.errors import ArgumentError

if TYPE_CHECKING:
    from warehouse_schema.store import Store


def print_table(console: Console, rows: pa.Table) -> None:
    """Print rows as a table, numbers to the right, with their count below."""
    table = Table(header_style="bold")
    for field in rows.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(
            Text(field.name), justify="right" if is_number else "left", overflow="fold"
        )
    for row in _value_rows(rows):
        table.add_row(*(_cell(value) for value in row))
    console.print(table)
    console.print(f"{rows.num_rows:,} row{'' if rows.num_rows == 1 else 's'}", highlight=False)


def encoded(rows: pa.Table, form: str) -> bytes:
    """Rows as bytes of csv, json (one array of objects), parquet, or a table in plain text."""
    if form == "csv":
        return _csv(rows)
    if form == "json":
        return _json(rows)
    buffer = io.BytesIO()
    if form == "parquet":
        pq.write_table(rows, buffer)
        return buffer.getvalue()
    screen = Console(file=io.StringIO(), width=400)
    print_table(screen, rows)
    return screen.file.getvalue().encode()  # type: ignore[attr-defined, no-any-return]


def write_file(path: Path, content: bytes, *, option: str = "--out") -> None:
    """Write a result file whole; ``option`` is the argument that named it.

    Raises:
        ArgumentError: The file cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ArgumentError(
            f"{option}: cannot write {path} ({error.strerror}). Name a file in a folder you own."
        ) from None


def print_versions(console: Console, store: Store) -> None:
    """Print the published versions of the warehouse, the newest last."""
    from warehouse_schema.manifest import list_versions

    table = Table("version", "published", "stage", "tables", "rows", header_style="bold")
    for version in list_versions(store.home.warehouse):
        manifest = store.manifest(version)
        n_rows = sum(entry.n_rows for entry in manifest.tables.values())
        table.add_row(
            str(version),
            manifest.created_datetime[:19],
            manifest.stage,
            str(len(manifest.tables)),
            f"{n_rows:,}",
        )
    console.print(table)


def _csv(rows: pa.Table) -> bytes:
    flat = [
        pa.array([_json_text(value) for value in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type)
        else column
        for column in rows.columns
    ]
    buffer = io.BytesIO()
    pa_csv.write_csv(pa.table(flat, names=rows.column_names), buffer)
    return buffer.getvalue()


def _json(rows: pa.Table) -> bytes:
    names = rows.column_names
    lines = (
        json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False)
        for row in _value_rows(rows)
    )
    body = ",\n".join(lines)
    return f"[\n{body}\n]\n".encode() if body else b"[]\n"


def _value_rows(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in rows.to_batches(max_chunksize=10_000):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _json_text(value: object) -> str | None:
    return None if value is None else json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _cell(value: object) -> Text:
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if hasattr(value, "isoformat"):
        return Text(value.isoformat(sep=" ") if hasattr(value, "hour") else value.isoformat())
    return Text(str(value))
