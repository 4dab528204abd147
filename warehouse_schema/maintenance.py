"""Maintenance: compaction, retention, vacuum, checkpoints and sizes, in one call.

The promise of time travel: every version of the last ``keep_days`` days stays readable, and so do
the version in force when they began, the versions that the newest run of each stage had read, and
those that training runs were made from. Of other versions manifests and data files are removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from warehouse_schema import data_files, delta_log
from warehouse_schema.commit import Commit
from warehouse_schema.erasure import remove_unnamed
from warehouse_schema.errors import ArgumentError
from warehouse_schema.manifest import (
    FOLDER,
    Manifest,
    configuration_hash,
    copied_versions,
    keep_since,
    list_versions,
    read_manifest,
    remove_manifests,
)
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.runs import LINEAGE

STAGE = "maintain"
KEEP_DAYS = 35
# Files beyond the fewest that a table's rows need, before it is written anew.
LOOSE_FILES = 1


@dataclass(frozen=True, kw_only=True)
class MaintenanceSummary:
    """What one maintenance did, and how large the warehouse is.

    Attributes:
        n_versions: Versions that stay readable.
        n_versions_removed: Versions removed.
        n_files_removed: Data files removed.
        n_mib_freed: Mebibytes freed.
        compacted_tables: Tables written anew because they had many small files.
        n_rows: Rows of each table in the newest version.
        n_files: Data files of each table in the newest version.
        n_mib: Mebibytes of each table, kept versions included.
    """

    n_versions: int
    n_versions_removed: int
    n_files_removed: int
    n_mib_freed: float
    compacted_tables: tuple[str, ...]
    n_rows: dict[str, int]
    n_files: dict[str, int]
    n_mib: dict[str, float]


def maintain(
    *, store: Store, now: datetime, keep_days: int = KEEP_DAYS, progress: Progress = SILENT
) -> MaintenanceSummary:
    """Compact tables, end old versions, remove what no kept version names, checkpoint the logs.

    Args:
        store: The store.
        now: Clock.
        keep_days: Versions of so many days stay readable.
        progress: Listener.

    Raises:
        ArgumentError: keep_days is below 1.
        WarehouseError: The warehouse is damaged; nothing has been removed.
    """
    if keep_days < 1:
        raise ArgumentError(f"--keep-days: got {keep_days}; give at least 1.")
    progress.start(STAGE, 3)
    with store.writing():
        store.refuse_damaged_logs()
        compacted = _compact(store)
        progress.advance()
        kept, n_ended = _end_versions(store, now - timedelta(days=keep_days))
        progress.advance()
        removed = list(_vacuum(store, kept))
        _checkpoint_logs(store, kept[-1] if kept else Manifest())
        progress.advance()
    progress.finish()
    newest = kept[-1] if kept else Manifest()
    return MaintenanceSummary(
        n_versions=len(kept),
        n_versions_removed=n_ended,
        n_files_removed=len(removed),
        n_mib_freed=_mib(sum(removed)),
        compacted_tables=tuple(compacted),
        n_rows={name: version.n_rows for name, version in newest.tables.items()},
        n_files={name: len(version.files) for name, version in newest.tables.items()},
        n_mib={
            name: _mib(sum(path.stat().st_size for path in _data_paths(store, name)))
            for name in newest.tables
            if name in TABLES
        },
    )


def _compact(store: Store) -> list[str]:
    """Write tables of many small files anew, as a version of its own; returns their names."""
    base = store.manifest()
    loose = [
        name
        for name, version in base.tables.items()
        if name in TABLES
        and len(version.files) > -(-version.n_rows // data_files.FILE_ROWS) + LOOSE_FILES
    ]
    if not loose:
        return []
    commit = Commit(
        store=store,
        base=base,
        stage=STAGE,
        configuration_hash=configuration_hash({}),
        run_id=None,
        is_recorded=False,
    )
    try:
        for name in loose:
            commit.rewrite_all(TABLES[name])
        commit.publish()
    except BaseException:
        commit.discard()
        raise
    return loose


def _end_versions(store: Store, since: datetime) -> tuple[list[Manifest], int]:
    """End the versions that the promise does not cover.

    Returns:
        The manifests that stay, oldest first, and how many were ended.
    """
    warehouse = store.home.warehouse
    manifests = [read_manifest(warehouse, version) for version in list_versions(warehouse)]
    in_time = {
        before.version
        for before, after in pairwise(manifests)
        if datetime.fromisoformat(after.created_datetime) > since
    }
    in_time |= {manifest.version for manifest in manifests[-1:]}
    named = in_time | set(_versions_named(store, manifests))
    old = [manifest.version for manifest in manifests if manifest.version not in named]
    if old:
        keep_since(warehouse, since)
        remove_manifests(warehouse, old)
    known = {manifest.version for manifest in manifests}
    remove_manifests(warehouse, [v for v in copied_versions(warehouse) if v not in known])
    return [manifest for manifest in manifests if manifest.version in named], len(old)


def _versions_named(store: Store, manifests: list[Manifest]) -> Iterator[int]:
    """Versions at which the newest run of each stage, and every training run, has read."""
    rows = store.read(LINEAGE).to_pylist()
    newest = {row["stage"]: row["commit_version"] for row in rows}
    for row in rows:
        if row["run_id"] is not None or newest[row["stage"]] == row["commit_version"]:
            yield row["commit_version"]
            yield from _version_read(manifests, row)


def _version_read(manifests: list[Manifest], row: dict[str, Any]) -> list[int]:
    """The last version before a commit in which its input had the version that was read."""
    found = [
        manifest.version
        for manifest in manifests
        if manifest.version <= row["commit_version"]
        and (version := manifest.tables.get(row["input_table"])) is not None
        and version.delta_version == row["input_version"]
    ]
    return found[-1:]


def _vacuum(store: Store, kept: list[Manifest]) -> Iterator[int]:
    """Remove data files that no kept version names; yields their sizes."""
    for draft in (store.home.warehouse / FOLDER).rglob(".draft-*"):
        draft.unlink()
    for table in TABLES.values():
        folder = store.table_folder(table)
        if not folder.is_dir():
            continue
        names = {
            name
            for manifest in kept
            if table.name in manifest.tables
            for name in manifest.tables[table.name].files
        }
        sizes = {path: path.stat().st_size for path in _data_paths(store, table.name)}
        yield from (sizes.get(path, 0) for path in remove_unnamed(folder, names))


def _checkpoint_logs(store: Store, newest: Manifest) -> None:
    """One checkpoint a log instead of its entries; an entry that no manifest names goes first."""
    for table in TABLES.values():
        folder = store.table_folder(table)
        if not folder.is_dir():
            continue
        version = newest.tables.get(table.name)
        delta_log.remove_unpublished(folder, None if version is None else version.delta_version)
        if version is None or not version.delta_version:
            continue
        if delta_log.has_older(folder, version.delta_version):
            delta_log.checkpoint(folder, version.delta_version)
            delta_log.remove_before(folder, version.delta_version)


def _data_paths(store: Store, name: str) -> list[Path]:
    return sorted(store.table_folder(TABLES[name]).rglob("*.parquet"))


def _mib(n_bytes: int) -> float:
    return round(n_bytes / 2**20, 1)
