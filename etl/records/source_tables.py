"""The tables and columns that a site mapping names, as the database has them, and their SELECTs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from etl.records.site_mapping import SiteMapping, TableSection, Value
from etl.records.source_batch import SourceText
from warehouse_schema.errors import SourceError

Select = sa.Select[Any]
Place = tuple[str | None, str]  # schema, table as the mapping spells it
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
        self._tables: dict[str | None, dict[str, str]] = {}
        self._columns: dict[Place, dict[str, tuple[str, sa.types.TypeEngine[Any]]]] = {}
        self._selectables: dict[Place, sa.TableClause] = {}
        for section in mapping.sections.values():
            self._names(self._schema(section))

    def check(self, section: TableSection, key: str) -> None:
        """Check that every table and column of a mapping section exists.

        Raises:
            SourceError: One does not; the message names the mapping key and what there is.
        """
        for name, reference in needed(section):
            self.check_one(section, name, reference, key)

    def check_one(self, section: TableSection, name: str, reference: str | None, key: str) -> None:
        """Check one of the things that ``needed`` lists.

        Raises:
            SourceError: It does not exist.
        """
        if reference is None:
            self.find_table(self._schema(section), name, f"{key}.table")
        else:
            self.column(section, reference, f"{key}.{name}")

    def count(self, section: TableSection) -> Select:
        """SELECT of the number of rows of the section's table."""
        return sa.select(sa.func.count()).select_from(self.table(section, section.table))

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
        statement = sa.select(*columns).select_from(self.origin(section))
        key = self.column(section, section.key, section.table)
        if is_key_null:
            return statement.where(key.is_(None))
        if keys is not None:
            return statement.where(key.in_([bound(each) for each in keys]))
        statement = statement.where(key.is_not(None) if start is None else key >= bound(start))
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
        known = self._known(section, table)
        if column.casefold() not in known:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: table {table} has no column "
                f"{column}. It has: {_listed(name for name, _ in known.values())}. "
                "Correct the mapping."
            )
        found: sa.ColumnClause[Any] = self.table(section, table).c[known[column.casefold()][0]]
        return found

    def type(self, section: TableSection, reference: str) -> type[sa.types.TypeEngine[Any]]:
        """SQL type of a column that was checked."""
        table, _, column = reference.rpartition(".")
        return type(self._known(section, table or section.table)[column.casefold()][1])

    def table(self, section: TableSection, name: str) -> sa.TableClause:
        """A table of a section, case ignored."""
        place = (self._schema(section), name)
        # One object a table: SQLAlchemy takes two that look alike for a self-join.
        if place not in self._selectables:
            self._selectables[place] = sa.table(
                self.find_table(*place, name),
                *(sa.column(column) for column, _ in self._known(section, name).values()),
                schema=place[0],
            )
        return self._selectables[place]

    def find_table(self, schema: str | None, name: str, key: str) -> str:
        """The table's name as the database spells it.

        Raises:
            SourceError: There is none.
        """
        tables = self._names(schema)
        found = tables.get(name.casefold())
        if found is None:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: the database has no table {name}. "
                f"It has: {_listed(tables.values())}. Correct the mapping, or point "
                "database_url at the right database."
            )
        return found

    def _schema(self, section: TableSection) -> str | None:
        given = section.database_schema or self._mapping.database_schema
        return None if self._dialect == "sqlite" else given

    def _names(self, schema: str | None) -> dict[str, str]:
        if schema not in self._tables:
            inspector = self._inspector
            names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            self._tables[schema] = {name.casefold(): name for name in names}
        return self._tables[schema]

    def _known(
        self, section: TableSection, table: str
    ) -> dict[str, tuple[str, sa.types.TypeEngine[Any]]]:
        place = (self._schema(section), table)
        if place not in self._columns:
            name = self.find_table(*place, table)
            self._columns[place] = {
                each["name"].casefold(): (each["name"], each["type"])
                for each in self._inspector.get_columns(name, place[0])
            }
        return self._columns[place]

    def origin(self, section: TableSection) -> sa.FromClause:
        """The section's table with those that are joined to it."""
        origin: sa.FromClause = self.table(section, section.table)
        for join in section.joins:
            other = self.table(section, join.table)
            conditions = [
                self.column(section, outer, section.table)
                == self.column(section, f"{join.table}.{inner}", join.table)
                for outer, inner in join.on.items()
            ]
            conditions += [
                self.column(section, f"{join.table}.{name}", join.table) == bound(value)
                for name, value in join.where.items()
            ]
            origin = origin.outerjoin(other, sa.and_(*conditions))
        return origin

    def _plain(self, section: TableSection, reference: str) -> sa.ColumnElement[Any]:
        column = self.column(section, reference, section.table)
        if self._dialect != "postgresql":
            return column
        kind = self.type(section, reference)
        if kind in PLAIN_TYPES:
            return column
        return sa.cast(column, sa.DOUBLE_PRECISION if kind is sa.REAL else sa.TEXT)


def needed(section: TableSection) -> Iterator[tuple[str, str | None]]:
    """(table, None) of each table, then (mapping key, column reference) of all that must exist."""
    yield section.table, None
    for join in section.joins:
        yield join.table, None
        for outer, inner in join.on.items():
            yield "joins.on", outer
            yield "joins.on", f"{join.table}.{inner}"
        for name in join.where:
            yield "joins.where", f"{join.table}.{name}"
    yield from references(section)


def references(section: TableSection) -> Iterator[tuple[str, str]]:
    """(mapping key, column reference) of everything that a section reads."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name in {"table", "joins", "encoding", "database_schema"} or value is None:
            continue
        if isinstance(value, str):
            yield name, value
        else:
            for reference in value.column if isinstance(value, Value) else value:
                yield name, reference


def column_names(section: TableSection) -> list[str]:
    """Every column that a section reads, once."""
    return sorted({reference for _, reference in references(section)})


def bound(value: object) -> sa.ColumnElement[Any]:
    """A value as a bound parameter."""
    if isinstance(value, SourceText):
        # SQLite compares text with text only, and Python binds no text that is not UTF-8.
        return sa.cast(sa.bindparam(None, bytes(value), sa.LargeBinary, unique=True), sa.Text)
    # Without a type the driver's own applies, and PostgreSQL takes a text for what its column is.
    return sa.bindparam(None, value, sa.types.NullType(), unique=True)


def _listed(names: object) -> str:
    known = sorted(str(name) for name in names)  # type: ignore[attr-defined]
    return ", ".join(known[:40]) + (" ..." if len(known) > 40 else "") or "nothing"
