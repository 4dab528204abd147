"""Which rows of two sets with one primary key are the same: whole columns at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.table import Table


def common_rows(table: Table, left: pa.Table, right: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers, left and right, of the rows whose primary keys stand in both.

    Args:
        table: Declaration.
        left: Rows, each key once.
        right: Rows, each key once.

    Returns:
        Two arrays of equal length, pair by pair.
    """
    names = list(table.primary_key)
    if left.select(names).equals(right.select(names)):
        numbers = np.arange(left.num_rows, dtype=np.int64)
        return numbers, numbers
    if len(names) == 1:
        found = pc.index_in(left.column(names[0]), value_set=right.column(names[0]))
        is_found = np.asarray(found.is_valid())
        numbers = np.asarray(found.drop_null()).astype(np.int64)
        return np.flatnonzero(is_found), numbers
    pairs = _numbered(left, names, "l").join(_numbered(right, names, "r"), names, join_type="inner")
    order = np.argsort(np.asarray(pairs.column("l")), kind="stable")
    return np.asarray(pairs.column("l"))[order], np.asarray(pairs.column("r"))[order]


def rows_at(rows: pa.Table, numbers: np.ndarray) -> pa.Table:
    """The rows of these numbers; no copy where they are all of them in order."""
    if len(numbers) == rows.num_rows and np.array_equal(numbers, np.arange(rows.num_rows)):
        return rows
    return rows.take(numbers)


def holds_key(table: Table, rows: pa.Table, keys: pa.Table) -> np.ndarray:
    """Numbers of the rows whose primary key is among ``keys``, rising."""
    first, *others = table.primary_key
    numbers = np.flatnonzero(
        np.asarray(pc.is_in(rows.column(first), value_set=keys.column(first).combine_chunks()))
    )
    if not others or not len(numbers):
        return numbers
    names = list(table.primary_key)
    near = _numbered(rows.select(names).take(numbers), names, "l")
    chosen = near.join(keys.select(names), names, join_type="left semi")
    return np.sort(numbers[np.asarray(chosen.column("l"))])


def equal_rows(left: pa.Table, right: pa.Table) -> np.ndarray:
    """For each row number whether both rows hold the same values; null is null, NaN is NaN."""
    is_equal = np.ones(left.num_rows, dtype=bool)
    for name in left.column_names:
        a, b = left.column(name), right.column(name)
        if not a.equals(b):
            is_equal &= _equal_values(_array(a), _array(b))
    return is_equal


def _equal_values(a: pa.Array, b: pa.Array) -> np.ndarray:
    if pa.types.is_list(a.type):
        return _equal_lists(a, b)
    is_same: np.ndarray = np.array(pc.fill_null(pc.equal(a, b), False))
    both_null = np.asarray(a.is_null()) & np.asarray(b.is_null())
    if pa.types.is_floating(a.type):
        both_null = both_null | np.asarray(pc.fill_null(pc.and_(pc.is_nan(a), pc.is_nan(b)), False))
    is_same |= both_null
    return is_same


def _equal_lists(a: pa.Array, b: pa.Array) -> np.ndarray:
    lengths = pc.list_value_length(a)
    is_equal = _equal_values(lengths, pc.list_value_length(b))
    numbers = np.flatnonzero(is_equal & np.asarray(pc.fill_null(pc.greater(lengths, 0), False)))
    if len(numbers):
        counts = np.asarray(lengths.take(numbers))
        items = _equal_values(a.take(numbers).flatten(), b.take(numbers).flatten())
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        is_equal[numbers] = np.logical_and.reduceat(items, starts)
    return is_equal


def _array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return pa.concat_arrays(combined.chunks)
    return combined


def _numbered(rows: pa.Table, names: list[str], column: str) -> pa.Table:
    numbers = pa.array(np.arange(rows.num_rows, dtype=np.int64))
    return rows.select(names).append_column(column, numbers)
