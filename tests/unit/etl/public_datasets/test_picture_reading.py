"""PNG and JPEG films: grey levels, limits, damage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from etl.films.dicom_header import UnusableFileError
from etl.films.film_reading import FilmReading
from etl.public_datasets.picture_reading import PictureOrder, decode_picture
from etl.public_datasets.published_films import PublishedFilm, select_by_view

GREY = (np.add.outer(np.arange(60), np.arange(40)) * 2).astype(np.uint8)


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, image)[1])


def read(path: Path, content: bytes, view: str | None = "PA", **changes: Any) -> FilmReading:
    path.write_bytes(content)
    film = PublishedFilm(film="f", path=path, patient="p")
    order = PictureOrder(
        path=path,
        size_px=64,
        time_zone="UTC",
        facts=film.facts,
        selection=select_by_view(view),
        **changes,
    )
    return order.read()


def huge_png() -> bytes:
    """A PNG whose header claims 50,000 x 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
    )


@pytest.mark.parametrize("code", [None, cv2.COLOR_GRAY2RGB, cv2.COLOR_GRAY2RGBA])
def test_eight_bits_stay_as_they_are(code: int | None) -> None:
    image = GREY if code is None else cv2.cvtColor(GREY, code)
    assert np.array_equal(decode_picture(encoded(image)), GREY)
    assert np.array_equal(decode_picture(encoded(image), is_inverted=True), 255 - GREY)


def test_sixteen_bits_are_spread_over_the_full_range() -> None:
    stored = GREY.astype(np.uint16) * 10 + 500
    grey = decode_picture(encoded(stored))
    assert grey.dtype == np.uint16
    assert (grey.min(), grey.max()) == (0, 65_535)
    order = np.argsort(stored.ravel(), kind="stable")
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()


def test_a_flat_picture_is_no_fault() -> None:
    assert decode_picture(encoded(np.full((9, 9), 700, np.uint16))).shape == (9, 9)


def test_a_film_and_its_geometry(tmp_path: Path) -> None:
    reading = read(tmp_path / "a.png", encoded(GREY))
    assert reading.fault is None
    assert reading.facts is not None
    assert (reading.facts.rows_px, reading.facts.columns_px) == GREY.shape
    assert reading.film is not None
    assert reading.film.shape == (64, 64)
    assert reading.geometry is not None
    assert reading.geometry.valid_width_px == 43
    again = read(
        tmp_path / "a.png", encoded(GREY), cached_sha256=frozenset({reading.source_sha256})
    )
    assert again.film is None
    assert again.facts == reading.facts


@pytest.mark.parametrize("view", ["LATERAL", None])
def test_films_that_are_not_frontal_have_no_pixels(tmp_path: Path, view: str | None) -> None:
    reading = read(tmp_path / "a.png", encoded(GREY), view)
    assert reading.film is None
    assert reading.selection is not None
    assert reading.selection.is_frontal_chest is False


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the film is no readable PNG or JPEG"),
        (b"GIF89a" + b"\0" * 20, "the film is no readable PNG or JPEG"),
        (encoded(GREY)[:50], "the film is no readable PNG or JPEG"),
        (huge_png(), "the film is no readable PNG or JPEG"),
    ],
)
def test_damage_is_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    reading = read(tmp_path / "a.png", content)
    assert reading.fault == fault
    assert reading.film is None


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    order = PictureOrder(
        path=path,
        size_px=64,
        time_zone="UTC",
        facts=PublishedFilm(film="f", path=path, patient="p").facts,
        selection=select_by_view("PA"),
    )
    assert order.read().fault == "the file cannot be read"


def test_floating_point_pictures_are_refused() -> None:
    with pytest.raises(UnusableFileError):
        decode_picture(encoded(GREY.astype(np.float32), ".tiff"))
