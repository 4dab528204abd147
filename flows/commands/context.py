"""What every command shares: settings from its context, progress, printed counts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.stages import flat_counts
from warehouse_schema.errors import ArgumentError, RiblineError

if TYPE_CHECKING:
    from flows.settings import Settings
    from warehouse_schema.progress import Progress

# Wide enough for any line where there is no screen to fit.
FILE_WIDTH = 400


def console() -> Console:
    """Standard output: the screen's width, or lines that are never broken in a file.

    Of the processes that torchrun starts, the first one speaks.
    """
    is_quiet = os.environ.get("RANK", "0") != "0"
    screen = Console(quiet=is_quiet)
    return screen if screen.is_terminal else Console(width=FILE_WIDTH, quiet=is_quiet)


def fail(error: RiblineError) -> int:
    """Print a user's mistake as one line on standard error; returns its exit code."""
    line = " ".join(str(error).split())
    Console(stderr=True).print(
        Text.assemble(("ribline: ", "bold red"), line), soft_wrap=True, highlight=False
    )
    return error.exit_code


def settings_of(context: typer.Context, **options: object) -> Settings:
    """Settings in force, with the command's own options on top (None: not given)."""
    from flows.settings import load_settings

    return load_settings(home=context.obj).replaced(**options)


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress on standard error, so that standard output holds results alone."""
    from flows.progress_display import progress_display

    with progress_display(Console(stderr=True)) as display:
        yield display


def print_counts(stage: str, counts: Mapping[str, Any]) -> None:
    """What a stage did, one line a number; nested counts are indented."""
    table = Table(title=stage, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, value in flat_counts(counts):
        table.add_row(Text(name), Text(f"{value:,}" if isinstance(value, int) else str(value)))
    console().print(table)


def read_identifiers(file: str | None, *, argument: str) -> list[str]:
    """The lines of a file or of standard input (-), blank ones left out; none without a file.

    Raises:
        ArgumentError: It cannot be read, or holds nothing.
    """
    if file is None:
        return []
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # What was typed is not shown: it may be the identifier itself.
        raise ArgumentError(
            f"{argument}: cannot be read as UTF-8 text. Give a file with one identifier a line, "
            "or - for standard input; an identifier itself is never an argument."
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    if not any(lines):
        raise ArgumentError(f"{argument}: it holds no identifier. Write one a line.")
    return [line for line in lines if line]
