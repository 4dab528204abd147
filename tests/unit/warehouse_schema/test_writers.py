"""Processes that write to one home at the same time, and those that die doing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_disk import patients

from warehouse_schema.errors import AlreadyCommittedError
from warehouse_schema.home import Home
from warehouse_schema.run_key import RunKey
from warehouse_schema.store import Store
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.tables.runs import COMMITTED_RUNS
from warehouse_schema.verification import verify

PROGRAM = (sys.executable, str(Path(__file__).parents[2] / "writing_processes.py"))


def run(what: str, home: Path, n_processes: int, n: int = 0) -> None:
    done = subprocess.run([*PROGRAM, what, str(home), str(n_processes), str(n)], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("n_writers", "n_commits"), [(4, 10), pytest.param(16, 25, marks=pytest.mark.soak)]
)
def test_every_acknowledged_commit_is_found_once(
    tmp_path: Path, n_writers: int, n_commits: int
) -> None:
    home = tmp_path / "home"
    run("write", home, n_writers, n_commits)
    noted = sorted(
        name for path in tmp_path.glob("acknowledged-*") for name in path.read_text().split()
    )
    store = Store(Home(home))
    assert len(noted) == n_writers * n_commits
    assert store.read(PATIENTS)["patient_id"].to_pylist() == noted
    assert store.manifest().version == len(noted)
    assert verify(store).damages == ()


def test_a_killed_writer_holds_no_lock_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([*PROGRAM, "hold", str(home), "1", "0"]) as program:
        while not (held := tmp_path / "held").exists() or not held.read_text():
            time.sleep(0.01)
        os.kill(int(held.read_text()), signal.SIGKILL)
        assert program.wait() == 1
    store = Store(Home(home))
    begun = time.monotonic()
    with store.commit(stage="next") as commit:
        commit.upsert(PATIENTS, patients("next"))
    assert time.monotonic() - begun < 5
    assert store.read(PATIENTS)["patient_id"].to_pylist() == ["next"]


def test_one_of_several_runs_of_the_same_minute_commits(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("run_once", home, 4)
    store = Store(Home(home))
    assert store.read(PATIENTS).num_rows == 1
    assert len(list(tmp_path.glob("refused-*"))) == 3
    assert store.read(COMMITTED_RUNS)["run_date"].to_pylist() == ["2026-01-31"]


def test_a_run_key_is_committed_once_and_another_one_is_another_run(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home"))
    key = RunKey(flow="f", run_date="2026-01-31", definition_hash="d")
    with store.commit(stage="x", run_key=key):
        pass
    version = store.manifest().version
    assert version == 1
    with (
        pytest.raises(AlreadyCommittedError, match="version 1"),
        store.commit(stage="x", run_key=key) as commit,
    ):
        commit.append(PATIENTS, patients("twice"))
    assert store.manifest().version == version
    for other in (
        RunKey(flow="g", run_date="2026-01-31", definition_hash="d"),
        RunKey(flow="f", run_date="2026-02-01", definition_hash="d"),
        RunKey(flow="f", run_date="2026-01-31", definition_hash="e"),
    ):
        with store.commit(stage="x", run_key=other):
            pass
    assert store.read(COMMITTED_RUNS).num_rows == 4


def test_a_run_that_failed_may_be_retried(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home"))
    key = RunKey(flow="f", run_date="2026-01-31", definition_hash="d")
    with pytest.raises(RuntimeError), store.commit(stage="x", run_key=key):
        raise RuntimeError
    with store.commit(stage="x", run_key=key) as commit:
        commit.append(PATIENTS, patients("a"))
    assert store.read(PATIENTS).num_rows == 1
