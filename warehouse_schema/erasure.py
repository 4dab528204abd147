"""Erasure: a commit after which nothing of the warehouse's past can be read, by anyone.

A patient who opts out stands in old Parquet files and in every manifest and log that names those
files. The files that hold the patient's rows are written anew, one manifest publishes the tables,
and everything that only older manifests named is removed. What is left behind by a process that
was killed on the way is removed by the next erasure, which does the same steps again.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from warehouse_schema.commit import Commit
from warehouse_schema.delta_log import LOG, checkpoint, remove_before, remove_unpublished
from warehouse_schema.durable_files import remove_files
from warehouse_schema.manifest import (
    FOLDER,
    Manifest,
    configuration_hash,
    copied_versions,
    list_versions,
    read_manifest,
    remove_manifests,
    start_history,
)
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES


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
    with store.writing():
        commit = Commit(
            store=store,
            base=store.manifest(),
            stage=stage,
            configuration_hash=configuration_hash({}),
            run_id=None,
            is_recorded=True,
        )
        try:
            yield commit
            commit.publish()
        except BaseException:
            commit.discard()
            raise
        _remove_history(store)


def _remove_history(store: Store) -> None:
    """Remove all that the newest manifest does not name; what it does is on disk."""
    newest = store.manifest()
    warehouse = store.home.warehouse
    start_history(warehouse, version=newest.version, moment=datetime.now(UTC))
    store.renew()
    old = {*list_versions(warehouse, is_ended_included=True), *copied_versions(warehouse)}
    remove_manifests(warehouse, [version for version in sorted(old) if version < newest.version])
    for draft in (warehouse / FOLDER).rglob(".draft-*"):
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
    remove_unpublished(folder, version.delta_version)
    checkpoint(folder, version.delta_version)
    remove_before(folder, version.delta_version)
    remove_unnamed(folder, version.files)


def remove_unnamed(folder: Path, names: Collection[str]) -> list[Path]:
    """Remove a table's data files that are not among these, and what was left beside them.

    Returns:
        What was removed.
    """
    unnamed = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != LOG and str(path.relative_to(folder)) not in names
    ]
    remove_files(unnamed)
    return unnamed


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
