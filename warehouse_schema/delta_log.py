"""A table's Delta log: which of its files other engines see.

Ribline reads by manifests alone; the log follows them, entry by entry, through the deltalake
library. An entry beyond the newest manifest is what an interrupted commit left and is removed by
the next one. A log that is damaged is known by the entry's hash in the manifest, and is made again
from the manifest as one checkpoint.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import (
    AddAction,
    PostCommitHookProperties,
    RemoveAction,
    create_table_with_add_actions,
)

from warehouse_schema.data_files import nullable_schema
from warehouse_schema.durable_files import (
    file_sha256,
    make_folder,
    remove_files,
    sync_file,
    sync_folder,
    write_named,
)
from warehouse_schema.errors import WarehouseError
from warehouse_schema.table import Table

LOG = "_delta_log"
# Statistics of ids would keep a forgotten patient's pseudonym in the log.
CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}
# Checkpoints are written by `maintain`, which makes them durable.
NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
WAY_BACK = "Run `ribline warehouse repair`, which makes the log again from the manifest."


def advance(
    folder: Path, table: Table, *, published: int | None, log_sha256: str, files: Iterable[str]
) -> tuple[int, str]:
    """Write the log entry after which the table consists of these files, durably.

    Args:
        folder: The table's folder.
        table: Declaration.
        published: Version of the newest manifest, None where the table is in none.
        log_sha256: Hash of that version's entry, empty where it was not recorded.
        files: Names of the table's data files.

    Returns:
        Version of the log, and the SHA-256 of its entry.

    Raises:
        WarehouseError: The log is damaged.
    """
    make_folder(folder / LOG)
    remove_unpublished(folder, published)
    if published is None:
        version = _create(folder, table, files)
    else:
        damage = damage_of(folder, published, log_sha256)
        if damage:
            raise WarehouseError(f"Table {table.name}: {damage}. {WAY_BACK}")
        version = _append(folder, table, set(files))
    path = entry_path(folder, version)
    sync_file(path)
    sync_folder(path.parent)
    return version, file_sha256(path)


def entry_path(folder: Path, version: int) -> Path:
    """Where a version's entry lies."""
    return folder / LOG / f"{version:020d}.json"


def remove_unpublished(folder: Path, published: int | None) -> None:
    """Remove entries that no manifest names: an interrupted commit left them behind."""
    left = [
        path
        for path in (folder / LOG).glob("[0-9]*")
        if int(path.name.partition(".")[0]) > (-1 if published is None else published)
    ]
    pointer = folder / LOG / "_last_checkpoint"
    if left:
        remove_files([*left, pointer] if any("checkpoint" in path.name for path in left) else left)


def damage_of(folder: Path, version: int, log_sha256: str) -> str | None:
    """What is wrong with a version's log entry, in words; None where it is as written."""
    path = entry_path(folder, version)
    if not path.is_file():
        return None if _checkpoint_path(folder, version).is_file() else "its log entry is missing"
    if not path.stat().st_size:
        return f"its log entry {path.name} is empty"
    if log_sha256 and file_sha256(path) != log_sha256:
        return f"its log entry {path.name} is torn or was edited"
    return None


def log_files(folder: Path, version: int) -> set[str]:
    """Names of the data files that other engines see at a version.

    Raises:
        DeltaError: The log cannot be read.
    """
    delta = DeltaTable(folder, version=version)
    return {_relative(folder, uri) for uri in delta.file_uris()}


def is_usable(folder: Path, version: int, log_sha256: str, files: set[str]) -> bool:
    """True where a version's entry is whole and the log gives the manifest's files."""
    if damage_of(folder, version, log_sha256) or not entry_path(folder, version).is_file():
        return False
    return is_readable_as(folder, version, files)


def is_readable_as(folder: Path, version: int, files: set[str]) -> bool:
    """True where the log can be read and gives these files at a version."""
    try:
        return log_files(folder, version) == files
    except DeltaError:
        return False


def rebuild(folder: Path, table: Table, version: int, files: Iterable[str]) -> str:
    """Make the log again as one checkpoint of this version; earlier entries go.

    Returns:
        The SHA-256 of the version's entry.
    """
    make_folder(folder / LOG)
    # A checkpoint does not hold its version: one of version 0 serves for any.
    scratch = Path(tempfile.mkdtemp(prefix=".rebuild-", dir=folder))
    try:
        _create(scratch, table, files, data_folder=folder)
        DeltaTable(scratch).create_checkpoint()
        entry = entry_path(scratch, 0).read_bytes()
        checkpoint = _checkpoint_path(scratch, 0).read_bytes()
    finally:
        shutil.rmtree(scratch)
    write_named(_checkpoint_path(folder, version), checkpoint)
    write_named(entry_path(folder, version), entry)
    _point_to_checkpoint(folder, version, checkpoint)
    remove_before(folder, version)
    return file_sha256(entry_path(folder, version))


def checkpoint(folder: Path, version: int) -> None:
    """Write a checkpoint of a version, durably."""
    DeltaTable(folder, version=version).create_checkpoint()
    for path in (_checkpoint_path(folder, version), folder / LOG / "_last_checkpoint"):
        sync_file(path)
    sync_folder(folder / LOG)


def has_older(folder: Path, version: int) -> bool:
    """True where entries before a version are there."""
    return any(0 <= _number(path) < version for path in (folder / LOG).iterdir())


def remove_before(folder: Path, version: int) -> None:
    """Remove the entries and checkpoints before a version that has a checkpoint."""
    old = [
        path
        for path in (folder / LOG).iterdir()
        if path.name != "_last_checkpoint" and _number(path) < version
    ]
    if old:
        remove_files(old)


def _number(path: Path) -> int:
    """Version of an entry or checkpoint; drafts and anything else are older than all."""
    number = path.name.partition(".")[0]
    return int(number) if number.isdigit() else -1


def _create(
    folder: Path, table: Table, files: Iterable[str], data_folder: Path | None = None
) -> int:
    actions = [_add_action(data_folder or folder, name) for name in files]
    schema = Schema.from_arrow(nullable_schema(table))
    if actions:
        create_table_with_add_actions(
            str(folder), schema, actions, mode="error", partition_by=[], configuration=CONFIGURATION
        )
    else:
        DeltaTable.create(folder, schema, mode="error", configuration=CONFIGURATION)
    return 0


def _append(folder: Path, table: Table, files: set[str]) -> int:
    try:
        delta = DeltaTable(folder)
    except DeltaError:
        raise WarehouseError(f"Table {table.name}: its log cannot be read. {WAY_BACK}") from None
    delta = _with_declared_columns(delta, folder, table)
    present = {_relative(folder, uri) for uri in delta.file_uris()}
    now_ms = int(time.time() * 1000)
    actions: list[AddAction | RemoveAction] = [
        _add_action(folder, name) for name in sorted(files - present)
    ]
    actions += [RemoveAction(name, True, now_ms, None, {}) for name in sorted(present - files)]
    version = int(delta.version())
    delta.create_write_transaction(
        actions, "append", delta.schema(), [], post_commithook_properties=NO_HOOKS
    )
    return version + 1


def _with_declared_columns(delta: DeltaTable, folder: Path, table: Table) -> DeltaTable:
    """The log with the columns declared since it was begun, added as an entry of its own."""
    declared = Schema.from_arrow(nullable_schema(table))
    known = {field.name for field in delta.schema().fields}
    missing = [field for field in declared.fields if field.name not in known]
    if not missing:
        return delta
    delta.alter.add_columns(missing, post_commithook_properties=NO_HOOKS)
    delta = DeltaTable(folder)
    sync_file(entry_path(folder, delta.version()))
    return delta


def _add_action(folder: Path, name: str) -> AddAction:
    status = (folder / name).stat()
    n_rows = pq.read_metadata(folder / name).num_rows
    return AddAction(
        path=name,
        size=status.st_size,
        partition_values={},
        modification_time=int(status.st_mtime * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": n_rows}),
    )


def _relative(folder: Path, uri: str) -> str:
    return str(Path(uri.removeprefix("file://")).relative_to(folder))


def _checkpoint_path(folder: Path, version: int) -> Path:
    return folder / LOG / f"{version:020d}.checkpoint.parquet"


def _point_to_checkpoint(folder: Path, version: int, content: bytes) -> None:
    size = pq.read_metadata(_checkpoint_path(folder, version)).num_rows
    text = json.dumps({"version": version, "size": size, "sizeInBytes": len(content)})
    write_named(folder / LOG / "_last_checkpoint", text.encode())
