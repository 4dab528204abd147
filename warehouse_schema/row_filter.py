"""Rows named by column values: a value to equal, several to be one of, or None for null."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc


def row_condition(where: Mapping[str, object]) -> pc.Expression | None:
    """The condition as an expression that Arrow pushes down to files; None for no condition."""
    condition: pc.Expression | None = None
    for name, value in where.items():
        field = pc.field(name)
        if value is None:
            term = field.is_null()
        elif isinstance(value, pa.Array | pa.ChunkedArray):
            term = field.isin(value)
        elif isinstance(value, (list, tuple, set, frozenset)):
            term = field.isin(list(value))
        else:
            term = field == value
        condition = term if condition is None else condition & term
    return condition


def other_rows(rows: pa.Table, where: Mapping[str, object]) -> pa.Table:
    """The rows that do not meet the condition."""
    condition = row_condition(where)
    if condition is None:
        return rows.slice(0, 0)
    return rows.filter(~pc.coalesce(condition, pc.scalar(False)))
