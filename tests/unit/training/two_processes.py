"""Trains both steps with each norm whose gradients add up; started by torchrun in every process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.recipe import Recipe
from training.train import train_run
from warehouse_schema.home import Home
from warehouse_schema.store import Store


def train_both_steps(home: Path, recipes: list[Recipe]) -> list[str]:
    """Supervised, then AALS, with each recipe; the runs."""
    runs: list[str] = []
    for recipe in recipes:
        first = None
        for method in ("supervised", "aals"):
            first = train_run(
                store=Store(Home(home)),
                recipe=recipe,
                method=method,
                fold=0,
                seed=1,
                initial_run_id=first,
            )
            runs.append(first)
    return runs


if __name__ == "__main__":
    train_both_steps(
        Path(sys.argv[1]), [Recipe.from_json(text) for text in json.loads(sys.argv[2])]
    )
