"""Damaged DICOM files: nobody dies, nothing is lost, and the same file always ends alike."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.etl.mutated_dicom import corpus, mutated

from etl.films.dicom_header import UnusableFileError, open_dataset, read_header
from etl.films.film_pool import WorkerLimits, read_films
from etl.films.film_reading import ReadingOrder, read_film_file
from etl.films.film_selection import select_by_tags
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.runs import QUARANTINE

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("RIBLINE_SHARED_DATA", ROOT.parent / "shared" / "data")) / "dicom_real"
N_FILES = 500
N_SOAK_FILES = 20_000
SIZE_PX = 64
LIMITS = WorkerLimits(cpu_seconds=20)
INGEST = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import etl.films.film_pool, etl.films.image_ingest
from warehouse_schema.home import Home
from warehouse_schema.store import Store

def read(orders, **rest):
    limits = etl.films.film_pool.WorkerLimits(cpu_seconds=int(sys.argv[3]))
    return etl.films.film_pool.read_films(orders, limits=limits, **rest)

if __name__ == "__main__":
    etl.films.image_ingest.read_films = read
    summary = etl.films.image_ingest.ingest_images(
        store=Store(Home(Path(sys.argv[1]))), folder=Path(sys.argv[2]), source="fuzzed",
        pseudonym_key="0123456789abcdef", size_px=64, n_processes=2, is_patient_required=False,
    )
    json.dump(asdict(summary), sys.stdout)
"""


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return corpus(REAL if REAL.is_dir() else None)


def files_accounted_for(files: list[bytes], folder: Path, numbers: range) -> int:
    """Ingest a range of files, hold the tables against a second reading, and count the files.

    A file without damage gives the film of its original; a damaged one ends as the same image, or
    with the same reason in quarantine, in both readings, which differ in order and processes.
    """
    dicom = folder / "dicom"
    dicom.mkdir(parents=True)
    healthy: dict[str, bytes] = {}
    for number in numbers:
        content, original = mutated(files, number)
        (dicom / f"{number}.dcm").write_bytes(content)
        if original is not None:
            healthy[hashlib.sha256(content).hexdigest()] = original
    script = folder / "ingest.py"
    script.write_text(INGEST)
    ended = subprocess.run(
        [sys.executable, script, folder / "home", dicom, str(LIMITS.cpu_seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=40 * len(numbers),
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stderr == ""
    summary = json.loads(ended.stdout)
    assert summary["n_files"] == len(numbers) == summary["n_images"] + summary["n_quarantined"]
    assert summary["n_images"] > len(numbers) // 10
    assert summary["n_quarantined"] > len(numbers) // 10

    store = Store(Home(folder / "home"))
    reasons = {row["key"]: row["reason"] for row in store.read(QUARANTINE).to_pylist()}
    pixels = {row["image_id"]: row["pixel_sha256"] for row in store.read(IMAGE_PIXELS).to_pylist()}
    images = {row["source_sha256"]: row for row in store.read(IMAGES).to_pylist()}
    orders = [
        ReadingOrder(path=path, size_px=SIZE_PX, time_zone="UTC")
        for path in sorted(dicom.iterdir(), reverse=True)
    ]
    filmed = set()
    for reading in read_films(orders, n_processes=1, limits=LIMITS):
        content = reading.path.read_bytes()
        assert reading.source_sha256 == hashlib.sha256(content).hexdigest()
        image = images.get(reading.source_sha256)
        if image is None:
            keys = [key for key in reasons if key.startswith(reading.source_sha256[:16])]
            assert keys
            assert reading.fault is None or reading.fault in {reasons[key] for key in keys}
            continue
        assert reading.fault is None
        if reading.film is not None:
            filmed.add(image["image_id"])
            assert hashlib.sha256(reading.film.tobytes()).hexdigest() == pixels[image["image_id"]]
        else:
            assert image["image_id"] not in pixels
    assert filmed == set(pixels)
    _check_healthy(healthy, images, pixels, folder)
    assert filmed
    return int(summary["n_images"]) + int(summary["n_quarantined"])


def _check_healthy(
    healthy: dict[str, bytes],
    images: dict[str, dict[str, Any]],
    pixels: dict[str, str],
    folder: Path,
) -> None:
    films: dict[bytes, str | None] = {}
    path = folder / "original.dcm"
    for sha256, original in healthy.items():
        if sha256 not in images:
            continue
        if original not in films:
            path.write_bytes(original)
            film = read_film_file(ReadingOrder(path=path, size_px=SIZE_PX, time_zone="UTC")).film
            films[original] = None if film is None else hashlib.sha256(film.tobytes()).hexdigest()
        assert pixels.get(images[sha256]["image_id"]) == films[original]
    assert len(set(films.values())) > 2


def test_five_hundred_damaged_files(files: list[bytes], tmp_path: Path) -> None:
    assert files_accounted_for(files, tmp_path, range(N_FILES)) == N_FILES


@pytest.mark.soak
@pytest.mark.parametrize("first", range(N_FILES, N_FILES + N_SOAK_FILES, N_FILES))
def test_twenty_thousand_damaged_files(
    files: list[bytes], tmp_path: Path, pytestconfig: pytest.Config, first: int
) -> None:
    """Resumable: a range that has passed with this code is not run again."""
    assert pytestconfig.cache is not None
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(ROOT.glob("etl/**/*.py"))))
    key = f"ribline/dicom_fuzzing/{first}"
    if pytestconfig.cache.get(key, None) == code.hexdigest():
        return
    assert files_accounted_for(files, tmp_path, range(first, first + N_FILES)) == N_FILES
    pytestconfig.cache.set(key, code.hexdigest())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_header_is_read_or_refused(files: list[bytes], data: st.DataObject) -> None:
    """Parsing alone, which is Python, with damage that hypothesis chooses and shrinks."""
    content = bytearray(data.draw(st.sampled_from(files))[:3000])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=12))
        content[place : place + data.draw(st.integers(0, 12))] = piece
    try:
        facts = read_header(open_dataset(bytes(content)))
    except UnusableFileError:
        return
    assert select_by_tags(facts).reason


@given(st.binary(max_size=2000))
def test_any_bytes_are_refused(content: bytes) -> None:
    for prefix in (b"", bytes(128) + b"DICM"):
        with pytest.raises(UnusableFileError):
            read_header(open_dataset(prefix + content))
