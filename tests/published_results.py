"""A warehouse with rows in every result table, and what a reporting database should hold of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from etl.publishing import PREFIX, PUBLICATION, RESULT_TABLES, publish_results, sql_tables
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.table import Column, Table

RUN_ID = "run_id of row 0"
WHEN = datetime(2026, 11, 24, 5, 6, 7, 89, tzinfo=UTC)


def results_store(home: Path) -> Store:
    """A store with three rows in every result table; optional values are null in the last one."""
    store = Store(Home(home))
    with store.commit(stage="fabricate") as commit:
        for table in RESULT_TABLES:
            n_rows = 1 if table.name == "training_runs" else 3
            rows = [_row(table, number, n_rows) for number in range(n_rows)]
            commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))
    return store


def _row(table: Table, number: int, n_rows: int) -> dict[str, Any]:
    is_last = n_rows > 1 and number == n_rows - 1
    return {
        column.name: None if is_last and column.null_meaning is not None else _value(column, number)
        for column in table.columns
    }


def _value(column: Column, number: int) -> Any:
    if column.allowed:
        return column.allowed[number % len(column.allowed)]
    if pa.types.is_string(column.type):
        return f"{column.name} of row {number}"
    if pa.types.is_list(column.type):
        return ["a", f"ü {number}"]
    return {
        "int64": 2**40 + number,
        "double": 0.1 + number,
        "bool": bool(number % 2),
        "timestamp[us, tz=UTC]": WHEN,
    }[str(column.type)]


def published_rows(url: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of the published tables, by the table's name in the warehouse."""
    engine = sa.create_engine(url)
    names = [name for name in sa.inspect(engine).get_table_names() if name.startswith(PREFIX)]
    known = {table.name: table for table in sql_tables()[0].sorted_tables}
    with engine.connect() as connection:
        rows = {
            name.removeprefix(PREFIX): [
                dict(row) for row in connection.execute(known[name].select()).mappings()
            ]
            for name in names
        }
    engine.dispose()
    return rows


def tables_that_arrive(store: Store, url: str) -> set[str]:
    """Publish, compare every value and type with the warehouse's, and name the tables with rows."""
    summary = publish_results(store=store, database_url=url)
    found = published_rows(url)
    assert set(found) == {PUBLICATION, *(table.name for table in RESULT_TABLES)}
    assert found[PUBLICATION][0]["warehouse_version"] == store.manifest().version
    for table in RESULT_TABLES:
        expected = store.read(table).to_pylist()
        assert summary.n_rows[table.name] == len(expected)
        keys = table.primary_key
        rows = sorted(found[table.name], key=lambda row: tuple(row[key] for key in keys))
        expected.sort(key=lambda row: tuple(row[key] for key in keys))
        assert [_plain(row) for row in rows] == [_plain(row) for row in expected]
        for row in rows:
            for column in table.columns:
                if row[column.name] is not None:
                    assert isinstance(row[column.name], _python_type(column)), column.name
    return {name for name, rows in found.items() if rows}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Times without their zone: SQLite and MySQL keep none, and all are UTC."""
    return {
        name: value.astimezone(UTC).replace(tzinfo=None)
        if isinstance(value, datetime) and value.tzinfo
        else value
        for name, value in row.items()
    }


def _python_type(column: Column) -> type:
    if pa.types.is_list(column.type):
        return list
    return {
        "string": str,
        "int64": int,
        "double": float,
        "bool": bool,
        "timestamp[us, tz=UTC]": datetime,
    }[str(column.type)]
