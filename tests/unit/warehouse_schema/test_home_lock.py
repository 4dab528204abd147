"""Stages that write files and erasures keep apart; a process that dies holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from warehouse_schema.erasure import ending_history
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.home_lock import no_files_written, writes_files
from warehouse_schema.store import Store

ROOT = Path(__file__).parents[3]
STAGE = """
import sys
from pathlib import Path
from warehouse_schema.home import Home
from warehouse_schema.home_lock import writes_files
from warehouse_schema.store import Store

@writes_files
def stage(*, store):
    print("begun", flush=True)
    sys.stdin.read()

stage(store=Store(Home(Path(sys.argv[1]))))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def test_an_erasure_is_refused_while_a_stage_writes_and_not_after_it_was_killed(
    store: Store,
) -> None:
    stage = subprocess.Popen(
        [sys.executable, "-c", STAGE, store.home.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert stage.stdout is not None
    assert stage.stdout.readline() == b"begun\n"
    with pytest.raises(WarehouseError, match="Let it end or stop it"), no_files_written(store.home):
        pytest.fail("both at once")
    stage.kill()
    stage.communicate()
    with no_files_written(store.home):
        pass


def test_stages_write_beside_each_other_and_inside_each_other(store: Store) -> None:
    @writes_files
    def inner(*, store: Store) -> str:
        return "done"

    @writes_files
    def outer(*, store: Store) -> str:
        return inner(store=store)

    assert outer(store=store) == "done"


def test_a_stage_waits_for_an_erasure_and_is_refused_then(store: Store) -> None:
    outcomes: list[str] = []
    is_begun = threading.Event()

    @writes_files
    def stage(*, store: Store) -> None:
        outcomes.append("written")

    def run() -> None:
        is_begun.set()
        try:
            stage(store=store)
        except WarehouseError as error:
            outcomes.append(str(error))

    thread = threading.Thread(target=run)
    with no_files_written(store.home):
        thread.start()
        is_begun.wait(5)
        thread.join(0.2)
        assert outcomes == []
        with ending_history(Store(store.home), stage="forget-patient"):
            pass
    thread.join(10)
    (message,) = outcomes
    assert "A patient was erased" in message
    stage(store=Store(store.home))
    assert outcomes[1:] == ["written"]
