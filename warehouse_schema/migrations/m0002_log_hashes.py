"""Format 2: every log entry has its hash in the manifest, and all that is published is on disk.

Format 1 (release 0.1.0) flushed manifests alone, and left log entries of interrupted commits in
place.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from warehouse_schema import delta_log
from warehouse_schema.durable_files import file_sha256, sync_file, sync_folder
from warehouse_schema.manifest import Manifest, TableVersion, publish_manifest
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES


def migrate(store: Store) -> None:
    """Flush data files and logs, end the logs at their published versions, record their hashes."""
    base = store.manifest()
    if all(version.log_sha256 for version in base.tables.values()):
        return
    tables = {
        name: _hashed(store, TABLES[name], version) if name in TABLES else version
        for name, version in base.tables.items()
    }
    publish_manifest(
        store.home.warehouse,
        Manifest(
            version=base.version + 1,
            stage="migrate",
            created_datetime=datetime.now(UTC).isoformat(),
            tables=tables,
        ),
    )


def _hashed(store: Store, table: Table, version: TableVersion) -> TableVersion:
    folder = store.table_folder(table)
    for path in store.data_files(table, version):
        sync_file(path)
    sync_folder(folder)
    delta_log.remove_unpublished(folder, version.delta_version)
    if delta_log.is_usable(folder, version.delta_version, "", set(version.files)):
        entry = delta_log.entry_path(folder, version.delta_version)
        sync_file(entry)
        sync_folder(entry.parent)
        return replace(version, log_sha256=file_sha256(entry))
    return replace(
        version,
        log_sha256=delta_log.rebuild(folder, table, version.delta_version, version.files),
    )
