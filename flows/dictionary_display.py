"""The data dictionary on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from warehouse_schema.dictionary import view_meaning
from warehouse_schema.errors import ArgumentError
from warehouse_schema.query import named_views
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES


def print_dictionary(console: Console, name: str | None) -> None:
    """Print every table with its columns, or one of them, then the named views.

    Args:
        console: Where to.
        name: One table or view.

    Raises:
        ArgumentError: There is no such table or view.
    """
    views = named_views()
    if name is not None and name not in {*TABLES, *views}:
        raise ArgumentError(
            f"tables: there is no table {name!r}; known are {', '.join([*TABLES, *views])}."
        )
    for table in TABLES.values():
        if name in {None, table.name}:
            _print_table(console, table)
    shown = {view: sql for view, sql in views.items() if name in {None, view}}
    if shown:
        grid = Grid("view", "one row is", title="Named views", title_justify="left")
        for view, sql in shown.items():
            grid.add_row(Text(view, style="bold"), Text(view_meaning(sql)))
        console.print(grid)


def _print_table(console: Console, table: Table) -> None:
    restricted = " (restricted: never leaves the hospital)" if table.area == "restricted" else ""
    console.print(Text.assemble((table.name, "bold cyan"), (restricted, "red")))
    console.print(Text(table.meaning))
    grid = Grid("column", "type", "meaning", "null means", header_style="bold")
    for column in table.columns:
        is_key = column.name in table.primary_key
        allowed = f" One of {', '.join(column.allowed)}." if column.allowed else ""
        grid.add_row(
            Text(column.name, style="bold" if is_key else ""),
            Text(str(column.type)),
            Text(column.meaning + allowed),
            Text(column.null_meaning or "-"),
        )
    console.print(grid)
    console.print()
