"""Disk full, input/output errors and lack of memory at every write of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_disk import FAILURES, FailingDisk, commit_both, copy_home, names_in

from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.verification import verify


@pytest.mark.parametrize(
    "shift", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, len(FAILURES)))]
)
def test_no_failed_write_shows_half_a_run_and_the_next_run_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    """Each write fails in one manner; the long form takes all manners in turn at each."""
    base = Store(Home(tmp_path / "base"))
    commit_both(base, "a")
    n_failed = 0
    for number in range(200):
        store = copy_home(base, tmp_path / str(number))
        failure = FAILURES[(number + shift) % len(FAILURES)]
        disk = FailingDisk(number, failure)
        with monkeypatch.context() as patch:
            disk.install(patch)
            if disk_outlasts(store, failure):
                break
        n_failed += 1
        assert names_in(Store(store.home)) in (["a"], ["a", "b"])
        commit_both(Store(store.home), "b", "c")
        assert names_in(Store(store.home)) == ["a", "b", "c"]
        assert verify(Store(store.home)).damages == ()
    assert 20 < n_failed < 200


def disk_outlasts(store: Store, failure: BaseException) -> bool:
    try:
        commit_both(store, "b")
    except (type(failure), WarehouseError):
        return False
    return True


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Home(tmp_path / "home"))
    commit_both(store, "a")
    with monkeypatch.context() as patch:
        FailingDisk(3, FAILURES[0]).install(patch)
        with pytest.raises(WarehouseError, match=r"disk.* is full.*Nothing was published"):
            commit_both(store, "b")
