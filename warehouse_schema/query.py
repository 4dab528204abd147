"""Read-only SQL over one consistent snapshot of the warehouse, through DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse_schema.errors import QueryError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES

# What a SELECT may call in FROM, beside tables and views; all others may reach files.
TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "duckdb_columns", "duckdb_views"}


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
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(
                "sql: only one SELECT statement is allowed; the warehouse is read-only."
            )
        _refuse_functions(connection, statements[0].query)
        paths = _register_tables(connection, store, at)
        _register_views(connection)
        _lock(connection, paths)
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


def _refuse_functions(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse table functions that are not listed: some read files, some write them.

    Raises:
        QueryError: One is called.
    """
    answer = connection.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [sql])
    content = json.loads(answer.to_arrow_table().column(0)[0].as_py())
    if content.get("error"):
        raise QueryError(f"sql: {content.get('error_message', 'this statement')}; try a SELECT.")
    called = {name.lower() for name in _table_functions(content)}
    if called - TABLE_FUNCTIONS:
        raise QueryError(
            f"sql: {', '.join(sorted(called - TABLE_FUNCTIONS))} cannot be called; only tables and "
            f"views are read, and {', '.join(sorted(TABLE_FUNCTIONS))}."
        )


def _table_functions(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _table_functions(each)
    elif isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield str(node["function"].get("function_name", "a function"))
        for each in node.values():
            yield from _table_functions(each)


def _register_tables(
    connection: duckdb.DuckDBPyConnection, store: Store, at: str | int | None
) -> list[Path]:
    """A view for each shareable table; returns the data files that the views read."""
    read: list[Path] = []
    manifest = store.manifest(at)
    for table in TABLES.values():
        if table.area == "restricted":
            continue
        version = manifest.tables.get(table.name)
        paths = [] if version is None else store.data_files(table, version)
        source = _parquet(table, paths) if paths else _empty(table)
        connection.execute(f'CREATE VIEW "{table.name}" AS {source}')
        read += paths
    return read


def _parquet(table: Table, paths: list[Path]) -> str:
    """Rows of files; a column that is declared since they were written is null."""
    source = f"SELECT * FROM read_parquet({_list(paths)}, union_by_name = true)"  # noqa: S608
    declared = {column.name for column in table.columns}
    if all(set(pq.read_schema(path).names) == declared for path in paths):
        return source
    return f"({_empty(table)}) UNION ALL BY NAME ({source})"


def _list(paths: list[Path]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


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


def _lock(connection: duckdb.DuckDBPyConnection, paths: list[Path]) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = {_list(paths)}")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
