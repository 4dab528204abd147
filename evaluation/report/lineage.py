"""The report's lineage: which commit read which tables, and each run's configuration."""

import json
from dataclasses import dataclass
from typing import Any

from evaluation.report.values import RunRow
from warehouse_schema.store import Store
from warehouse_schema.tables.runs import LINEAGE


@dataclass(frozen=True)
class ConfigurationRow:
    """One field of the recipes, one value per run."""

    name: str
    values: list[str]

    @property
    def is_differing(self) -> bool:
        """True where the runs do not agree."""
        return len(set(self.values)) > 1


def lineage_rows(store: Store, run_ids: list[str], at: int | None) -> list[dict[str, Any]]:
    """The newest commit of every stage: what it read, with which code and configuration.

    Training and evaluation stages are those of the reported runs.
    """
    newest: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in store.read(LINEAGE, at=at).to_pylist():
        if row["run_id"] is None or row["run_id"] in run_ids:
            rows = newest.setdefault((row["stage"], row["run_id"]), [])
            if rows and rows[0]["commit_version"] < row["commit_version"]:
                rows.clear()
            if not rows or rows[0]["commit_version"] == row["commit_version"]:
                rows.append(row)
    return [
        {
            "commit_version": rows[0]["commit_version"],
            "stage": rows[0]["stage"],
            "run_id": rows[0]["run_id"] or "",
            "inputs": ", ".join(
                f"{row['input_table']}\u00a0{row['input_version']}"
                for row in rows
                if row["input_version"] >= 0
            ),
            "code_version": rows[0]["code_version"],
            "configuration_hash": rows[0]["configuration_hash"][:12],
        }
        for rows in sorted(newest.values(), key=lambda rows: int(rows[0]["commit_version"]))
    ]


def configuration_rows(runs: list[RunRow]) -> list[ConfigurationRow]:
    """Every field of the runs' recipes, by name."""
    recipes = [json.loads(run.row["configuration_json"]) for run in runs]
    names = sorted({name for recipe in recipes for name in recipe})
    return [
        ConfigurationRow(name, [_shown(recipe.get(name)) for recipe in recipes]) for name in names
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
