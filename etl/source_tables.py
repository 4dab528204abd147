"""The tables and columns that a site mapping names, as the database has them, and their SELECTs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from etl.site_mapping import SiteMapping, TableSection, Value
from etl.source_batch import SourceText
from warehouse_schema.errors import SourceError

Select = sa.Select[Any]
# Column types that both lanes of PostgreSQL hand over as equal values; others are read as text.
PLAIN_TYPES = (
    sa.VARCHAR, sa.TEXT, sa.CHAR, sa.INTEGER, sa.BIGINT, sa.SMALLINT, sa.BOOLEAN, sa.DATE,
    sa.NUMERIC, sa.DOUBLE_PRECISION, postgresql.TIMESTAMP, postgresql.BYTEA,
)  # fmt: skip


class SourceTables:
    """What the database has of a mapping's tables.

    Args:
        engine: Of the database.
        mapping: The site.

    Raises:
        SQLAlchemyError, OSError: The database cannot be reached.
    """

    def __init__(self, engine: sa.Engine, mapping: SiteMapping) -> None:
        self._mapping = mapping
        self._dialect = engine.dialect.name
        self._inspector = sa.inspect(engine)
        names = [
            *self._inspector.get_table_names(mapping.database_schema),
            *self._inspector.get_view_names(mapping.database_schema),
        ]
        self._tables = {name.casefold(): name for name in names}
        self._columns: dict[str, dict[str, tuple[str, sa.types.TypeEngine[Any]]]] = {}
        self._selectables: dict[str, sa.TableClause] = {}

    def check(self, section: TableSection, key: str) -> None:
        """Check that every table and column of a mapping section exists.

        Raises:
            SourceError: One does not; the message names the mapping key and what there is.
        """
        self.find_table(section.table, f"{key}.table")
        for join in section.joins:
            self.find_table(join.table, f"{key}.joins")
            for outer, inner in join.on.items():
                self.find_column(section.table, outer, f"{key}.joins.on")
                self.find_column(join.table, inner, f"{key}.joins.on")
        for name, reference in references(section):
            self.column(section, reference, f"{key}.{name}")

    def count(self, section: TableSection) -> Select:
        """SELECT of the number of rows of the section's table."""
        return sa.select(sa.func.count()).select_from(self.table(section.table))

    def select(
        self,
        section: TableSection,
        names: Sequence[str],
        *,
        start: object = None,
        keys: Sequence[object] | None = None,
        is_key_null: bool = False,
    ) -> Select:
        """SELECT of columns of a section, as c0, c1 ...

        Args:
            section: A section that was checked.
            names: Column references.
            start: Rows from this key on, in the order of keys.
            keys: Rows with one of these keys, in any order.
            is_key_null: Rows without a key; otherwise rows with one, in the order of keys.
        """
        columns = [
            self._plain(section, name).label(f"c{number}") for number, name in enumerate(names)
        ]
        statement = sa.select(*columns).select_from(self._origin(section))
        key = self.column(section, section.key, section.table)
        if is_key_null:
            return statement.where(key.is_(None))
        if keys is not None:
            return statement.where(key.in_([_bound(each) for each in keys]))
        statement = statement.where(key.is_not(None) if start is None else key >= _bound(start))
        return statement.order_by(key)

    def column(self, section: TableSection, reference: str, key: str) -> sa.ColumnClause[Any]:
        """The column that a reference, ``column`` or ``table.column``, means.

        Raises:
            SourceError: There is none.
        """
        table, _, column = reference.rpartition(".")
        table = table or section.table
        if table != section.table and table not in {join.table for join in section.joins}:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: {reference} names table {table}, "
                "which is not joined. Add it to the section's joins."
            )
        found: sa.ColumnClause[Any] = self.table(table).c[self.find_column(table, column, key)]
        return found

    def table(self, name: str) -> sa.TableClause:
        """The table of that name, case ignored."""
        # One object a table: SQLAlchemy takes two that look alike for a self-join.
        if name not in self._selectables:
            self._selectables[name] = sa.table(
                self.find_table(name, name),
                *(sa.column(column) for column, _ in self._known(name).values()),
                schema=self._mapping.database_schema,
            )
        return self._selectables[name]

    def find_table(self, name: str, key: str) -> str:
        """The table's name as the database spells it.

        Raises:
            SourceError: There is none.
        """
        found = self._tables.get(name.casefold())
        if found is None:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: the database has no table {name}. "
                f"It has: {_listed(self._tables.values())}. Correct the mapping, or point "
                "database_url at the right database."
            )
        return found

    def find_column(self, table: str, column: str, key: str) -> str:
        """The column's name as the database spells it.

        Raises:
            SourceError: There is none.
        """
        known = self._known(table)
        if column.casefold() not in known:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: table {table} has no column "
                f"{column}. It has: {_listed(name for name, _ in known.values())}. "
                "Correct the mapping."
            )
        return known[column.casefold()][0]

    def is_numeric(self, section: TableSection, reference: str) -> bool:
        """Whether a column holds decimal numbers."""
        table, _, column = reference.rpartition(".")
        return type(self._known(table or section.table)[column.casefold()][1]) is sa.NUMERIC

    def _known(self, table: str) -> dict[str, tuple[str, sa.types.TypeEngine[Any]]]:
        if table not in self._columns:
            described = self._inspector.get_columns(
                self.find_table(table, table), self._mapping.database_schema
            )
            self._columns[table] = {
                each["name"].casefold(): (each["name"], each["type"]) for each in described
            }
        return self._columns[table]

    def _origin(self, section: TableSection) -> sa.FromClause:
        main = self.table(section.table)
        origin: sa.FromClause = main
        for join in section.joins:
            other = self.table(join.table)
            pairs = (
                main.c[self.find_column(section.table, outer, section.table)]
                == other.c[self.find_column(join.table, inner, join.table)]
                for outer, inner in join.on.items()
            )
            origin = origin.outerjoin(other, sa.and_(*pairs))
        return origin

    def _plain(self, section: TableSection, reference: str) -> sa.ColumnElement[Any]:
        column = self.column(section, reference, section.table)
        if self._dialect != "postgresql":
            return column
        table, _, name = reference.rpartition(".")
        kind = type(self._known(table or section.table)[name.casefold()][1])
        if kind in PLAIN_TYPES:
            return column
        return sa.cast(column, sa.DOUBLE_PRECISION if kind is sa.REAL else sa.TEXT)


def references(section: TableSection) -> Iterator[tuple[str, str]]:
    """(mapping key, column reference) of everything that a section reads."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name in {"table", "joins", "encoding"} or value is None:
            continue
        if isinstance(value, str):
            yield name, value
        else:
            for reference in value.column if isinstance(value, Value) else value:
                yield name, reference


def column_names(section: TableSection) -> list[str]:
    """Every column that a section reads, once."""
    return sorted({reference for _, reference in references(section)})


def _bound(value: object) -> sa.ColumnElement[Any]:
    if isinstance(value, SourceText):
        # SQLite compares text with text only, and Python binds no text that is not UTF-8.
        return sa.cast(sa.bindparam(None, bytes(value), sa.LargeBinary, unique=True), sa.Text)
    # Without a type the driver's own applies, and PostgreSQL takes a text for what its column is.
    return sa.bindparam(None, value, sa.types.NullType(), unique=True)


def _listed(names: object) -> str:
    known = sorted(str(name) for name in names)  # type: ignore[attr-defined]
    return ", ".join(known[:40]) + (" ..." if len(known) > 40 else "") or "nothing"
