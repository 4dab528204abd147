"""Writing only what changes: the data files that hold changed rows anew, all others as they are.

Rows come as the new content of some part of a table (the rows that a condition names, or that have
given keys). They are compared with what is there; where nothing differs nothing is written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from warehouse_schema.data_files import (
    DataFile,
    key_at,
    on_threads,
    read_rows,
    row_numbers,
    sorted_rows,
    write_rows,
)
from warehouse_schema.errors import WarehouseError
from warehouse_schema.row_comparison import common_rows, equal_rows, holds_key, rows_at
from warehouse_schema.row_filter import row_condition
from warehouse_schema.table import Table

# A file this small takes new rows in; a larger one is left alone where only rows come.
SMALL_ROWS = 10_000
# So few rows find their places one by one; more are sorted in.
FEW_ROWS = 2_000
Match = Callable[[pa.Table], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which rows a change replaces.

    Attributes:
        columns: Columns that decide, beside the primary key.
        match: Numbers of such rows in a file's rows of these columns, rising.
        is_whole: True for every row of the table.
        is_open: True where new keys may collide with rows outside the part.
    """

    columns: tuple[str, ...]
    match: Match
    is_whole: bool = False
    is_open: bool = False


def part_where(where: dict[str, object]) -> Part:
    """The rows that a condition names; the whole table without one."""
    condition = row_condition(where)
    return Part(
        columns=tuple(where),
        match=lambda rows: row_numbers(rows, condition),
        is_whole=condition is None,
        is_open=condition is not None,
    )


def part_of_keys(table: Table, keys: pa.Table) -> Part:
    """The rows that have one of the primary keys."""
    return Part(columns=(), match=lambda rows: holds_key(table, rows, keys))


@dataclass(kw_only=True)
class _OldFile:
    """A file as it is: its name, its keys, the rows matched, and what becomes of them."""

    name: str
    path: Path
    keys: pa.Table
    matched: np.ndarray
    rows: pa.Table | None = None

    def read(self, table: Table) -> pa.Table:
        """All rows, read once."""
        if self.rows is None:
            self.rows = read_rows(table, [self.path])
        return self.rows


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """What a change has written.

    Attributes:
        files: SHA-256 of every file of the table now, by name, in the order of their keys.
        n_rows: Rows of the table now.
    """

    files: dict[str, str]
    n_rows: int


def rewrite(
    *, table: Table, folder: Path, files: dict[str, str], part: Part, rows: pa.Table
) -> Rewriting | None:
    """Put rows in place of a part of a table.

    Args:
        table: Declaration.
        folder: The table's folder.
        files: SHA-256 of its files by name; verified ones.
        part: The rows to replace.
        rows: Their new content, as declared, sorted by primary key.

    Returns:
        What stands now, or None where nothing differs.

    Raises:
        WarehouseError: A new row has the key of one outside the part.
    """
    old = on_threads(lambda name: _look(table, folder, name, part), files)
    dropped, added = _differences(table, old, rows)
    if part.is_open:
        _refuse_repeated(table, old, added)
    n_dropped = sum(map(len, dropped))
    if not n_dropped and not added.num_rows:
        return None
    n_old = sum(file.keys.num_rows for file in old)
    if part.is_whole and added.num_rows > n_old // 2:
        kept: list[_OldFile] = []
        new = write_rows(folder, table, rows)
    else:
        kept, new = _replace_in_files(table, folder, old, dropped, added)
    named = [(_first_key(table, file), file.name, files[file.name]) for file in kept]
    named += [(file.first_key, file.name, file.sha256) for file in new]
    return Rewriting(
        files={name: sha256 for _, name, sha256 in sorted(named)},
        n_rows=n_old - n_dropped + added.num_rows,
    )


def add(
    *, table: Table, folder: Path, files: dict[str, str], n_rows: int, rows: pa.Table
) -> Rewriting:
    """Add rows whose keys are new, by the caller's word; other arguments as in ``rewrite``."""
    heads = {name: _head(table, folder / name) for name in files}
    smallest = min(heads, key=lambda name: heads[name][0], default=None)
    merged, kept = rows, dict(files)
    if smallest is not None and _is_small(heads[smallest][0]):
        del kept[smallest]
        merged = _merged(table, read_rows(table, [folder / smallest]), rows)
    named = [(heads[name][1], name, sha256) for name, sha256 in kept.items()]
    named += [
        (file.first_key, file.name, file.sha256) for file in write_rows(folder, table, merged)
    ]
    return Rewriting(
        files={name: sha256 for _, name, sha256 in sorted(named)}, n_rows=n_rows + rows.num_rows
    )


def _head(table: Table, path: Path) -> tuple[int, tuple[object, ...]]:
    """Number of rows of a file, and its first key."""
    first = ds.dataset([str(path)]).head(1, columns=list(table.primary_key))
    return int(pq.read_metadata(path).num_rows), key_at(table, first, 0)


def _is_small(n_rows: int) -> bool:
    return n_rows <= SMALL_ROWS


def _look(table: Table, folder: Path, name: str, part: Part) -> _OldFile:
    path = folder / name
    columns = list(dict.fromkeys([*table.primary_key, *part.columns]))
    rows = read_rows(table, [path], columns)
    matched = part.match(rows)
    return _OldFile(
        name=name, path=path, keys=rows.select(list(table.primary_key)), matched=matched
    )


def _differences(
    table: Table, old: list[_OldFile], rows: pa.Table
) -> tuple[list[np.ndarray], pa.Table]:
    """Row numbers to drop from each file, and rows to add: those that differ."""
    hit = [file for file in old if len(file.matched)]
    if not hit:
        return [np.empty(0, np.int64) for _ in old], rows
    there = pa.concat_tables(
        on_threads(lambda file: rows_at(file.read(table), file.matched), hit)
    ).cast(rows.schema)
    left, right = common_rows(table, there, rows)
    is_equal = equal_rows(rows_at(there, left), rows_at(rows, right))
    is_dropped, is_added = np.ones(there.num_rows, bool), np.ones(rows.num_rows, bool)
    is_dropped[left[is_equal]] = False
    is_added[right[is_equal]] = False
    dropped, start = [], 0
    for file in old:
        end = start + len(file.matched)
        dropped.append(file.matched[is_dropped[start:end]])
        start = end
    return dropped, rows.filter(pa.array(is_added))


def _refuse_repeated(table: Table, old: list[_OldFile], added: pa.Table) -> None:
    if not added.num_rows:
        return
    n_repeated = 0
    for file in old:
        n_repeated += len(np.setdiff1d(holds_key(table, file.keys, added), file.matched))
    if n_repeated:
        raise WarehouseError(
            f"Table {table.name}: {n_repeated} rows repeat a primary key "
            f"({', '.join(table.primary_key)}) of rows that are not replaced."
        )


def _replace_in_files(
    table: Table,
    folder: Path,
    old: list[_OldFile],
    dropped: list[np.ndarray],
    added: pa.Table,
) -> tuple[list[_OldFile], list[DataFile]]:
    """Files left as they are, and those written: touched ones, and one of rows that fit in none."""
    touched = {n for n in range(len(old)) if len(dropped[n])}
    owners = np.full(added.num_rows, -1, np.int64)
    if touched and added.num_rows:
        firsts = sorted((_first_key(table, file), n) for n, file in enumerate(old))
        owners = _owners(table, firsts, added)
    shares = {n: added.filter(pa.array(owners == n)) for n in touched}
    rest = added.filter(pa.array(~np.isin(owners, sorted(touched))))
    small = [n for n, file in enumerate(old) if n not in touched and _is_small(file.keys.num_rows)]
    if rest.num_rows and small:
        smallest = min(small, key=lambda n: old[n].keys.num_rows)
        touched.add(smallest)
        shares[smallest], rest = rest, rest.slice(0, 0)
    new = on_threads(
        lambda n: _write_changed(table, folder, old[n], dropped[n], shares[n]), sorted(touched)
    )
    written = [file for files in new for file in files] + write_rows(folder, table, rest)
    return [file for n, file in enumerate(old) if n not in touched], written


def _owners(
    table: Table, firsts: list[tuple[tuple[object, ...], int]], rows: pa.Table
) -> np.ndarray:
    """For each row the file in whose range its key falls; before the first one is in it."""
    bounds = [first for first, _ in firsts]
    columns = [rows.column(name).to_pylist() for name in table.primary_key]
    keys = zip(*columns, strict=True)
    return np.array([firsts[max(bisect_right(bounds, key) - 1, 0)][1] for key in keys], np.int64)


def _write_changed(
    table: Table, folder: Path, file: _OldFile, dropped: np.ndarray, added: pa.Table
) -> list[DataFile]:
    rows = file.read(table)
    file.rows = None
    if len(dropped):
        is_kept = np.ones(rows.num_rows, bool)
        is_kept[dropped] = False
        rows = rows.filter(pa.array(is_kept))
    return write_rows(folder, table, _merged(table, rows, added))


def _merged(table: Table, rows: pa.Table, added: pa.Table) -> pa.Table:
    """Two sets of sorted rows as one."""
    if not added.num_rows:
        return rows
    both = pa.concat_tables([rows, added.cast(rows.schema)])
    if added.num_rows > min(FEW_ROWS, rows.num_rows // 10):
        return sorted_rows(table, both)
    keys = _KeyList(table, rows)
    columns = [added.column(name).to_pylist() for name in table.primary_key]
    places = [bisect_right(keys, key) for key in zip(*columns, strict=True)]
    numbers = np.arange(rows.num_rows, dtype=np.int64)
    new = np.arange(rows.num_rows, both.num_rows, dtype=np.int64)
    return both.take(np.insert(numbers, places, new))


class _KeyList:
    """Primary keys of rows as a sequence that a bisection looks into, without making them all."""

    def __init__(self, table: Table, rows: pa.Table) -> None:
        self._columns = [rows.column(name).combine_chunks() for name in table.primary_key]
        self._n_rows: int = rows.num_rows

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, number: int) -> tuple[object, ...]:
        return tuple(column[number].as_py() for column in self._columns)


def _first_key(table: Table, file: _OldFile) -> tuple[object, ...]:
    return key_at(table, file.keys, 0)
