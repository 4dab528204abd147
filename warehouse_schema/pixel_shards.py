"""Film pixels and score maps as memory-mapped .npy files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from warehouse_schema.errors import WarehouseError


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


def read_film(cache: Path, shard_name: str, shard_row: int) -> NDArray[np.uint8]:
    """One cached film, (size, size) uint8, bones bright; 0 in the padding.

    Raises:
        WarehouseError: The shard is missing or torn, or has no such row.
    """
    shard = open_array(cache / shard_name)
    if not 0 <= shard_row < len(shard):
        raise WarehouseError(
            f"Shard {shard_name} has {len(shard)} films, row {shard_row} was asked for. "
            "Run `ribline ingest-images` again."
        )
    return np.asarray(shard[shard_row], dtype=np.uint8)
