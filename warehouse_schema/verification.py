"""What is damaged in a warehouse, and making whole what can be made whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from warehouse_schema import delta_log
from warehouse_schema.durable_files import file_sha256, write_named
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home_format import FILE, FORMAT, home_format, write_format
from warehouse_schema.manifest import (
    FOLDER,
    Manifest,
    TableVersion,
    complete_publication,
    copied_versions,
    copy_path,
    history_start,
    list_versions,
    manifest_path,
    parse_manifest,
    rewrite_manifest,
)
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES

TORN = (ValueError, TypeError, KeyError, OSError)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something that is not as it was written.

    Attributes:
        where: Manifest, format file, or table, with the file's name.
        what: What is wrong with it.
        way_back: What to do.
        is_repairable: True where ``repair`` can make it whole.
    """

    where: str
    what: str
    way_back: str
    is_repairable: bool


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Everything that was looked at.

    Attributes:
        n_versions: Published versions.
        n_files: Data files of all of them.
        n_logs: Log entries.
        damages: What is damaged.
    """

    n_versions: int
    n_files: int
    n_logs: int
    damages: tuple[Damage, ...]


REPAIR = "ribline warehouse repair"


def verify(store: Store, *, progress: Progress = SILENT) -> Verification:
    """Look at every manifest, every log entry and every data file of every version.

    Args:
        store: The store, opened with ``is_checked=False``.
        progress: Listener.

    Returns:
        What was looked at, and every damage.
    """
    manifests, damages = _read_manifests(store)
    damages += _format_damages(store)
    newest = manifests[-1] if manifests else Manifest()
    for name, version in newest.tables.items():
        if name in TABLES:
            damages += _log_damages(store, TABLES[name], version)
    files = _named_files(manifests)
    progress.start("verify", len(files))
    for (name, file), sha256 in files.items():
        damages += _file_damages(store, name, file, sha256)
        progress.advance()
    progress.finish()
    return Verification(
        n_versions=len(manifests),
        n_files=len(files),
        n_logs=len(newest.tables),
        damages=tuple(damages),
    )


def repair(store: Store, *, progress: Progress = SILENT) -> tuple[Damage, ...]:
    """Restore manifests from their copies and logs from the newest manifest.

    Data files are not made up: one that is damaged is restored from a backup, or its table is
    written again by its stage.

    Args:
        store: The store, opened with ``is_checked=False``.
        progress: Listener.

    Returns:
        What was damaged and is whole again.
    """
    with store.writer_lock():
        before = verify(store, progress=progress).damages
        _repair_manifests(store)
        with suppress(WarehouseError):
            if home_format(store.home.warehouse) == FORMAT:
                _repair_logs(store)
        left = {(each.where, each.what) for each in verify(store, progress=progress).damages}
    return tuple(each for each in before if (each.where, each.what) not in left)


def _read_manifests(store: Store) -> tuple[list[Manifest], list[Damage]]:
    warehouse = store.home.warehouse
    first = history_start(warehouse)[0]
    versions = list_versions(warehouse)
    read, damages = [], []
    for version in sorted({*versions, *(v for v in copied_versions(warehouse) if v >= first)}):
        path = manifest_path(warehouse, version)
        try:
            read.append(parse_manifest(path.read_bytes()))
        except TORN:
            state = "empty, torn or edited" if path.exists() else "missing"
            damages.append(_manifest_damage(store, version, state))
    return read, damages


def _manifest_damage(store: Store, version: int, state: str) -> Damage:
    is_copied = _has_copy(store, version)
    return Damage(
        where=f"manifest {version}",
        what=state,
        way_back=f"`{REPAIR}` restores it from its copy."
        if is_copied
        else "Restore it from a backup, or move it away to return to the version before it.",
        is_repairable=is_copied,
    )


def _has_copy(store: Store, version: int) -> bool:
    try:
        parse_manifest(copy_path(store.home.warehouse, version).read_bytes())
    except TORN:
        return False
    return True


def _format_damages(store: Store) -> list[Damage]:
    try:
        home_format(store.home.warehouse)
    except WarehouseError:
        return [
            Damage(
                where=f"{FOLDER}/{FILE}",
                what="torn or edited",
                way_back=f"`{REPAIR}` writes it again.",
                is_repairable=True,
            )
        ]
    return []


def _log_damages(store: Store, table: Table, version: TableVersion) -> list[Damage]:
    folder = store.table_folder(table)
    damage = delta_log.damage_of(folder, version.delta_version, version.log_sha256)
    if not damage and not delta_log.is_readable_as(
        folder, version.delta_version, set(version.files)
    ):
        damage = "its log does not give the files of the manifest"
    if not damage:
        return []
    way_back = f"`{REPAIR}` makes the log again from the manifest."
    return [Damage(where=table.name, what=damage, way_back=way_back, is_repairable=True)]


def _named_files(manifests: list[Manifest]) -> dict[tuple[str, str], str]:
    return {
        (name, file): sha256
        for manifest in manifests
        for name, version in manifest.tables.items()
        if name in TABLES
        for file, sha256 in version.files.items()
    }


def _file_damages(store: Store, name: str, file: str, sha256: str) -> Iterator[Damage]:
    path = store.table_folder(TABLES[name]) / file
    if path.is_file() and file_sha256(path) == sha256:
        return
    yield Damage(
        where=f"{name}/{file}",
        what="altered" if path.is_file() else "missing",
        way_back="Restore it from a backup, or run the stage that writes the table again in full.",
        is_repairable=False,
    )


def _repair_manifests(store: Store) -> None:
    warehouse = store.home.warehouse
    complete_publication(warehouse)
    _, damages = _read_manifests(store)
    damaged = {each.where for each in damages}
    for version in copied_versions(warehouse):
        if f"manifest {version}" in damaged and _has_copy(store, version):
            content = copy_path(warehouse, version).read_bytes()
            write_named(manifest_path(warehouse, version), content)
    if _format_damages(store):
        newest = store.manifest()
        is_new = all(version.log_sha256 for version in newest.tables.values())
        write_format(warehouse, FORMAT if is_new else 1)


def _repair_logs(store: Store) -> None:
    """Write the damaged logs again, under the hashes that the manifest holds.

    An entry made again has another hash than the one that was lost: the newest manifest is written
    again with it, and its copy.
    """
    newest = store.manifest()
    logs = {}
    for name, version in newest.tables.items():
        if name in TABLES and _log_damages(store, TABLES[name], version):
            folder = store.table_folder(TABLES[name])
            delta_log.remove_unpublished(folder, version.delta_version)
            logs[name] = delta_log.rebuild(
                folder, TABLES[name], version.delta_version, version.files
            )
    if logs:
        tables = {
            name: replace(version, log_sha256=logs.get(name, version.log_sha256))
            for name, version in newest.tables.items()
        }
        rewrite_manifest(store.home.warehouse, replace(newest, tables=tables))
