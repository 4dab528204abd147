"""Rows as a source hands them over: Arrow columns from the fast lane, lists from a cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column = Any  # a pa.Array or a list of Python values


class SourceText(bytes):
    """Text whose encoding the database does not know: its undecoded bytes."""


@dataclass(frozen=True)
class SourceBatch:
    """Some rows of one section, column by column, by the names that the mapping uses.

    Attributes:
        columns: Raw values; an Arrow column becomes Python values only where they are asked for.
    """

    columns: Mapping[str, Column]
    _values: dict[str, list[Any]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_rows(cls, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> SourceBatch:
        """A batch of a cursor's rows."""
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return cls({name: list(values) for name, values in zip(names, columns, strict=True)})

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(next(iter(self.columns.values()), []))

    def values(self, name: str) -> list[Any]:
        """A column's Python values."""
        if name not in self._values:
            column = self.columns[name]
            self._values[name] = column if isinstance(column, list) else column.to_pylist()
        return self._values[name]

    def value(self, name: str, number: int) -> Any:
        """One value."""
        known = self._values.get(name)
        found = self.columns[name][number] if known is None else known[number]
        return found.as_py() if isinstance(found, pa.Scalar) else found

    def row(self, number: int) -> dict[str, Any]:
        """One row's values by column name."""
        return {name: self.value(name, number) for name in self.columns}

    def slice(self, start: int, stop: int) -> SourceBatch:
        """The rows from start to before stop."""
        return SourceBatch({name: column[start:stop] for name, column in self.columns.items()})

    def filter(self, is_wanted: npt.NDArray[np.bool_]) -> SourceBatch:
        """The rows that are wanted."""
        if is_wanted.all():
            return self
        chosen = np.flatnonzero(is_wanted)
        return SourceBatch(
            {
                name: [column[number] for number in chosen]
                if isinstance(column, list)
                else column.take(pa.array(chosen))
                for name, column in self.columns.items()
            }
        )
