"""How a warehouse table is declared: columns with type, meaning and null meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Area = Literal["warehouse", "restricted"]

TIMESTAMP = pa.timestamp("us", tz="UTC")
TEXTS = pa.list_(pa.string())
INTEGERS = pa.list_(pa.int64())


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: Column name; carries its unit (``_px``, ``_mm``, ``_datetime`` ...).
        type: Arrow type, stored and returned unchanged.
        meaning: One sentence for the data dictionary.
        null_meaning: What a null says; ``None`` forbids nulls.
        allowed: The closed set of values, where there is one.
        is_volatile: True where two runs with one seed may differ (clocks, durations).
    """

    name: str
    type: pa.DataType
    meaning: str
    null_meaning: str | None = None
    allowed: tuple[str, ...] = ()
    is_volatile: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One warehouse table: the only place where its columns are written down.

    Attributes:
        name: Table name, as SQL sees it.
        meaning: What one row is.
        primary_key: Columns that identify a row; rows are stored sorted by them.
        columns: All columns in order.
        area: ``warehouse`` is pseudonymous and shareable; ``restricted`` holds the id map,
            source identifiers and note text and never leaves the hospital.
    """

    name: str
    meaning: str
    primary_key: tuple[str, ...]
    columns: tuple[Column, ...]
    area: Area = "warehouse"

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        assert len(names) == len(set(names)), f"{self.name}: a column is declared twice"
        assert set(self.primary_key) <= set(names), f"{self.name}: unknown primary key column"

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema; columns without a null meaning are not nullable."""
        return pa.schema(
            [
                pa.field(column.name, column.type, nullable=column.null_meaning is not None)
                for column in self.columns
            ]
        )

    @property
    def volatile_columns(self) -> tuple[str, ...]:
        """Columns that two runs with one seed may fill differently."""
        return tuple(column.name for column in self.columns if column.is_volatile)


def text(name: str, meaning: str, **rest: object) -> Column:
    """A string column."""
    return Column(name=name, type=pa.string(), meaning=meaning, **rest)  # type: ignore[arg-type]


def integer(name: str, meaning: str, **rest: object) -> Column:
    """A 64-bit integer column."""
    return Column(name=name, type=pa.int64(), meaning=meaning, **rest)  # type: ignore[arg-type]


def real(name: str, meaning: str, **rest: object) -> Column:
    """A double-precision column."""
    return Column(name=name, type=pa.float64(), meaning=meaning, **rest)  # type: ignore[arg-type]


def flag(name: str, meaning: str, **rest: object) -> Column:
    """A boolean column; its name starts with ``is_`` or ``has_``."""
    return Column(name=name, type=pa.bool_(), meaning=meaning, **rest)  # type: ignore[arg-type]


def moment(name: str, meaning: str, **rest: object) -> Column:
    """A UTC timestamp column in microseconds; its name ends with ``_datetime``."""
    return Column(name=name, type=TIMESTAMP, meaning=meaning, **rest)  # type: ignore[arg-type]


def list_of(type_: pa.DataType, name: str, meaning: str, **rest: object) -> Column:
    """A list column."""
    return Column(name=name, type=type_, meaning=meaning, **rest)  # type: ignore[arg-type]
