"""The cache of uint8 films: shards of films that a training process maps.

A shard is written once and never changed; its name is the hash of its films, so that the same
films give the same files. What lies where is the table image_pixels, which alone makes a shard
visible. Until that table is published, a journal beside each shard says what it holds, so that an
ingest which was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.films.dicom_header import HeaderFacts
from etl.films.film_pixels import FilmGeometry, transform_hash
from warehouse_schema.errors import WarehouseError
from warehouse_schema.pixel_shards import open_array, sync_folder, write_array
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES

FILMS_PER_SHARD = 256
JOURNAL_SUFFIX = ".journal.json"
Row = dict[str, Any]


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
        self._waiting: list[tuple[Row, NDArray[np.uint8]]] = []
        self.rows: dict[str, Row] = {}

    def add(
        self,
        image_id: str,
        film: NDArray[np.uint8],
        geometry: FilmGeometry,
        *,
        facts: HeaderFacts | None = None,
        source_sha256: str | None = None,
    ) -> None:
        """Take up the film of an image.

        Args:
            image_id: Image.
            film: (size_px, size_px) uint8.
            geometry: The film's geometry.
            facts: Header of a DICOM image, for spacing and orientation.
            source_sha256: Hash of the source file, by which a later ingest finds the film again.
        """
        assert film.shape == (self.size_px, self.size_px)
        row = {
            "image_id": image_id,
            "source_sha256": source_sha256,
            "transform_hash": self._transform,
            "size_px": geometry.size_px,
            "scale": geometry.scale,
            "pad_left_px": geometry.pad_left_px,
            "pad_top_px": geometry.pad_top_px,
            "valid_width_px": geometry.valid_width_px,
            "valid_height_px": geometry.valid_height_px,
            "pixel_sha256": hashlib.sha256(film.tobytes()).hexdigest(),
            "row_spacing_mm": facts.pixel_spacing_mm if facts else None,
            "column_spacing_mm": facts.column_spacing_mm if facts else None,
            "spacing_origin": facts.spacing_origin if facts else None,
            "patient_orientation": _orientation(facts),
        }
        self._waiting.append((row, film))
        if len(self._waiting) == FILMS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write the films that wait; afterwards ``rows`` holds image_pixels rows by image."""
        if not self._waiting:
            return
        films = np.stack([film for _, film in self._waiting])
        digest = hashlib.sha256(films.tobytes()).hexdigest()
        path = self._cache / f"films-{self._transform}-{digest[:16]}.npy"
        if not _holds(path, films):
            write_array(path, films)
        rows = [
            {**row, "shard_name": path.name, "shard_row": number}
            for number, (row, _) in enumerate(self._waiting)
        ]
        if any(row["source_sha256"] is not None for row in rows):
            _write_journal(path, rows)
        for row in rows:
            self.rows[row["image_id"]] = _without_source(row)
        self._waiting.clear()


def cached_pixel_rows(store: Store, size_px: int) -> dict[str, Row]:
    """image_pixels rows of this transform whose shard is on disk, by SHA-256 of the source file.

    Rows are those of the warehouse, and those of shards that a killed ingest has left.
    """
    transform = transform_hash(size_px)
    images = store.read(IMAGES, columns=["image_id", "source_sha256"])
    pixels = store.read(IMAGE_PIXELS, where={"transform_hash": transform})
    hashes = dict(
        zip(images["image_id"].to_pylist(), images["source_sha256"].to_pylist(), strict=True)
    )
    present = {path.name for path in store.home.cache.glob("*.npy")}
    found = {
        row["source_sha256"]: _without_source(row)
        for journal in sorted(store.home.cache.glob(f"films-{transform}-*{JOURNAL_SUFFIX}"))
        for row in _read_journal(journal)
        if row["source_sha256"] is not None and row["shard_name"] in present
    }
    return found | {
        hashes[row["image_id"]]: row
        for row in pixels.to_pylist()
        if row["image_id"] in hashes and row["shard_name"] in present
    }


def check_shards(cache: Path, rows: list[Row]) -> None:
    """See that every shard that is about to be published is on disk.

    Raises:
        WarehouseError: One is missing.
    """
    missing = {row["shard_name"] for row in rows} - {path.name for path in cache.glob("*.npy")}
    if missing:
        raise WarehouseError(
            f"cache: {len(missing)} shards vanished while films were read. Run "
            "`ribline ingest-images` again."
        )


def remove_journals(cache: Path, rows: list[Row]) -> None:
    """Remove the journals of shards that are published now."""
    for shard_name in {row["shard_name"] for row in rows}:
        _journal_of(cache / shard_name).unlink(missing_ok=True)


def _holds(path: Path, films: NDArray[np.uint8]) -> bool:
    """Whether a shard of this name is there and undamaged."""
    try:
        return path.is_file() and np.array_equal(open_array(path), films)
    except WarehouseError:
        return False


def _journal_of(shard: Path) -> Path:
    return shard.with_name(shard.stem + JOURNAL_SUFFIX)


def _write_journal(shard: Path, rows: list[Row]) -> None:
    path = _journal_of(shard)
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def _read_journal(path: Path) -> list[Row]:
    try:
        rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return rows


def _without_source(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name != "source_sha256"}


def _orientation(facts: HeaderFacts | None) -> str | None:
    """Two values of Patient Orientation, letters alone: other text could be anything."""
    parts = facts.orientation if facts else ()
    is_plain = len(parts) == 2 and all(set(part) <= set("ALRPHF") and part for part in parts)
    return "/".join(parts) if is_plain else None
