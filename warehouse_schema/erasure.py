"""Erasure: a commit after which nothing of the warehouse's past can be read, by anyone.

A patient who opts out stands in old Parquet files, in Delta logs and in every manifest that names
those files. So all tables are written anew, one manifest publishes them, and everything that only
older manifests named is removed. What is left behind by a process that was killed on the way is
removed by the next erasure, which does the same steps again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from deltalake import DeltaTable

from warehouse_schema.commit import Commit
from warehouse_schema.manifest import (
    FOLDER,
    Manifest,
    configuration_hash,
    list_versions,
    read_manifest,
    start_history,
)
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES

LOG = "_delta_log"


@contextmanager
def ending_history(store: Store, *, stage: str) -> Iterator[Commit]:
    """Commit like ``Store.commit``, and end the history of every table with it.

    Readers see the tables as they were until the block ends, and as it left them from then on;
    a reader that had begun before is told to read again. Other writers wait, and those that had
    read the warehouse before are refused at their commit.

    Args:
        store: The store.
        stage: Name of the stage, kept in the manifest.
    """
    with store.writer_lock():
        commit = Commit(
            store=store,
            base=store.manifest(),
            stage=stage,
            configuration_hash=configuration_hash({}),
            run_id=None,
            is_recorded=True,
        )
        yield commit
        commit.rewrite_rest()
        commit.publish()
        _remove_history(store)


def _remove_history(store: Store) -> None:
    """Remove all that the newest manifest does not name, what it does made durable first."""
    newest = store.manifest()
    for name in newest.tables:
        _make_durable(store.table_folder(TABLES[name]))
    start_history(store.home.warehouse, version=newest.version, moment=datetime.now(UTC))
    store.renew()
    for version in list_versions(store.home.warehouse, is_ended_included=True):
        if version < newest.version:
            (store.home.warehouse / FOLDER / f"{version:08d}.json").unlink()
    for draft in (store.home.warehouse / FOLDER).glob(".draft-*"):
        draft.unlink()
    for table in TABLES.values():
        _remove_table_history(store.table_folder(table), newest, table.name)


def _remove_table_history(folder: Path, newest: Manifest, name: str) -> None:
    if not folder.is_dir():
        return
    version = newest.tables.get(name)
    if version is None:
        # A first commit that failed left it behind.
        shutil.rmtree(folder)
        return
    DeltaTable(folder, version=version.delta_version).create_checkpoint()
    for path in folder.rglob("*"):
        is_log = path.parent.name == LOG
        is_kept = _is_current(path, version.delta_version) if is_log else None
        if is_kept is None:
            is_kept = str(path.relative_to(folder)) in version.files
        if path.is_file() and not is_kept:
            path.unlink()


def _is_current(path: Path, delta_version: int) -> bool:
    number = path.name.partition(".")[0]
    if number.isdigit():
        return int(number) >= delta_version
    return path.name == "_last_checkpoint"


def _make_durable(folder: Path) -> None:
    """Delta does not sync what it writes; a power cut must not lose new and old alike."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def history_files(store: Store) -> list[Path]:
    """Data files of all tables on disk, those of older versions included; for searches."""
    folders = [store.table_folder(table) for table in TABLES.values()]
    return [path for folder in folders for path in sorted(folder.rglob("*.parquet"))]


def published_versions(store: Store, name: str) -> Iterator[Manifest]:
    """One manifest for each version of a table that can still be read, the newest first."""
    seen: set[int] = set()
    for number in reversed(list_versions(store.home.warehouse)):
        manifest = read_manifest(store.home.warehouse, number)
        version = manifest.tables.get(name)
        if version is not None and version.delta_version not in seen:
            seen.add(version.delta_version)
            yield manifest
