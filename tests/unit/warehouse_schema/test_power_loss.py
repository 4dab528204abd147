"""A power cut at any flush of a commit: what was acknowledged is there, and no half beyond it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faulty_disk import LOSSES, ForgetfulDisk, commit_both, leave, names_in

from warehouse_schema.home import Home
from warehouse_schema.maintenance import maintain
from warehouse_schema.store import Store
from warehouse_schema.verification import verify

COMMITS = (("a",), ("b", "c"), ("a", "d"))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForgetfulDisk:
    root = tmp_path / "disk"
    root.mkdir()
    disk = ForgetfulDisk(root)
    with monkeypatch.context() as patch:
        disk.watch(patch)
        store = Store(Home(root / "home"))
        for names in COMMITS:
            commit_both(store, *names)
            disk.n_acknowledged += 1
        disk.finish()
    return disk


def visible(n_commits: int) -> list[str]:
    return sorted({name for names in COMMITS[:n_commits] for name in names})


def allowed_after(disk: ForgetfulDisk, number: int) -> tuple[list[str], list[str]]:
    """Names at a moment: those acknowledged, with those of the commit under way or without."""
    done = disk.moments[number].n_acknowledged
    return visible(done), visible(done + 1)


def names_after(disk: ForgetfulDisk, number: int, loss: str, folder: Path) -> list[str]:
    """Names that a store finds after a power cut; it can be written to, and verifies."""
    leave(disk.moments[number], loss, folder)
    store = Store(Home(folder / "home"))
    found = names_in(store)
    commit_both(store, "later")
    assert names_in(Store(store.home)) == sorted([*found, "later"])
    damages = verify(Store(store.home)).damages
    assert not [each for each in damages if each.where.startswith(("patients", "quarantine"))]
    return found


def test_a_power_cut_takes_back_nothing_acknowledged(disk: ForgetfulDisk, tmp_path: Path) -> None:
    assert len(disk.moments) > 60
    cases = list(itertools.product(range(len(disk.moments)), LOSSES))
    # A stride that meets every kind of loss.
    for number, loss in cases[:: len(cases) // 40 | 1]:
        found = names_after(disk, number, loss, tmp_path / f"{number}-{loss}")
        assert found in allowed_after(disk, number), (number, loss)


@pytest.mark.soak
def test_a_power_cut_at_every_flush_and_in_every_manner(
    disk: ForgetfulDisk, tmp_path: Path
) -> None:
    for number, loss in itertools.product(range(len(disk.moments)), LOSSES):
        found = names_after(disk, number, loss, tmp_path / f"{number}-{loss}")
        assert found in allowed_after(disk, number), (number, loss)


@pytest.mark.parametrize("loss", ["dropped", "torn"])
def test_maintenance_may_lose_power_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    disk = ForgetfulDisk(root)
    with monkeypatch.context() as patch:
        disk.watch(patch)
        store = Store(Home(root / "home"))
        for names in COMMITS:
            commit_both(store, *names)
        start = len(disk.moments)
        maintain(store=store, now=datetime.now(UTC) + timedelta(days=90), keep_days=1)
        disk.finish()
    for number in range(start, len(disk.moments), 2):
        folder = tmp_path / f"{number}"
        leave(disk.moments[number], loss, folder)
        left = Store(Home(folder / "home"))
        assert names_in(left) == visible(3)
        commit_both(left, "later")
        assert names_in(Store(left.home)) == [*visible(3), "later"]
