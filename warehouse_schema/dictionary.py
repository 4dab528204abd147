"""The data dictionary, generated from the declarations."""

from __future__ import annotations

from warehouse_schema.query import named_views
from warehouse_schema.table import Column, Table
from warehouse_schema.tables import TABLES

HEADER = """# Data dictionary

Generated from `warehouse_schema/` by `make docs`; a test fails when it is stale. The same in a
terminal: `ribline tables`. Primary keys are **bold**; rows are stored sorted by them. Times are
UTC, shifted per patient by whole days.
*Volatile* columns may differ between two runs with one seed; all others may not.
"""


def dictionary_markdown() -> str:
    """Markdown of every table, column and named view."""
    parts = [HEADER]
    parts += [_table_markdown(table) for table in TABLES.values()]
    parts.append(_views_markdown())
    return "\n".join(parts)


def view_meaning(sql: str) -> str:
    """The leading ``--`` comment of a view's SQL, which says what one row is."""
    lines = [line[2:].strip() for line in sql.splitlines() if line.startswith("--")]
    return " ".join(lines)


def _table_markdown(table: Table) -> str:
    area = " *(restricted: never leaves the hospital)*" if table.area == "restricted" else ""
    rows = "\n".join(_column_row(table, column) for column in table.columns)
    return (
        f"## {table.name}{area}\n\n{table.meaning}\n\n"
        f"| column | type | meaning | null means |\n|---|---|---|---|\n{rows}\n"
    )


def _column_row(table: Table, column: Column) -> str:
    name = f"**{column.name}**" if column.name in table.primary_key else column.name
    volatile = " *Volatile.*" if column.is_volatile else ""
    null_meaning = column.null_meaning or "never"
    return f"| {name} | {column.type} | {column.meaning}{volatile} | {null_meaning} |"


def _views_markdown() -> str:
    rows = "\n".join(f"| {name} | {view_meaning(sql)} |" for name, sql in named_views().items())
    return f"## Views\n\n| view | one row is |\n|---|---|\n{rows}\n"
