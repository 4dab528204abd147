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
            # An empty list has no type to compare with.
            term = field.isin(list(value)) if value else pc.scalar(False)
        else:
            term = field == value
        condition = term if condition is None else condition & term
    return condition
