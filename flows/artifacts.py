"""Prefect artifacts: the results where the operators look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.result_table import result_rows
from flows.settings import load_settings
from flows.stages import Counts, flat_counts


def publish_results(key: str, *, title: str, run_ids: Sequence[str], report: str) -> None:
    """The result table of runs as a table artifact, and where the report lies as markdown.

    Args:
        key: Artifact key, lower case with dashes.
        title: Heading.
        run_ids: Runs in the order of the table.
        report: The report's path in the home folder.
    """
    rows = result_rows(load_settings(), run_ids)
    create_table_artifact(key=f"{key}-results", table=rows, description=title)
    create_markdown_artifact(
        key=f"{key}-report",
        description=title,
        markdown=f"# {title}\n\n{markdown_table(rows)}\n\nReport, in the home folder: `{report}`\n",
    )


def publish_counts(key: str, *, title: str, counts: Mapping[str, Counts]) -> None:
    """What each stage of a sequence did, as a table and as markdown."""
    rows = [
        {"stage": stage, "what": name, "count": str(value)}
        for stage, values in counts.items()
        for name, value in flat_counts(values)
    ]
    create_table_artifact(key=f"{key}-counts", table=rows, description=title)
    create_markdown_artifact(
        key=key, description=title, markdown=f"# {title}\n\n{markdown_table(rows)}\n"
    )


def publish_differences(key: str, *, title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Mean paired differences over folds, as a table and as markdown."""
    table = [dict(row) for row in rows]
    create_table_artifact(key=f"{key}-differences", table=table, description=title)
    create_markdown_artifact(
        key=key, description=title, markdown=f"# {title}\n\n{markdown_table(rows)}\n"
    )


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a markdown table."""
    if not rows:
        return "Nothing."
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
