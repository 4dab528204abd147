"""Run manifests: which version of every table belongs together.

A manifest is published last, by one atomic link. Readers start from a manifest, so they see all
tables of a commit or none of them. Its number is the VERSION of ``ribline sql --at``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from warehouse_schema.errors import WarehouseError

FOLDER = "_manifests"
HISTORY_START = "history_start"


@dataclass(frozen=True, kw_only=True)
class TableVersion:
    """One table's version in a manifest.

    Attributes:
        delta_version: Version of the Delta log.
        n_rows: Rows at that version.
        files: SHA-256 of each data file, by path relative to the table's folder.
    """

    delta_version: int
    n_rows: int
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A published state of the whole warehouse.

    Attributes:
        version: Manifest number, from 1; 0 is the empty warehouse.
        stage: Stage that published it.
        configuration_hash: SHA-256 of the stage's arguments.
        created_datetime: UTC clock at publication, ISO 8601.
        tables: Version of every table that exists.
    """

    version: int = 0
    stage: str = "empty"
    configuration_hash: str = ""
    created_datetime: str = ""
    tables: Mapping[str, TableVersion] = field(default_factory=dict)


def configuration_hash(configuration: Mapping[str, object]) -> str:
    """SHA-256 of a stage's arguments in canonical JSON."""
    text = json.dumps(configuration, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_versions(warehouse: Path, *, is_ended_included: bool = False) -> list[int]:
    """Numbers of all published manifests, rising.

    Args:
        warehouse: The warehouse folder.
        is_ended_included: True counts files of versions that an erasure has ended but not yet
            removed.
    """
    folder = warehouse / FOLDER
    if not folder.is_dir():
        return []
    numbers = sorted(int(path.stem) for path in folder.glob("[0-9]*.json"))
    first = 0 if is_ended_included else history_start(warehouse)[0]
    return [number for number in numbers if number >= first]


def history_start(warehouse: Path) -> tuple[int, str]:
    """First version that can be read and the time of the last erasure; 0 where there was none."""
    path = warehouse / FOLDER / HISTORY_START
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return int(content["version"]), str(content["erased_datetime"])
    except FileNotFoundError:
        return 0, ""
    except (ValueError, TypeError, KeyError):
        raise WarehouseError(
            f"{FOLDER}/{HISTORY_START} is torn or was edited. Restore it from a backup."
        ) from None


def start_history(warehouse: Path, *, version: int, moment: datetime) -> None:
    """End every version before this one, durably; they are refused from now on."""
    content = {"version": version, "erased_datetime": moment.isoformat()}
    folder = warehouse / FOLDER
    draft = folder / f".draft-{os.getpid()}-{HISTORY_START}"
    _write_durably(draft, content)
    draft.replace(folder / HISTORY_START)
    _sync_folder(folder)


def read_manifest(warehouse: Path, version: int | None = None) -> Manifest:
    """Read one manifest, the newest by default.

    Args:
        warehouse: The warehouse folder.
        version: Manifest number (0: before the first one), or None for the newest.

    Raises:
        WarehouseError: There is no such version, or its file is torn.
    """
    versions = list_versions(warehouse)
    if version == 0 or (version is None and not versions):
        return Manifest()
    chosen = versions[-1] if version is None else version
    if chosen not in versions:
        _refuse_erased(warehouse, chosen < history_start(warehouse)[0])
        known = f"{versions[0]} to {versions[-1]}" if versions else "none yet"
        raise WarehouseError(
            f"--at: there is no warehouse version {version} (published: {known}). "
            "Ask for a published one."
        )
    path = warehouse / FOLDER / f"{chosen:08d}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = {name: TableVersion(**row) for name, row in content.pop("tables").items()}
        return Manifest(tables=tables, **content)
    except FileNotFoundError:
        # An erasure has ended it between the two looks.
        return read_manifest(warehouse, version)
    except (ValueError, TypeError, KeyError):
        raise WarehouseError(
            f"Manifest {path.name} is torn or was edited. Restore it from a backup, or move it "
            "away to return to the version before it."
        ) from None


def manifest_at(warehouse: Path, at: str | int | None) -> Manifest:
    """The manifest named by a version number or in force at a time.

    Args:
        warehouse: The warehouse folder.
        at: Version number, ISO 8601 time (UTC where it names no zone), or None for the newest.

    Raises:
        WarehouseError: Neither a version nor a time, or nothing was published by then.
    """
    if at is None or isinstance(at, int) or at.isdigit():
        return read_manifest(warehouse, None if at is None else int(at))
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise WarehouseError(
            f"--at: got {at!r}; allowed: a version number or a time such as 2026-01-31T06:00. "
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    for version in reversed(list_versions(warehouse)):
        manifest = read_manifest(warehouse, version)
        if datetime.fromisoformat(manifest.created_datetime) <= moment:
            return manifest
    _refuse_erased(warehouse, history_start(warehouse)[0] > 0)
    raise WarehouseError(f"--at: nothing had been published by {at}. Ask for a later time.")


def _refuse_erased(warehouse: Path, is_erased: bool) -> None:
    if is_erased:
        first, moment = history_start(warehouse)
        raise WarehouseError(
            f"--at: the history before version {first} ended on {moment[:19]} UTC, when a "
            f"patient was erased. Ask for version {first} or later."
        )


def publish_manifest(warehouse: Path, manifest: Manifest) -> None:
    """Write a manifest durably; a second one of the same number is refused.

    Raises:
        WarehouseError: Another writer published this number first.
    """
    folder = warehouse / FOLDER
    folder.mkdir(exist_ok=True)
    draft = folder / f".draft-{os.getpid()}-{manifest.version}"
    _write_durably(draft, asdict(manifest))
    try:
        os.link(draft, folder / f"{manifest.version:08d}.json")
    except FileExistsError:
        raise WarehouseError(
            f"Version {manifest.version} was published by another writer. Run the stage again."
        ) from None
    finally:
        draft.unlink()
    _sync_folder(folder)


def _write_durably(path: Path, content: Mapping[str, object]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
