"""The cache survives kills, notices damage, forgets what nobody names, and knows its geometry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import etl.films.film_pixels
import etl.films.image_ingest
import etl.films.pixel_cache
from etl.films.cache_pruning import prune_cache
from etl.films.film_pixels import square_film
from etl.films.image_ingest import IngestSummary, ingest_images
from warehouse_schema.errors import ArgumentError, WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES

WriteFilm = Callable[..., Path]
SMALL = np.random.default_rng(1).integers(0, 4096, (160, 130)).astype(np.uint16)
LATER = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def ingest(store: Store, tmp_path: Path, key: str) -> Callable[..., IngestSummary]:
    def run(**changes: Any) -> IngestSummary:
        arguments: dict[str, Any] = {
            "store": store,
            "folder": tmp_path / "dicom",
            "source": "small",
            "pseudonym_key": key,
            "size_px": 64,
            "is_patient_required": False,
            **changes,
        }
        return ingest_images(**arguments)

    return run


def shards(store: Store) -> list[Path]:
    return sorted(store.home.cache.glob("*.npy"))


KILLED_INGEST = """
import os, signal, sys
from pathlib import Path
import etl.films.film_pool, etl.films.image_ingest, etl.films.pixel_cache
from warehouse_schema.home import Home
from warehouse_schema.store import Store

etl.films.pixel_cache.FILMS_PER_SHARD = 2
n_films = int(sys.argv[3])
read = etl.films.image_ingest.read_films

def read_and_die(orders, **rest):
    for number, reading in enumerate(read(orders, **rest)):
        if number == n_films:
            os.kill(os.getpid(), signal.SIGKILL)
        yield reading

if __name__ == "__main__":
    etl.films.image_ingest.read_films = read_and_die
    etl.films.image_ingest.ingest_images(
        store=Store(Home(Path(sys.argv[1]))), folder=Path(sys.argv[2]), source="small",
        pseudonym_key="0123456789abcdef0123456789abcdef", size_px=64, is_patient_required=False,
    )
"""


def test_a_killed_ingest_shows_nothing_and_the_next_goes_on(
    *,
    store: Store,
    tmp_path: Path,
    write_film: WriteFilm,
    ingest: Callable[..., IngestSummary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed at the sixth of seven films: two shards of two films are kept, not decoded again.

    The killed process's pipes close only when its workers have ended too.
    """
    for number in range(7):
        write_film(f"{number}.dcm", SMALL + number)
    script = tmp_path / "killed.py"
    script.write_text(KILLED_INGEST)
    command = [sys.executable, script, store.home.root, tmp_path / "dicom", "5"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert store.read(IMAGE_PIXELS).num_rows == 0
    assert len(shards(store)) == 2

    monkeypatch.setattr(etl.films.pixel_cache, "FILMS_PER_SHARD", 2)
    summary = ingest()
    assert (summary.n_frontal, summary.n_decoded) == (7, 3)
    assert not list(store.home.cache.glob("*.json"))
    undisturbed = Store(Home(tmp_path / "undisturbed"))
    ingest(store=undisturbed)
    assert store.read(IMAGE_PIXELS) == undisturbed.read(IMAGE_PIXELS)
    assert [each.name for each in shards(store)] == [each.name for each in shards(undisturbed)]


def test_a_torn_journal_only_costs_decoding(
    store: Store, write_film: WriteFilm, ingest: Callable[..., IngestSummary]
) -> None:
    write_film("a.dcm", SMALL)
    (
        store.home.cache / f"films-{etl.films.film_pixels.transform_hash(64)}-x.journal.json"
    ).write_text('[{"image_id"')
    assert ingest().n_decoded == 1


def test_a_damaged_shard_is_written_again_and_never_shown(
    store: Store, write_film: WriteFilm, ingest: Callable[..., IngestSummary]
) -> None:
    write_film("a.dcm", SMALL)
    ingest()
    (row,) = store.read(IMAGE_PIXELS).to_pylist()
    (shard,) = shards(store)
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(WarehouseError, match="is not the film that was written"):
        read_film(store.home.cache, row["shard_name"], row["shard_row"], row["pixel_sha256"])
    shard.unlink()
    ingest()
    assert shard.read_bytes() == good
    read_film(store.home.cache, row["shard_name"], row["shard_row"], row["pixel_sha256"])


def test_a_new_transform_makes_the_films_again_and_pruning_takes_the_old(
    *,
    store: Store,
    write_film: WriteFilm,
    ingest: Callable[..., IngestSummary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_film("a.dcm", SMALL)
    ingest()
    (old,) = shards(store)
    monkeypatch.setattr(etl.films.film_pixels, "TRANSFORM_VERSION", 99)
    assert ingest().n_decoded == 1
    draft = store.home.cache / ".films-x.npy.draft-1"
    draft.write_bytes(b"half")
    kept = prune_cache(store=store, now=LATER)
    assert (kept.n_shards, kept.n_removed, kept.n_leftovers) == (2, 0, 1)
    assert old.is_file()  # version 1 of the warehouse still names it
    assert not draft.exists()
    assert prune_cache(store=store, now=LATER, is_history_kept=False).n_removed == 1
    assert not old.exists()
    assert ingest().n_decoded == 0


def test_pruning_spares_what_a_running_ingest_has_not_published(
    store: Store, write_film: WriteFilm, ingest: Callable[..., IngestSummary]
) -> None:
    write_film("a.dcm", SMALL)
    ingest()
    fresh = store.home.cache / "films-unpublished.npy"
    np.save(fresh, np.zeros((1, 64, 64), np.uint8))
    assert prune_cache(store=store, now=datetime.now(UTC)).n_removed == 0
    assert prune_cache(store=store, now=LATER).n_removed == 1
    assert not fresh.exists()
    with pytest.raises(ArgumentError, match="keep_days is 0"):
        prune_cache(store=store, now=LATER, keep_days=0)


def test_pruning_stops_at_a_damaged_warehouse(
    store: Store, write_film: WriteFilm, ingest: Callable[..., IngestSummary]
) -> None:
    write_film("a.dcm", SMALL)
    ingest()
    (store.home.cache / "films-unpublished.npy").write_bytes(b"x")
    for file in (store.home.warehouse / "image_pixels").glob("*.parquet"):
        file.write_bytes(b"damaged")
    with pytest.raises(WarehouseError):
        prune_cache(store=Store(store.home), now=LATER)
    assert len(shards(store)) == 2


def test_a_shard_that_vanishes_while_films_are_read_is_not_published(
    *,
    store: Store,
    write_film: WriteFilm,
    ingest: Callable[..., IngestSummary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_film("a.dcm", SMALL)
    pixel_rows = etl.films.image_ingest._pixel_rows

    def vanish(*arguments: Any) -> Any:
        for shard in shards(store):
            shard.unlink()
        return pixel_rows(*arguments)

    monkeypatch.setattr(etl.films.image_ingest, "_pixel_rows", vanish)
    with pytest.raises(WarehouseError, match="1 shards vanished"):
        ingest()
    assert store.read(IMAGES).num_rows == 0


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, (None, None, None)),
        ({"ImagerPixelSpacing": [0.15, 0.2]}, (0.15, 0.2, "detector")),
        ({"PixelSpacing": [0.14, 0.14], "ImagerPixelSpacing": [0.15, 0.15]},
         (0.15, 0.15, "detector")),
        ({"PixelSpacing": [0.14, 0.13]}, (0.14, 0.13, "unstated")),
        ({"PixelSpacing": [0.14, 0.13], "PixelSpacingCalibrationType": "FIDUCIAL"},
         (0.14, 0.13, "calibrated")),
        ({"NominalScannedPixelSpacing": [0.17, 0.17]}, (0.17, 0.17, "scanned")),
        ({"ImagerPixelSpacing": [0, 0], "PixelSpacing": [0.2, 0.2]}, (0.2, 0.2, "unstated")),
    ],
)  # fmt: skip
def test_spacing_and_its_origin_are_kept_with_the_film(
    *,
    store: Store,
    write_film: WriteFilm,
    ingest: Callable[..., IngestSummary],
    monkeypatch: pytest.MonkeyPatch,
    tags: dict[str, Any],
    expected: tuple[float | None, float | None, str | None],
) -> None:
    monkeypatch.setattr(etl.films.image_ingest, "read_films", read_here)
    write_film("a.dcm", SMALL, PatientOrientation=["L", "F"], **tags)
    ingest()
    (row,) = store.read(IMAGE_PIXELS).to_pylist()
    assert (row["row_spacing_mm"], row["column_spacing_mm"], row["spacing_origin"]) == expected
    assert row["patient_orientation"] == "L/F"


def read_here(orders: Any, *, n_processes: int, cached_sha256: Any) -> Any:
    from etl.films.film_reading import read_film_file

    return (read_film_file(order, cached_sha256) for order in orders)


@given(
    rows=st.integers(128, 700),
    columns=st.integers(128, 700),
    size=st.sampled_from([64, 128, 256, 512]),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_source_pixel_is_found_in_the_cache_and_back(
    rows: int, columns: int, size: int, at: tuple[float, float]
) -> None:
    """A bright square of the source lies where the geometry says, and is mapped back to itself."""
    side = 2 * max(8, -(-3 * max(rows, columns) // (2 * size)))
    top = round(at[0] * (rows - side))
    left = round(at[1] * (columns - side))
    grey = np.zeros((rows, columns), np.uint16)
    grey[top : top + side, left : left + side] = 65535
    film, geometry = square_film(grey, size)
    weights = film.astype(float)
    y, x = ((weights.sum(axis) * (np.arange(size) + 0.5)).sum() / weights.sum() for axis in (1, 0))
    expected_x = (left + side / 2) * geometry.scale + geometry.pad_left_px
    expected_y = (top + side / 2) * geometry.scale + geometry.pad_top_px
    assert abs(x - expected_x) < 0.5
    assert abs(y - expected_y) < 0.5
    back_x = (x - geometry.pad_left_px) / geometry.scale
    back_y = (y - geometry.pad_top_px) / geometry.scale
    assert left <= back_x <= left + side
    assert top <= back_y <= top + side
    valid = film[geometry.pad_top_px :][: geometry.valid_height_px, geometry.pad_left_px :]
    assert valid[:, : geometry.valid_width_px].sum() == film.sum()
