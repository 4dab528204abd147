"""Two lanes from one statement to batches: a cursor for every dialect, ADBC for PostgreSQL.

ADBC runs the statement as ``COPY ... TO STDOUT (FORMAT binary)`` and builds Arrow columns outside
Python. It takes no bound values in that mode, so statements that have some go by the cursor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from typing import Any

import adbc_driver_manager
import pyarrow as pa
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from etl.records.source_batch import Column, SourceBatch
from etl.records.source_tables import Select

BATCH_ROWS = 10_000
BATCH_BYTES = 4 << 20
SNAPSHOT_SHAPE = re.compile(r"[0-9A-Fa-f-]+")
DRIVER_ERRORS = (adbc_driver_manager.Error, OSError, pa.ArrowException)


class FastLaneError(Exception):
    """The fast lane cannot start or go on; its text holds no data."""


def cursor_batches(
    connection: sa.Connection, statement: Select, names: Sequence[str]
) -> Iterator[SourceBatch]:
    """Stream a statement through SQLAlchemy, BATCH_ROWS at a time.

    Raises:
        SQLAlchemyError: The database failed, or the connection was dropped.
    """
    options = {"stream_results": True, "yield_per": BATCH_ROWS}
    with connection.execute(statement, execution_options=options) as result:
        for rows in result.partitions():
            yield SourceBatch.from_rows(names, rows)


class FastLane:
    """ADBC connection of its own in the snapshot of another one; a context manager.

    Args:
        connection: In a transaction of PostgreSQL, which stays open.

    Raises:
        FastLaneError: The server refuses the connection or the snapshot.
    """

    def __init__(self, connection: sa.Connection) -> None:
        try:
            exported = connection.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one()
        except SQLAlchemyError as error:
            raise FastLaneError(type(error).__name__) from None
        snapshot = str(exported)
        assert SNAPSHOT_SHAPE.fullmatch(snapshot), "PostgreSQL's own form"
        url = connection.engine.url.set(drivername="postgresql")
        with _translated():
            self._connection = dbapi.connect(url.render_as_string(hide_password=False))
        try:
            with _translated(), self._connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        except FastLaneError:
            self.close()
            raise

    @staticmethod
    def is_for(connection: sa.Connection) -> bool:
        """Whether the database is one that ADBC reads as the cursor does."""
        if connection.dialect.name != "postgresql":
            return False
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        return str(encoding).upper() == "UTF8"

    def close(self) -> None:
        """End the connection; one that is gone already is no fault."""
        with suppress(*DRIVER_ERRORS):
            self._connection.close()

    def batches(
        self, statement: Select, names: Sequence[str], numerics: Sequence[str]
    ) -> Iterator[SourceBatch]:
        """Stream a statement without bound values.

        Args:
            statement: SELECT of c0, c1 ...
            names: What its columns are called in the mapping.
            numerics: Those that hold decimal numbers, which ADBC hands over as text.

        Raises:
            FastLaneError: The database failed, or the connection was dropped.
        """
        # asyncpg's form, because psycopg's doubles each % in a name.
        compiled = statement.compile(dialect=asyncpg.dialect())  # type: ignore[no-untyped-call]
        assert not compiled.params, "COPY takes no parameters"
        with _translated(), closing(self._connection.cursor()) as cursor:
            cursor.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
            )
            cursor.execute(str(compiled))
            for batch in cursor.fetch_record_batch():
                columns: dict[str, Column] = {}
                for name, column in zip(names, batch.columns, strict=True):
                    plain = column.storage if isinstance(column, pa.ExtensionArray) else column
                    columns[name] = _decimals(plain) if name in numerics else plain
                yield SourceBatch(columns)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise FastLaneError(type(error).__name__) from None


def _decimals(column: pa.Array) -> list[Any]:
    return [None if value is None else Decimal(value) for value in column.to_pylist()]
