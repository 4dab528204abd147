"""Read-only access to a hospital database, through the tables that a site mapping names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from etl.site_mapping import SiteMapping, Value
from warehouse_schema.errors import SourceError

BATCH_ROWS = 10_000
Section = Any  # one of the table sections of a SiteMapping
Batch = dict[str, list[object]]


class SourceDatabase:
    """A connection to the source; a context manager.

    Args:
        database_url: SQLAlchemy URL.
        mapping: What the site's database looks like.

    Raises:
        SourceError: The URL is malformed, or the database cannot be reached.
    """

    def __init__(self, *, database_url: str, mapping: SiteMapping) -> None:
        self._mapping = mapping
        self._engine = _make_engine(database_url)
        self._columns: dict[str, dict[str, str]] = {}
        self._selectables: dict[str, sa.TableClause] = {}
        try:
            self._inspector = sa.inspect(self._engine)
            tables = [
                *self._inspector.get_table_names(mapping.database_schema),
                *self._inspector.get_view_names(mapping.database_schema),
            ]
        except (SQLAlchemyError, OSError) as error:
            where = self._engine.url.render_as_string(hide_password=True)
            self._engine.dispose()
            raise SourceError(
                f"database_url: cannot read {where} ({_cause(error)}). Check that the server "
                "runs, the name is right and the user may read, then: ribline doctor."
            ) from None
        self._tables = {name.casefold(): name for name in tables}

    def __enter__(self) -> SourceDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def check(self, section: Section, key: str) -> None:
        """Check that every table and column of a mapping section exists.

        Raises:
            SourceError: One does not; the message names the mapping key and what there is.
        """
        self._find_table(section.table, f"{key}.table")
        for join in section.joins:
            self._find_table(join.table, f"{key}.joins")
            for outer, inner in join.on.items():
                self._find_column(section.table, outer, f"{key}.joins.on")
                self._find_column(join.table, inner, f"{key}.joins.on")
        for name, reference in _references(section):
            self._resolve(section, reference, f"{key}.{name}")

    def count_rows(self, section: Section) -> int:
        """Rows of the section's table."""
        table = self._table(section.table)
        with self._reading(section.table), self._engine.connect() as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            )

    def stream(self, section: Section, *, order_by: str | None) -> Iterator[Batch]:
        """The section's columns in batches, by the names the mapping uses.

        Args:
            section: A table section of the mapping, checked before.
            order_by: Column that fixes the order, so that "the first of two" means the same
                every night; None leaves it to the database.

        Yields:
            For each column named in the mapping its raw values, at most BATCH_ROWS.

        Raises:
            SourceError: The database failed while reading.
        """
        references = sorted({reference for _, reference in _references(section)})
        statement = self._select(section, references, order_by)
        with self._reading(section.table), self._engine.connect() as plain:
            connection = plain.execution_options(stream_results=True, yield_per=BATCH_ROWS)
            _make_read_only(connection)
            for rows in connection.execute(statement).partitions():
                yield {
                    name: list(values)
                    for name, values in zip(references, zip(*rows, strict=True), strict=True)
                }

    def _select(
        self, section: Section, references: Sequence[str], order_by: str | None
    ) -> sa.Select[Any]:
        main = self._table(section.table)
        origin: sa.FromClause = main
        for join in section.joins:
            other = self._table(join.table)
            condition = sa.and_(
                *(
                    main.c[self._columns[section.table][outer.casefold()]]
                    == other.c[self._columns[join.table][inner.casefold()]]
                    for outer, inner in join.on.items()
                )
            )
            origin = origin.outerjoin(other, condition)
        columns = [
            self._resolve(section, reference, section.table).label(f"c{number}")
            for number, reference in enumerate(references)
        ]
        statement = sa.select(*columns).select_from(origin)
        if order_by is not None:
            statement = statement.order_by(self._resolve(section, order_by, section.table))
        return statement

    def _resolve(self, section: Section, reference: str, key: str) -> sa.ColumnClause[Any]:
        table, _, column = reference.rpartition(".")
        table = table or section.table
        if table != section.table and table not in {join.table for join in section.joins}:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: {reference} names table {table}, "
                "which is not joined. Add it to the section's joins."
            )
        found = self._find_column(table, column, key)
        resolved: sa.ColumnClause[Any] = self._table(table).c[found]
        return resolved

    def _table(self, name: str) -> sa.TableClause:
        # One object a table: SQLAlchemy takes two that look alike for a self-join.
        if name not in self._selectables:
            self._selectables[name] = sa.table(
                self._find_table(name, name),
                *(sa.column(column) for column in self._known_columns(name).values()),
                schema=self._mapping.database_schema,
            )
        return self._selectables[name]

    def _find_table(self, name: str, key: str) -> str:
        found = self._tables.get(name.casefold())
        if found is None:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: the database has no table {name}. "
                f"It has: {_listed(self._tables.values())}. Correct the mapping, or point "
                "database_url at the right database."
            )
        return found

    def _known_columns(self, table: str) -> dict[str, str]:
        if table not in self._columns:
            with self._reading(table):
                described = self._inspector.get_columns(
                    self._find_table(table, table), self._mapping.database_schema
                )
            self._columns[table] = {each["name"].casefold(): each["name"] for each in described}
        return self._columns[table]

    def _find_column(self, table: str, column: str, key: str) -> str:
        known = self._known_columns(table)
        if column.casefold() not in known:
            raise SourceError(
                f"Site mapping {self._mapping.name}, key {key}: table {table} has no column "
                f"{column}. It has: {_listed(known.values())}. Correct the mapping."
            )
        return known[column.casefold()]

    def _reading(self, table: str) -> _Reading:
        return _Reading(self._mapping.name, table)


class _Reading:
    """Turns the driver's errors, which may quote rows, into one line without data."""

    def __init__(self, mapping_name: str, table: str) -> None:
        self._where = f"Site mapping {mapping_name}: reading table {table} failed"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SQLAlchemyError):
            raise SourceError(
                f"{self._where} ({_cause(error)}). Nothing was written; check the connection and "
                "the user's right to read, then run the stage again."
            ) from None


def _references(section: Section) -> Iterator[tuple[str, str]]:
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


def _make_engine(database_url: str) -> sa.Engine:
    try:
        url = sa.make_url(database_url)
        if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
            return _make_sqlite_engine(Path(str(url.database)))
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (UrlError, NoSuchModuleError, ModuleNotFoundError, ValueError):
        raise SourceError(
            "database_url: not a SQLAlchemy URL with an installed driver. Write it like "
            "postgresql+psycopg://user@host/database or sqlite:////folder/hospital.sqlite."
        ) from None


def _make_sqlite_engine(path: Path) -> sa.Engine:
    if not path.is_file():
        raise SourceError(
            f"database_url: there is no SQLite file {path.name} at the given path. Correct the "
            "path, or make one with: ribline synthetic-hospital DIR."
        )
    # mode=ro, because SQLite otherwise makes the file and takes write locks.
    return sa.create_engine(
        f"sqlite:///file:{path.resolve().as_posix()}?mode=ro&uri=true", hide_parameters=True
    )


def _make_read_only(connection: sa.Connection) -> None:
    backend = connection.dialect.name
    if backend == "postgresql":
        connection.execute(sa.text("SET TRANSACTION READ ONLY"))
    elif backend == "sqlite":
        # Text is decoded by the mapping's encoding; the driver would take UTF-8 for granted.
        connection.connection.driver_connection.text_factory = bytes  # type: ignore[union-attr]


def _cause(error: BaseException) -> str:
    return type(getattr(error, "orig", None) or error).__name__


def _listed(names: object) -> str:
    known = sorted(str(name) for name in names)  # type: ignore[attr-defined]
    return ", ".join(known[:40]) + (" ..." if len(known) > 40 else "") or "nothing"
