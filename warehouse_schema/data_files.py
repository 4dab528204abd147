"""Data files: sorted Parquet, written once, never changed.

A table is a list of files, each sorted by primary key. In a table that is written anew their key
ranges follow one another, so that reading needs no sort.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from warehouse_schema.durable_files import write_file
from warehouse_schema.table import Table

FILE_ROWS = 128_000
N_THREADS = 2
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A written file.

    Attributes:
        name: Name in the table's folder.
        sha256: Of its bytes.
        n_rows: Rows.
        first_key: Primary key of its first row.
    """

    name: str
    sha256: str
    n_rows: int
    first_key: tuple[object, ...]


def write_rows(folder: Path, table: Table, rows: pa.Table) -> list[DataFile]:
    """Write sorted rows as files of at most ``FILE_ROWS``; no rows are no file.

    Args:
        folder: The table's folder.
        table: Declaration.
        rows: Rows as declared, sorted by primary key.
    """
    n_files = -(-rows.num_rows // FILE_ROWS)
    size = -(-rows.num_rows // max(n_files, 1))
    pieces = [rows.slice(number * size, size) for number in range(n_files)]
    return on_threads(lambda piece: _write_file(folder, table, piece), pieces)


def _write_file(folder: Path, table: Table, rows: pa.Table) -> DataFile:
    # Delta enforces no nulls by invariants that other engines cannot all read; conform does.
    plain = rows.cast(nullable_schema(table))
    buffer = io.BytesIO()
    # Every id is another one: a dictionary of them costs time and saves nothing.
    repeated = [
        name for name in plain.column_names if not name.endswith(("_id", "_sha256", "text"))
    ]
    pq.write_table(
        plain, buffer, compression="snappy", use_dictionary=repeated, write_page_checksum=True
    )
    content = buffer.getvalue()
    name = f"part-{uuid.uuid4()}.parquet"
    write_file(folder / name, content)
    return DataFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        n_rows=rows.num_rows,
        first_key=key_at(table, rows, 0),
    )


def read_rows(
    table: Table,
    paths: list[Path],
    columns: list[str] | None = None,
    condition: pc.Expression | None = None,
) -> pa.Table:
    """Rows of files in their order, all columns nullable; a column that a file lacks is null."""
    rows = ds.dataset([str(path) for path in paths], schema=nullable_schema(table))
    return rows.to_table(columns=columns or table.schema.names, filter=condition)


def nullable_schema(table: Table) -> pa.Schema:
    """The declared schema with every column nullable, as it lies in files."""
    return pa.schema([field.with_nullable(True) for field in table.schema])


def key_at(table: Table, rows: pa.Table, number: int) -> tuple[object, ...]:
    """The primary key of one row; nothing of a file without rows."""
    if not rows.num_rows:
        return ()
    return tuple(rows.column(name)[number].as_py() for name in table.primary_key)


def is_sorted(table: Table, rows: pa.Table) -> bool:
    """True where primary keys rise from row to row, so that none stands twice."""
    is_less: pa.ChunkedArray | None = None
    is_equal: pa.ChunkedArray | None = None
    for name in table.primary_key:
        values = rows.column(name)
        before, after = values.slice(0, max(len(values) - 1, 0)), values.slice(1)
        less, equal = pc.less(before, after), pc.equal(before, after)
        is_less = less if is_less is None else pc.or_(is_less, pc.and_(is_equal, less))
        is_equal = equal if is_equal is None else pc.and_(is_equal, equal)
    return bool(pc.all(is_less, min_count=0).as_py())


def sorted_rows(table: Table, rows: pa.Table) -> pa.Table:
    """Rows sorted by primary key; at no cost where they are."""
    if is_sorted(table, rows):
        return rows
    return rows.sort_by([(name, "ascending") for name in table.primary_key])


def row_numbers(rows: pa.Table, condition: pc.Expression | None) -> np.ndarray:
    """Numbers of the rows that meet a condition, rising; all without one."""
    numbers = pa.array(np.arange(rows.num_rows, dtype=np.int64))
    if condition is None:
        return np.asarray(numbers)
    # No table may have a column of this name: those of declarations begin with a letter.
    numbered = ds.dataset(rows.append_column("__number", numbers))
    chosen = numbered.to_table(columns=["__number"], filter=condition)
    return np.sort(np.asarray(chosen.column("__number")))


def on_threads(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Apply a function that spends its time in Arrow; the items' order is kept."""
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(function, items))
