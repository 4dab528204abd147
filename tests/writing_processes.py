"""Processes that write to one home at a time: python writing_processes.py WHAT HOME N_PROCESSES N

One program imports everything and forks, so that the processes begin at the same moment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from faulty_disk import patients

from warehouse_schema.errors import AlreadyCommittedError
from warehouse_schema.home import Home
from warehouse_schema.run_key import RunKey
from warehouse_schema.store import Store
from warehouse_schema.tables.records import PATIENTS


def write(home: Path, writer: int, n_commits: int) -> None:
    """Commit one patient at a time; each one acknowledged is noted after its commit."""
    store = Store(Home(home))
    noted = home.parent / f"acknowledged-{writer}"
    for number in range(n_commits):
        name = f"w{writer:02d}-{number:02d}"
        with store.commit(stage=f"writer-{writer}") as commit:
            commit.append(PATIENTS, patients(name))
        with noted.open("a") as file:
            file.write(name + "\n")


def hold(home: Path, _writer: int, _n: int) -> None:
    """Take the writer lock, write, and never end."""
    with Store(Home(home)).commit(stage="held") as commit:
        commit.append(PATIENTS, patients("never"))
        (home.parent / "held").write_text(str(os.getpid()))
        time.sleep(600)


def run_once(home: Path, writer: int, _n: int) -> None:
    """Commit a run that all processes have in common."""
    key = RunKey(flow="nightly-relabel", run_date="2026-01-31", definition_hash="d")
    store = Store(Home(home))
    try:
        with store.commit(stage="night", run_key=key) as commit:
            commit.upsert(PATIENTS, patients(f"by-{writer}"))
    except AlreadyCommittedError:
        (home.parent / f"refused-{writer}").touch()


TASKS: dict[str, Callable[[Path, int, int], None]] = {
    "write": write,
    "hold": hold,
    "run_once": run_once,
}


def main() -> int:
    """Fork the processes and wait; returns how many failed."""
    what, home, n_processes, n = sys.argv[1:]
    children = []
    for number in range(int(n_processes)):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                TASKS[what](Path(home), number, int(n))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main())
