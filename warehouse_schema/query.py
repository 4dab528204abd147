"""Read-only SQL over one consistent snapshot of the warehouse, through DuckDB."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse_schema.errors import QueryError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES


def run_query(store: Store, sql: str, *, at: str | int | None = None) -> pa.Table:
    """Answer one SELECT over the shareable tables and the named views.

    Args:
        store: The store.
        sql: One SELECT statement.
        at: Manifest version or time, the newest by default.

    Returns:
        The result as an Arrow table.

    Raises:
        QueryError: Not exactly one SELECT, or DuckDB refuses it.
        WarehouseError: No such version.
    """
    connection = duckdb.connect(":memory:")
    try:
        _register_tables(connection, store, at)
        _register_views(connection)
        _lock(connection, store)
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(
                "sql: only one SELECT statement is allowed; the warehouse is read-only."
            )
        result = connection.execute(statements[0])
        return result.to_arrow_table()
    except duckdb.Error as error:
        store.refuse_where_erased()
        raise QueryError(
            f"sql: {str(error).splitlines()[0]}. `ribline tables` lists tables and columns."
        ) from None
    finally:
        connection.close()


def named_views() -> dict[str, str]:
    """SQL of the named views, by name, from ``warehouse_schema/views/*.sql``."""
    folder = files("warehouse_schema") / "views"
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    }


def _register_tables(
    connection: duckdb.DuckDBPyConnection, store: Store, at: str | int | None
) -> None:
    manifest = store.manifest(at)
    for table in TABLES.values():
        if table.area == "restricted":
            continue
        version = manifest.tables.get(table.name)
        paths = [] if version is None else store.data_files(table, version)
        source = _parquet(paths) if paths else _empty(table)
        connection.execute(f'CREATE VIEW "{table.name}" AS {source}')


def _parquet(paths: list[Path]) -> str:
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"SELECT * FROM read_parquet([{listed}])"  # noqa: S608


def _empty(table: Table) -> str:
    columns = ", ".join(
        f'CAST(NULL AS {_duckdb_type(column.type)}) AS "{column.name}"' for column in table.columns
    )
    return f"SELECT {columns} WHERE false"


def _duckdb_type(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"{_duckdb_type(type_.value_type)}[]"
    return {
        "string": "VARCHAR",
        "int64": "BIGINT",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    }[str(type_)]


def _register_views(connection: duckdb.DuckDBPyConnection) -> None:
    for name, sql in named_views().items():
        connection.execute(f'CREATE VIEW "{name}" AS {sql}')


def _lock(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    folder = str(store.home.warehouse.resolve()).replace("'", "''")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_directories = ['{folder}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
