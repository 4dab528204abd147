"""Commands that ask the warehouse."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, settings_of
from warehouse_schema.errors import ArgumentError


class Format(StrEnum):
    """How `ribline sql` writes its result."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def sql(
    context: typer.Context,
    statement: Annotated[
        str | None, typer.Argument(metavar="SELECT", help="One SELECT statement.")
    ] = None,
    *,
    format_: Annotated[Format, typer.Option("--format", help="Form of the result.")] = Format.TABLE,
    at: Annotated[
        str | None,
        typer.Option(metavar="VERSION|TIME", help="Warehouse as of a version or a time."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write there, not to the screen.")
    ] = None,
    versions: Annotated[
        bool, typer.Option("--versions", help="List the published versions instead.")
    ] = False,
) -> None:
    """Ask the warehouse with SQL, read-only."""
    from flows import query_output
    from warehouse_schema.query import run_query

    store = stages.open_store(settings_of(context))
    if versions:
        query_output.print_versions(console(), store)
        return
    if statement is None:
        raise ArgumentError('sql: no statement. For example: ribline sql "SELECT * FROM cohort".')
    rows = run_query(store, statement, at=at)
    if format_ is Format.TABLE and output is None:
        query_output.print_table(console(), rows)
        return
    if format_ is Format.PARQUET and output is None and sys.stdout.isatty():
        raise ArgumentError("--format parquet is binary: add --out FILE, or redirect the output.")
    content = query_output.encoded(rows, str(format_))
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        query_output.write_file(output, content)


def publish(
    context: typer.Context,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SQLALCHEMY_URL",
            help="Reporting database (default: RIBLINE_PUBLISH_URL or publish_url_file, which keep "
            "a password out of the shell's history).",
        ),
    ] = None,
) -> None:
    """Write the result tables into the hospital's reporting database."""
    settings = settings_of(context, publish_url=to)
    with progress() as display:
        counts = stages.publish_results(settings, progress=display)
    print_counts("publish", counts)


def tables(
    name: Annotated[str | None, typer.Argument(help="One table; all by default.")] = None,
) -> None:
    """Show the data dictionary: tables, columns, meanings."""
    from flows.dictionary_display import print_dictionary

    print_dictionary(console(), name)
