"""A disk that forgets what was not flushed, and one that fails at a chosen write."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from warehouse_schema import delta_log, durable_files
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

Loss = str
LOSSES: tuple[Loss, ...] = ("dropped", "emptied", "torn", "kept")


def patients(*names: str, source: str = "unit") -> pa.Table:
    rows = [
        {
            "patient_id": name,
            "source": source,
            "sex_code": None,
            "birth_datetime": None,
            "is_over_89": False,
            "is_synthetic": True,
        }
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=PATIENTS.schema)


def quarantine(*keys: str) -> pa.Table:
    rows = [{"stage": "x", "source": "unit", "key": key, "reason": "test"} for key in keys]
    return pa.Table.from_pylist(rows, schema=QUARANTINE.schema)


def commit_both(store: Store, *names: str) -> None:
    """A commit of two tables that must agree."""
    with store.commit(stage="x") as commit:
        commit.read(PATIENTS)
        commit.upsert(PATIENTS, patients(*names))
        commit.upsert(QUARANTINE, quarantine(*names))


def names_in(store: Store) -> list[str]:
    """What is visible; both tables must show the same."""
    names = store.read(PATIENTS)["patient_id"].to_pylist()
    assert store.read(QUARANTINE)["key"].to_pylist() == names
    return names


@dataclass
class Moment:
    """The tree at one flush: what lies there, and what of it would survive.

    Attributes:
        content: Bytes of each file, by path relative to the root.
        flushed: Bytes of each file that were flushed, where they were.
        named: Paths whose names were flushed.
        n_acknowledged: Commits that had returned.
    """

    content: dict[str, bytes]
    flushed: dict[str, bytes | None]
    named: dict[str, int]
    inodes: dict[str, int]
    flushed_inodes: dict[int, bytes]
    n_acknowledged: int


@dataclass
class ForgetfulDisk:
    """Follows every flush under a folder, and shows what a power cut would leave.

    Args:
        root: The folder.
    """

    root: Path
    moments: list[Moment] = field(default_factory=list)
    n_acknowledged: int = 0
    _bytes: dict[int, bytes] = field(default_factory=dict)
    _names: dict[str, dict[str, int]] = field(default_factory=dict)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        true_fsync = os.fsync

        def fsync(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_relative_to(self.root):
                self._record()
                self._flush(path)
            true_fsync(descriptor)

        monkeypatch.setattr(durable_files.os, "fsync", fsync)

    def finish(self) -> None:
        """Record the state after the last commit."""
        self._record()

    def _flush(self, path: Path) -> None:
        if path.is_dir():
            self._names[str(path)] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            self._bytes[path.stat().st_ino] = path.read_bytes()

    def _record(self) -> None:
        files = [path for path in self.root.rglob("*") if path.is_file()]
        inodes = {str(path.relative_to(self.root)): path.stat().st_ino for path in files}
        self.moments.append(
            Moment(
                content={str(path.relative_to(self.root)): path.read_bytes() for path in files},
                flushed={},
                named=self._named(self.root),
                inodes=inodes,
                flushed_inodes=dict(self._bytes),
                n_acknowledged=self.n_acknowledged,
            )
        )

    def _named(self, folder: Path) -> dict[str, int]:
        """Files that would be found after a cut, by path: every folder above is named too."""
        found: dict[str, int] = {}
        for name, inode in self._names.get(str(folder), {}).items():
            path = folder / name
            if path.is_dir():
                found |= self._named(path)
            else:
                found[str(path.relative_to(self.root))] = inode
        return found


def leave(moment: Moment, loss: Loss, folder: Path) -> None:
    """Write what a power cut at a moment leaves.

    Args:
        moment: When.
        loss: What becomes of what was not flushed: ``dropped`` (names too), ``emptied``, ``torn``
            in half, or ``kept``.
        folder: Where.
    """
    files = moment.named if loss == "dropped" else moment.inodes
    for name, inode in files.items():
        content = moment.flushed_inodes.get(inode)
        if content is None:
            whole = moment.content.get(name, b"")
            content = {"torn": whole[: len(whole) // 2], "kept": whole}.get(loss, b"")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


class FailingDisk:
    """Fails at the n-th write, flush, link, rename or log entry, and at every one after it.

    Args:
        fail_at: Number of the call that fails first, from 0.
        error: What it raises.
    """

    def __init__(self, fail_at: int, error: BaseException) -> None:
        self._fail_at = fail_at
        self._error = error
        self.n_calls = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, name in (
            (durable_files.os, "fsync"),
            (durable_files.os, "link"),
            (Path, "replace"),
            (delta_log, "create_table_with_add_actions"),
            (delta_log.DeltaTable, "create_write_transaction"),
        ):
            monkeypatch.setattr(owner, name, self._failing(getattr(owner, name)))
        write = durable_files.write_file

        def write_half(path: Path, content: bytes) -> None:
            try:
                self._count()
            except type(self._error):
                path.write_bytes(content[: len(content) // 2])
                raise
            write(path, content)

        monkeypatch.setattr(durable_files, "write_file", write_half)
        monkeypatch.setattr("warehouse_schema.data_files.write_file", write_half)

    def _count(self) -> None:
        self.n_calls += 1
        if self.n_calls > self._fail_at:
            raise self._error

    def _failing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._count()
            return function(*arguments, **named)

        return call


FAILURES: tuple[BaseException, ...] = (
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    MemoryError(),
)


def copy_home(store: Store, folder: Path) -> Store:
    shutil.copytree(store.home.root, folder)
    return Store(Home(folder))
