"""Trains a run in child processes that get signals at given steps, until it ends.

Started as ``python killed_runs.py ORDER``. ORDER is JSON: ``home``, ``recipe`` (its JSON),
``method``, ``initial_run_id`` and ``kills``, each with ``steps`` done in that life, ``delay_s``
after the last of them, ``signal`` and ``is_torn`` (the newest checkpoint is cut in half
afterwards). Prints how each life ended: the exit code, or minus the signal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from training.recipe import Recipe
from training.train import train_run
from training.trainer import Trainer
from warehouse_schema.errors import TrainingStoppedError
from warehouse_schema.home import Home
from warehouse_schema.progress import SilentProgress
from warehouse_schema.store import Store


class Reporting(SilentProgress):
    """Writes one byte a step."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def advance(self, n: int = 1, **figures: float | str) -> None:
        if "loss" in figures:
            os.write(self.descriptor, b".")


def live(order: dict[str, Any], descriptor: int) -> None:
    """Train in this process and leave it."""
    try:
        train_run(
            store=Store(Home(Path(order["home"]))),
            recipe=Recipe.from_json(order["recipe"]),
            method=order["method"],
            fold=0,
            seed=1,
            initial_run_id=order["initial_run_id"],
            progress=Reporting(descriptor),
        )
    except TrainingStoppedError as stopped:
        os._exit(stopped.exit_code)
    os._exit(0)


def life(order: dict[str, Any], kill: dict[str, Any] | None) -> int:
    """One child from its start to its end."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        live(order, write)
    os.close(write)
    n_steps = 0
    while os.read(read, 1):
        n_steps += 1
        if kill is not None and n_steps == kill["steps"]:
            time.sleep(kill["delay_s"])
            os.kill(child, kill["signal"])
    os.close(read)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if kill is not None and kill["is_torn"]:
        newest = max(Path(order["home"]).glob(f"runs/{order['method']}-*/last-*.safetensors"))
        os.truncate(newest, newest.stat().st_size // 2)
    return status


def main() -> None:
    order = json.loads(sys.argv[1])
    Trainer.__init__.__kwdefaults__["save_every_steps"] = 2
    # The parent never opens a store: its threads would not survive a fork.
    print(json.dumps([life(order, kill) for kill in [*order["kills"], None]]))


if __name__ == "__main__":
    main()
