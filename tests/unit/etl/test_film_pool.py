"""What is too large costs one reading: bombs of every kind, and the limits of a worker."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom.uid as uids
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from unit.etl.conftest import film_dataset

import etl.films.film_reading
from etl.films.film_pool import WorkerLimits, read_films
from etl.films.film_reading import ReadingOrder, read_film_file

GIB = 2**30


def saved(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def encapsulated(frame: bytes, syntax: str, **tags: object) -> bytes:
    dataset = film_dataset(**tags)
    dataset.file_meta.TransferSyntaxUID = uids.UID(syntax)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset)


def deflated_bomb() -> bytes:
    """4 MB that inflate to 4 GiB, behind a whole header."""
    dataset = film_dataset()
    dataset.file_meta.TransferSyntaxUID = uids.DeflatedExplicitVRLittleEndian
    content = saved(dataset)
    end = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(9, wbits=-15)
    piece = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return content[:end] + piece * 4096 + deflater.flush()


def hidden_deflated_bomb() -> bytes:
    """The same, its transfer syntax behind 8 KB of private information."""
    content = deflated_bomb()
    end = 144 + int.from_bytes(content[140:144], "little")
    private = b"\x02\x00\x02\x01OB\x00\x00" + (8192).to_bytes(4, "little") + bytes(8192)
    return content[:144] + private + content[144:end] + content[end:]


def jpeg_2000_of(side: int) -> bytes:
    """A codestream of a few bytes that says it has ``side`` squared pixels."""
    small = bytes(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16), codecformat="j2k"))
    sides = side.to_bytes(4, "big") * 2
    return small[:8] + sides + small[16:24] + sides + small[32:]


BOMBS = {
    "deflated": (deflated_bomb, "inflates to more than 256 MiB"),
    "deflated, syntax far behind": (hidden_deflated_bomb, "inflates to more than 256 MiB"),
    "rows and columns": (
        lambda: saved(film_dataset(Rows=60000, Columns=60000)), "more than 64000000 pixels"),
    "frames": (
        lambda: saved(film_dataset(NumberOfFrames=10**8)), "more than 64000000 pixels"),
    "JPEG 2000 codestream": (
        lambda: encapsulated(jpeg_2000_of(60000), uids.JPEG2000Lossless),
        "do not have the header's rows"),
    "JPEG 2000 codestream and header": (
        lambda: encapsulated(
            jpeg_2000_of(60000), uids.JPEG2000Lossless, Rows=60000, Columns=60000),
        "more than 64000000 pixels"),
    "RLE": (
        lambda: encapsulated(bytes(64) + b"\x81\0" * 10**6, uids.RLELossless),
        "cannot be decoded"),
}  # fmt: skip


@pytest.fixture
def orders(tmp_path: Path) -> Callable[[list[bytes]], list[ReadingOrder]]:
    def write(contents: list[bytes]) -> list[ReadingOrder]:
        paths = [tmp_path / f"{number}.dcm" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return [ReadingOrder(path=path, size_px=64, time_zone="UTC") for path in paths]

    return write


def test_every_bomb_costs_its_own_reading(
    orders: Callable[[list[bytes]], list[ReadingOrder]],
) -> None:
    """Two gibibytes are enough for all of them, with healthy films between."""
    contents = [
        content for make, _ in BOMBS.values() for content in (make(), saved(film_dataset()))
    ]
    readings = list(
        read_films(orders(contents), n_processes=2, limits=WorkerLimits(n_bytes=2 * GIB))
    )
    assert all(reading.fault is None and reading.film is not None for reading in readings[1::2])
    for reading, (name, (_, reason)) in zip(readings[::2], BOMBS.items(), strict=True):
        assert reason in (reading.fault or ""), name
        assert reading.source_sha256


def test_a_worker_keeps_to_its_memory(
    orders: Callable[[list[bytes]], list[ReadingOrder]],
) -> None:
    """A kilobyte that is a whole film of 64 million pixels is read, or refused for its memory."""
    image = np.full((8000, 8000), 7, np.uint16)
    frame = bytes(imagecodecs.jpeg2k_encode(image, codecformat="j2k", bitspersample=12))
    film = encapsulated(frame, uids.JPEG2000Lossless, Rows=8000, Columns=8000)
    assert len(film) < 3000
    (refused,) = read_films(orders([film]), n_processes=1, limits=WorkerLimits(n_bytes=GIB // 2))
    assert refused.fault is not None


def test_a_file_larger_than_any_film_is_hashed_but_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etl.films.film_reading, "MAX_FILE_BYTES", 1000)
    path = tmp_path / "large.dcm"
    path.write_bytes(saved(film_dataset()))
    reading = read_film_file(ReadingOrder(path=path, size_px=64, time_zone="UTC"))
    assert reading.fault == "the file is larger than 512 MiB"
    assert reading.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
