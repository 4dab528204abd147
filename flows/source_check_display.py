"""What a site mapping finds, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from etl.records.source_check import SectionCheck, SourceCheck, ValueCounts

NEXT_STEP = (
    "Something that the mapping needs is missing: correct the mapping (docs/real_hospital.md), or "
    "point database_url at the right database."
)


def print_check(console: Console, check: SourceCheck) -> None:
    """Print tables, dates and values, one grid each."""
    console.print(Text(f"Site mapping {check.mapping} on {check.dialect}", style="bold"))
    console.print(_tables(check))
    console.print(_dates(check))
    console.print(_values(check))
    if check.is_complete:
        console.print(Text("Everything that the mapping names is there.", style="green"))
    else:
        console.print(Text(NEXT_STEP, style="bold red"))


def _tables(check: SourceCheck) -> Table:
    grid = Table(
        "section", "table", "columns", "missing", "rows", "without id", "repeated ids",
        "undecodable", "encodings", "compared by", header_style="bold", title="Tables",
    )  # fmt: skip
    for each in check.sections:
        grid.add_row(
            Text(each.section),
            Text(each.table),
            Text(str(each.n_columns_found)),
            Text("; ".join(each.missing) or "-", style="bold red" if each.missing else ""),
            _number(each.n_rows),
            _number(each.n_without_identifier),
            _number(each.n_repeated_identifiers),
            Text(f"{each.n_undecodable:,} of {each.n_sampled:,}"),
            Text(_counts(each.encodings or {})),
            Text(each.compared_by or "-"),
        )
    return grid


def _dates(check: SourceCheck) -> Table:
    grid = Table(
        "section", "key", "earliest", "latest", "unreadable", header_style="bold", title="Dates"
    )
    for section in check.sections:
        for dates in section.dates:
            sampled = " (sample)" if dates.is_sample else ""
            grid.add_row(
                Text(section.section),
                Text(dates.key),
                Text(f"{dates.earliest or '-'}{sampled}"),
                Text(f"{dates.latest or '-'}{sampled}"),
                Text(f"{dates.n_unreadable:,} of {section.n_sampled:,}"),
            )
    return grid


def _values(check: SourceCheck) -> Table:
    grid = Table("section", "key", "mapped", "not mapped", header_style="bold", title="Values")
    for section in check.sections:
        for values in section.values:
            grid.add_row(
                Text(section.section),
                Text(values.key),
                Text(_counts(values.mapped)),
                Text(_unmapped(section, values), style="yellow" if values.n_unmapped else ""),
            )
    return grid


def _unmapped(section: SectionCheck, values: ValueCounts) -> str:
    if not values.n_unmapped:
        return "-"
    share = values.n_unmapped / max(1, section.n_rows or 0)
    named = _counts(values.unmapped_code_systems)
    return (
        f"{values.n_unmapped:,} rows ({share:.1%}), {values.n_unmapped_values:,} values"
        f"{f': {named}' if named else ''}"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _number(value: int | None) -> Text:
    return Text("-" if value is None else f"{value:,}")
