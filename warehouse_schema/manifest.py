"""Run manifests: which version of every table belongs together.

A manifest is published last, by one atomic link. Readers start from a manifest, so they see all
tables of a commit or none of them. Its number is the VERSION of ``ribline sql --at``. A second
copy of each lies in ``copies/``, written first: it restores a manifest that is lost, and tells that
one is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from warehouse_schema.durable_files import (
    make_folder,
    remove_files,
    write_named,
    write_once,
)
from warehouse_schema.errors import WarehouseError

FOLDER = "_manifests"
COPIES = "copies"
HISTORY_START = "history_start"
KEPT_SINCE = "kept_since"


@dataclass(frozen=True, kw_only=True)
class TableVersion:
    """One table's version in a manifest.

    Attributes:
        delta_version: Version of the Delta log.
        n_rows: Rows at that version.
        files: SHA-256 of each data file, by path relative to the table's folder, in the order of
            their first keys.
        log_sha256: SHA-256 of the version's entry in the Delta log; empty in homes of format 1.
    """

    delta_version: int
    n_rows: int
    files: Mapping[str, str]
    log_sha256: str = ""


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
    write_named(warehouse / FOLDER / HISTORY_START, json.dumps(content).encode())


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
            f"--at: there is no warehouse version {version} (published: {known}; maintenance may "
            "have ended it). Ask for one of `ribline sql --versions`."
        )
    path = manifest_path(warehouse, chosen)
    try:
        return parse_manifest(path.read_bytes())
    except FileNotFoundError:
        # An erasure has ended it between the two looks.
        return read_manifest(warehouse, version)
    except (ValueError, TypeError, KeyError):
        raise WarehouseError(
            f"Manifest {path.name} is empty, torn or was edited. Run `ribline warehouse repair`, "
            "which restores it from its copy."
        ) from None


def manifest_path(warehouse: Path, version: int) -> Path:
    """Where a version's manifest lies."""
    return warehouse / FOLDER / f"{version:08d}.json"


def copy_path(warehouse: Path, version: int) -> Path:
    """Where the copy of a version's manifest lies."""
    return warehouse / FOLDER / COPIES / f"{version:08d}.json"


def parse_manifest(content: bytes) -> Manifest:
    """A manifest from its bytes.

    Raises:
        ValueError: Torn or edited.
        TypeError: Likewise.
        KeyError: Likewise.
    """
    fields = json.loads(content)
    checksum = fields.pop("checksum", None)
    if checksum is not None and checksum != configuration_hash(fields):
        raise ValueError("checksum")
    tables = {name: TableVersion(**row) for name, row in fields.pop("tables").items()}
    return Manifest(tables=tables, **fields)


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
    _refuse_before_kept(warehouse, moment)
    for version in reversed(list_versions(warehouse)):
        manifest = read_manifest(warehouse, version)
        if datetime.fromisoformat(manifest.created_datetime) <= moment:
            return manifest
    _refuse_erased(warehouse, history_start(warehouse)[0] > 0)
    raise WarehouseError(f"--at: nothing had been published by {at}. Ask for a later time.")


def keep_since(warehouse: Path, moment: datetime) -> None:
    """Say, durably, since when every version is kept; of earlier ones only some are."""
    content = json.dumps({"kept_since_datetime": moment.isoformat()})
    write_named(warehouse / FOLDER / KEPT_SINCE, content.encode())


def _refuse_before_kept(warehouse: Path, moment: datetime) -> None:
    try:
        content = json.loads((warehouse / FOLDER / KEPT_SINCE).read_bytes())
        kept_since = datetime.fromisoformat(content["kept_since_datetime"])
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError):
        raise WarehouseError(
            f"{FOLDER}/{KEPT_SINCE} is torn or was edited. Run `ribline warehouse maintain`."
        ) from None
    if moment < kept_since:
        raise WarehouseError(
            f"--at: versions before {kept_since.isoformat()[:19]} UTC are no longer kept by time. "
            "Ask for a later time, or for one of `ribline sql --versions` by its number."
        )


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
    make_folder(warehouse / FOLDER / COPIES)
    content = _content(manifest)
    write_named(copy_path(warehouse, manifest.version), content)
    try:
        write_once(manifest_path(warehouse, manifest.version), content)
    except FileExistsError:
        raise WarehouseError(
            f"Version {manifest.version} was published by another writer. Run the stage again."
        ) from None
    except BaseException:
        if not manifest_path(warehouse, manifest.version).exists():
            remove_files([copy_path(warehouse, manifest.version)])
        raise


def rewrite_manifest(warehouse: Path, manifest: Manifest) -> None:
    """Write a published manifest again, with other hashes of logs; for repair alone."""
    content = _content(manifest)
    write_named(copy_path(warehouse, manifest.version), content)
    write_named(manifest_path(warehouse, manifest.version), content)


def _content(manifest: Manifest) -> bytes:
    fields = asdict(manifest)
    # Files stand in the order of their keys: their names are not sorted.
    return json.dumps({**fields, "checksum": configuration_hash(fields)}, indent=1).encode()


def complete_publication(warehouse: Path) -> int | None:
    """Publish the newest version from its copy where its manifest is missing.

    A process that died between the two had written everything else. The caller holds the writer
    lock.

    Returns:
        The version published, or None.
    """
    copies = copied_versions(warehouse)
    if not copies or manifest_path(warehouse, copies[-1]).exists():
        return None
    try:
        content = copy_path(warehouse, copies[-1]).read_bytes()
        parse_manifest(content)
    except (ValueError, TypeError, KeyError):
        return None
    write_once(manifest_path(warehouse, copies[-1]), content)
    return copies[-1]


def is_publication_open(warehouse: Path) -> bool:
    """True where the newest copy has no manifest: a writer is at work, died, or it was lost."""
    copies = copied_versions(warehouse)
    return bool(copies) and not manifest_path(warehouse, copies[-1]).exists()


def copied_versions(warehouse: Path) -> list[int]:
    """Numbers of the manifests that have a copy, rising."""
    folder = warehouse / FOLDER / COPIES
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.json"))


def remove_manifests(warehouse: Path, versions: list[int]) -> None:
    """Remove manifests and their copies, durably."""
    paths = [manifest_path(warehouse, version) for version in versions]
    copies = [copy_path(warehouse, version) for version in versions]
    remove_files([path for path in (*paths, *copies) if path.exists()])
