"""The cache of uint8 films: shards of films that a training process maps.

A shard is written once and never changed; its name is the hash of its films, so that the same
films give the same files. What lies where is the table image_pixels, which alone makes a shard
visible.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.film_pixels import FilmGeometry, transform_hash
from warehouse_schema.pixel_shards import write_array
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES

FILMS_PER_SHARD = 256


class ShardWriter:
    """Writes films to shards in the order they come.

    Args:
        cache: Folder of the cache.
        size_px: Side of every film.
    """

    def __init__(self, *, cache: Path, size_px: int) -> None:
        self._cache = cache
        self.size_px = size_px
        self._transform = transform_hash(size_px)
        self._waiting: list[tuple[str, NDArray[np.uint8], FilmGeometry]] = []
        self.rows: dict[str, dict[str, Any]] = {}

    def add(self, image_id: str, film: NDArray[np.uint8], geometry: FilmGeometry) -> None:
        """Take up the film of an image, (size_px, size_px) uint8."""
        assert film.shape == (self.size_px, self.size_px)
        self._waiting.append((image_id, film, geometry))
        if len(self._waiting) == FILMS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write the films that wait; afterwards ``rows`` holds image_pixels rows by image."""
        if not self._waiting:
            return
        films = np.stack([film for _, film, _ in self._waiting])
        digest = hashlib.sha256(films.tobytes()).hexdigest()
        shard_name = f"films-{self._transform}-{digest[:16]}.npy"
        path = self._cache / shard_name
        if not path.is_file():
            write_array(path, films)
        for number, (image_id, film, geometry) in enumerate(self._waiting):
            self.rows[image_id] = {
                "image_id": image_id,
                "transform_hash": self._transform,
                "shard_name": shard_name,
                "shard_row": number,
                "size_px": geometry.size_px,
                "scale": geometry.scale,
                "pad_left_px": geometry.pad_left_px,
                "pad_top_px": geometry.pad_top_px,
                "valid_width_px": geometry.valid_width_px,
                "valid_height_px": geometry.valid_height_px,
                "pixel_sha256": hashlib.sha256(film.tobytes()).hexdigest(),
            }
        self._waiting.clear()


def cached_pixel_rows(store: Store, size_px: int) -> dict[str, dict[str, Any]]:
    """image_pixels rows of this transform whose shard is on disk, by SHA-256 of the source file."""
    images = store.read(IMAGES, columns=["image_id", "source_sha256"])
    pixels = store.read(IMAGE_PIXELS, where={"transform_hash": transform_hash(size_px)})
    hashes = dict(
        zip(images["image_id"].to_pylist(), images["source_sha256"].to_pylist(), strict=True)
    )
    present = {path.name for path in store.home.cache.glob("*.npy")}
    return {
        hashes[row["image_id"]]: row
        for row in pixels.to_pylist()
        if row["image_id"] in hashes and row["shard_name"] in present
    }
