"""Files that a power cut cannot take back: written, flushed, and only then named.

Everything of a commit that must be on disk before it is acknowledged goes through these functions.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file and flush it; its name is durable after ``sync_folder``."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Flush a file that another library wrote."""
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder: what was made, renamed or removed in it."""
    _sync(folder)


def make_folder(folder: Path) -> None:
    """Make a folder durably, with those above it; an existing one is left as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_named(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole or not at all, in place of an older one of its name.

    Args:
        path: The file.
        content: Its bytes.
        mode: Its permissions, less what the process's mask takes away.
    """
    draft = path.with_name(f".draft-{os.getpid()}-{path.name}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
        write_file(draft, content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_once(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        FileExistsError: There is a file of this name.
    """
    draft = path.with_name(f".draft-{os.getpid()}-{path.name}")
    write_file(draft, content)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def remove_files(paths: list[Path]) -> None:
    """Remove files, durably."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
