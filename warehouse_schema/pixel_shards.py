"""Film pixels and score maps as memory-mapped .npy files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from warehouse_schema.errors import WarehouseError

# Films whose hash this process has compared; files of the cache never change.
_VERIFIED: set[tuple[Path, int, str]] = set()


def write_array(path: Path, values: NDArray[np.generic]) -> None:
    """Write an array atomically and durably as .npy.

    Args:
        path: Destination; its folder must exist.
        values: Films (n, size, size) uint8, or score maps (n, height, width) uint16.
    """
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    with draft.open("wb") as file:
        np.save(file, values, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_array(path: Path) -> NDArray[np.generic]:
    """Map a .npy file read-only.

    Raises:
        WarehouseError: The file is missing or torn.
    """
    try:
        mapped: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise WarehouseError(
            f"Array file {path.name} is missing or torn. Run `ribline ingest-images` (films) or "
            "`ribline predict` (score maps) again."
        ) from None
    return mapped


def read_film(
    cache: Path, shard_name: str, shard_row: int, pixel_sha256: str | None = None
) -> NDArray[np.uint8]:
    """One cached film, (size, size) uint8, bones bright; 0 in the padding.

    Args:
        cache: Folder of the shards.
        shard_name: File.
        shard_row: Row in it.
        pixel_sha256: Hash that the film must have. A process compares it when it first reads the
            film, which costs about 0.6 ms for a film of 1024 x 1024, and trusts it from then on.

    Raises:
        WarehouseError: The shard is missing, torn or altered, or has no such row.
    """
    path = cache / shard_name
    shard = open_array(path)
    if not 0 <= shard_row < len(shard):
        raise WarehouseError(
            f"Shard {shard_name} has {len(shard)} films, row {shard_row} was asked for. "
            "Run `ribline ingest-images` again."
        )
    film = np.asarray(shard[shard_row], dtype=np.uint8)
    if pixel_sha256 is not None and (path, shard_row, pixel_sha256) not in _VERIFIED:
        if hashlib.sha256(film.tobytes()).hexdigest() != pixel_sha256:
            raise WarehouseError(
                f"Shard {shard_name}: row {shard_row} is not the film that was written. Delete "
                "the file and run `ribline ingest-images` again."
            )
        _VERIFIED.add((path, shard_row, pixel_sha256))
    return film
