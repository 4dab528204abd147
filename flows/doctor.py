"""``ribline doctor``: values in force and where each came from, then checks with remedies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.health_checks import CHECKS, Diagnosis
from flows.settings import Settings, load_settings
from warehouse_schema.errors import RiblineError

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def run_doctor(console: Console, *, home: Path | None) -> int:
    """Print settings and diagnoses.

    Args:
        console: Where to.
        home: The ``--home`` option.

    Returns:
        Number of checks that failed.
    """
    try:
        settings = load_settings(home=home)
    except RiblineError as error:
        diagnoses = [Diagnosis(level="fail", subject="configuration", message=str(error))]
    else:
        _print_settings(console, settings)
        diagnoses = list(examine(settings))
    _print_diagnoses(console, diagnoses)
    return sum(each.level == "fail" for each in diagnoses)


def examine(settings: Settings) -> Iterator[Diagnosis]:
    """Run every check; one that meets a user's mistake becomes a failed line."""
    for subject, check in CHECKS.items():
        try:
            yield from check(settings)
        except RiblineError as error:
            yield Diagnosis(level="fail", subject=subject, message=str(error))


def _print_settings(console: Console, settings: Settings) -> None:
    table = Table("setting", "value in force", "from", header_style="bold", title="Settings")
    for name in type(settings).model_fields:
        style = "dim" if settings.origin(name) == "default" else ""
        table.add_row(
            Text(name), Text(settings.shown(name)), Text(settings.origin(name)), style=style
        )
    console.print(table)


def _print_diagnoses(console: Console, diagnoses: Sequence[Diagnosis]) -> None:
    table = Table("", "check", "found", "remedy", header_style="bold", title="Checks")
    for each in diagnoses:
        table.add_row(
            Text(each.level, style=STYLES[each.level]),
            Text(each.subject),
            Text(each.message),
            Text(each.remedy),
        )
    console.print(table)
    counts = {level: sum(each.level == level for each in diagnoses) for level in STYLES}
    console.print(", ".join(f"{count} {level}" for level, count in counts.items()))
