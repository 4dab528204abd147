"""Engines of hospital databases: opened to read, one consistent view, errors without data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from etl.records.source_batch import SourceText
from warehouse_schema.errors import SourceError

# What one statement after the other must see alike; where a dialect has no such level, its default.
SNAPSHOT_LEVELS = {
    "postgresql": "REPEATABLE READ",
    "mysql": "REPEATABLE READ",
    "mariadb": "REPEATABLE READ",
}
READ_ONLY_STATEMENTS = {
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "sqlite": "BEGIN",
}


def make_engine(database_url: str) -> sa.Engine:
    """An engine for a URL; nothing is opened yet.

    Raises:
        SourceError: The URL is malformed, its driver is not installed, or its file is missing.
    """
    try:
        url = sa.make_url(database_url)
        if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
            return _make_sqlite_engine(Path(str(url.database)))
        engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
        sa.event.listen(engine, "handle_error", _close_cursor)
        return engine
    except (UrlError, NoSuchModuleError, ModuleNotFoundError, ValueError):
        raise SourceError(
            "database_url: not a SQLAlchemy URL with an installed driver. Write it like "
            "postgresql+psycopg://user@host/database or sqlite:////folder/hospital.sqlite."
        ) from None


def open_snapshot(engine: sa.Engine) -> sa.Connection:
    """A connection in one read-only transaction, whose statements see one state of the database.

    On SQL Server each statement sees what is committed when it runs.
    """
    dialect = engine.dialect.name
    options: dict[str, object] = {}
    if dialect in SNAPSHOT_LEVELS:
        options["isolation_level"] = SNAPSHOT_LEVELS[dialect]
    if dialect == "postgresql":
        options["postgresql_readonly"] = True
    connection = engine.connect().execution_options(**options)
    if dialect == "sqlite":
        # Text is decoded by the mapping's encoding; the driver would take UTF-8 for granted.
        connection.connection.driver_connection.text_factory = SourceText  # type: ignore[union-attr]
    if dialect in READ_ONLY_STATEMENTS:
        connection.exec_driver_sql(READ_ONLY_STATEMENTS[dialect])
    return connection


def is_dropped(error: BaseException) -> bool:
    """Whether an error means that the connection is gone, so that another one may go on."""
    return isinstance(error, DBAPIError) and bool(error.connection_invalidated)


class Reading:
    """Turns the driver's errors, which may quote rows, into one line without data."""

    def __init__(self, mapping_name: str, table: str) -> None:
        self._where = f"Site mapping {mapping_name}: reading table {table} failed"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SQLAlchemyError):
            raise SourceError(
                f"{self._where} ({cause(error)}). Nothing was written; check the connection and "
                "the user's right to read, then run the stage again."
            ) from None


def cause(error: BaseException) -> str:
    """The kind of an error, without its text."""
    return type(getattr(error, "orig", None) or error).__name__


def _close_cursor(context: sa.engine.ExceptionContext) -> None:
    """Close the cursor of a dropped connection, which SQLAlchemy leaves to the garbage."""
    running = context.execution_context
    if context.is_disconnect and running is not None and running.cursor is not None:
        # PyMySQL would read the rest of the answer, from a socket that is gone.
        answer = getattr(running.cursor, "_result", None)
        if answer is not None and hasattr(answer, "unbuffered_active"):
            answer.unbuffered_active = False
        with suppress(running.dialect.loaded_dbapi.Error):
            running.cursor.close()


def _make_sqlite_engine(path: Path) -> sa.Engine:
    if not path.is_file():
        raise SourceError(
            f"database_url: there is no SQLite file {path.name} at the given path. Correct the "
            "path, or make one with: ribline synthetic-hospital DIR."
        )
    # mode=ro, because SQLite otherwise makes the file and takes write locks.
    return sa.create_engine(
        f"sqlite:///file:{path.resolve().as_posix()}?mode=ro&uri=true",
        hide_parameters=True,
        poolclass=pool.NullPool,
    )
