"""Result tables into the hospital's reporting database: one transaction, the same each time.

Every table is called ``ribline_`` and its name here, and is replaced as a whole; what else is in
the database is not touched. Only tables about runs and counts go out, none with a row about one
patient. Times are UTC. ``ribline_publication`` says which version of the warehouse the rows are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from etl.records.source_engine import cause
from warehouse_schema.code_version import code_version
from warehouse_schema.errors import SourceError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Column, Table
from warehouse_schema.tables.evaluation import (
    CALIBRATION_MAPS,
    CALIBRATION_POINTS,
    EVALUATION_REPORTS,
    FOLD_SUMMARIES,
    FROC_POINTS,
    LESION_FROC_POINTS,
    ROC_POINTS,
    RUN_COMPARISONS,
    SUBGROUP_METRICS,
)
from warehouse_schema.tables.labels import COHORT_FLOW, LABEL_QUALITY
from warehouse_schema.tables.runs import TRAINING_EPOCHS, TRAINING_RUNS

RESULT_TABLES = (
    TRAINING_RUNS,
    TRAINING_EPOCHS,
    EVALUATION_REPORTS,
    ROC_POINTS,
    FROC_POINTS,
    LESION_FROC_POINTS,
    SUBGROUP_METRICS,
    CALIBRATION_POINTS,
    CALIBRATION_MAPS,
    RUN_COMPARISONS,
    FOLD_SUMMARIES,
    COHORT_FLOW,
    LABEL_QUALITY,
)
PREFIX = "ribline_"
PUBLICATION = "publication"
# Dialects whose CREATE and DROP belong to the transaction.
TRANSACTIONAL_DIALECTS = frozenset({"postgresql", "sqlite", "mssql"})
# MySQL and SQL Server index no text without a length; six of these fit into MySQL's 3,072 bytes.
KEY_CHARS = 120
_KEY_TEXT = sa.Text().with_variant(sa.String(KEY_CHARS), "mysql", "mariadb", "mssql")
_MICROSECONDS = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_ROWS_AT_ONCE = 5000


@dataclass(frozen=True)
class PublishSummary:
    """What was published: the warehouse version, and rows by table."""

    version: int
    n_rows: Mapping[str, int]


def publish_results(
    *, store: Store, database_url: str, progress: Progress = SILENT
) -> PublishSummary:
    """Replace the result tables in a reporting database by those of the newest version.

    Args:
        store: The store.
        database_url: SQLAlchemy URL of the reporting database.
        progress: Listener.

    Raises:
        SourceError: The URL is malformed, the database cannot be reached or written, or a table of
            that name has other columns where the database cannot exchange it in a transaction. The
            database is as it was before.
    """
    manifest = store.manifest()
    engine = target_engine(database_url)
    try:
        metadata, targets = sql_tables()
        _prepare(engine, metadata)
        progress.start("publish", len(RESULT_TABLES))
        n_rows: dict[str, int] = {}
        with engine.begin() as connection:
            _exchange(connection, metadata)
            for table in RESULT_TABLES:
                rows = store.read(table, at=manifest.version or None)
                n_rows[table.name] = _insert(connection, targets[table.name], rows)
                progress.advance(table=table.name)
            connection.execute(
                targets[PUBLICATION].insert(),
                {
                    "warehouse_version": manifest.version,
                    "committed_datetime": manifest.created_datetime,
                    "code_version": code_version(),
                },
            )
        progress.finish()
    except SQLAlchemyError as error:
        raise SourceError(
            f"--to: the reporting database cannot be written ({cause(error)}). Nothing in it was "
            "changed; check the connection and the user's right to create tables, then publish "
            "again."
        ) from None
    finally:
        engine.dispose()
    return PublishSummary(version=manifest.version, n_rows=n_rows)


def target_engine(database_url: str) -> sa.Engine:
    """An engine that writes; nothing is opened yet.

    Raises:
        SourceError: The URL is malformed, its driver is not installed, or the folder of its file is
            missing.
    """
    try:
        url = sa.make_url(database_url)
        engine = sa.create_engine(url, hide_parameters=True)
    except (UrlError, NoSuchModuleError, ModuleNotFoundError, ValueError):
        raise SourceError(
            "--to: not a SQLAlchemy URL with an installed driver. Write it like "
            "postgresql+psycopg://user@host/database or sqlite:////folder/reporting.sqlite."
        ) from None
    if engine.dialect.name == "sqlite":
        folder = Path(url.database or ".").resolve().parent
        if not folder.is_dir():
            raise SourceError(
                f"--to: there is no folder {folder.name} for the SQLite file. Make it first."
            )
        _begin_explicitly(engine)
    return engine


def sql_column(column: Column, *, is_key: bool) -> sa.Column[Any]:
    """A declared column as a database holds it."""
    return sa.Column(
        column.name,
        _sql_type(column.type, is_key=is_key),
        primary_key=is_key,
        autoincrement=False,
        nullable=column.null_meaning is not None,
        comment=column.meaning,
    )


def _sql_type(type_: pa.DataType, *, is_key: bool) -> Any:
    if pa.types.is_string(type_):
        return _KEY_TEXT if is_key else sa.Text()
    if pa.types.is_list(type_):
        return sa.JSON()
    return {
        "int64": sa.BigInteger(),
        "double": sa.Double(),
        "bool": sa.Boolean(),
        "timestamp[us, tz=UTC]": _MICROSECONDS,
    }[str(type_)]


def sql_tables() -> tuple[sa.MetaData, dict[str, sa.Table]]:
    """The published tables as a database holds them, by their name without the prefix."""
    metadata = sa.MetaData()
    targets = {table.name: _sql_table(metadata, table) for table in RESULT_TABLES}
    targets[PUBLICATION] = sa.Table(
        PREFIX + PUBLICATION,
        metadata,
        sa.Column("warehouse_version", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("committed_datetime", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        comment="The version of the Ribline warehouse whose result tables these are.",
    )
    return metadata, targets


def _sql_table(metadata: sa.MetaData, table: Table) -> sa.Table:
    columns = [
        sql_column(column, is_key=column.name in table.primary_key) for column in table.columns
    ]
    return sa.Table(PREFIX + table.name, metadata, *columns, comment=table.meaning)


def _prepare(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Where CREATE ends a transaction, make the missing tables before it begins."""
    if engine.dialect.name in TRANSACTIONAL_DIALECTS:
        return
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            if _is_there(connection, table) and not _has_columns(connection, table):
                raise SourceError(
                    f"--to: table {table.name} has other columns than this version of Ribline "
                    "writes. Drop it, and publish again."
                )
    metadata.create_all(engine)


def _exchange(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Empty every table; make it anew where it is missing or has other columns."""
    for table in metadata.sorted_tables:
        if _is_there(connection, table):
            if _has_columns(connection, table):
                connection.execute(table.delete())
                continue
            table.drop(connection)
        table.create(connection)


def _is_there(connection: sa.Connection, table: sa.Table) -> bool:
    return sa.inspect(connection).has_table(table.name)


def _has_columns(connection: sa.Connection, table: sa.Table) -> bool:
    found = sa.inspect(connection).get_columns(table.name)
    return {column["name"] for column in found} == set(table.columns.keys())


def _insert(connection: sa.Connection, target: sa.Table, rows: pa.Table) -> int:
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        if batch.num_rows:
            connection.execute(target.insert(), batch.to_pylist())
    return int(rows.num_rows)


def _begin_explicitly(engine: sa.Engine) -> None:
    """Let SQLAlchemy begin SQLite's transactions: the driver begins none before CREATE or DROP."""

    @sa.event.listens_for(engine, "connect")
    def _no_implicit_begin(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
