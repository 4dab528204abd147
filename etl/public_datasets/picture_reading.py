"""A published PNG or JPEG to one film: what a worker process does with its path."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from etl.films.dicom_header import MAX_FILE_BYTES, MAX_PIXELS, HeaderFacts, UnusableFileError
from etl.films.film_pixels import PERCENTILES, square_film
from etl.films.film_reading import FilmReading, ReadingOrder
from etl.films.film_selection import Selection, select_by_image
from etl.films.frontal_check import check_frontal

FORMATS = ("PNG", "JPEG")


@dataclass(frozen=True, kw_only=True)
class PictureOrder(ReadingOrder):
    """What a worker is asked to read.

    Attributes:
        facts: What the data set's tables say; rows and columns are taken from the picture.
        selection: Whether it is a frontal chest film, by its published view.
        is_inverted: True where bones are dark in the picture.
    """

    facts: HeaderFacts
    selection: Selection
    is_inverted: bool = False

    def read(self, cached_sha256: Set[str] = frozenset()) -> FilmReading:
        """Read the picture; what is wrong with it comes back as its fault, never as an error."""
        try:
            content = self.path.read_bytes()
        except (OSError, ValueError):
            return FilmReading(path=self.path, source_sha256="", fault="the file cannot be read")
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            return self._read(content, sha256)
        except UnusableFileError as error:
            return FilmReading(path=self.path, source_sha256=sha256, fault=str(error))
        except MemoryError:
            fault = "reading needs more memory than a worker may take"
            return FilmReading(path=self.path, source_sha256=sha256, fault=fault)

    def _read(self, content: bytes, sha256: str) -> FilmReading:
        columns_px, rows_px = _size(content)
        selection, film, geometry = self.selection, None, None
        is_cached = sha256 in self.cached_sha256
        if selection.is_frontal_chest is None or (selection.is_frontal_chest and not is_cached):
            grey = decode_picture(content, is_inverted=self.is_inverted)
            film, geometry = square_film(grey, self.size_px)
            if selection.is_frontal_chest is None:
                selection = select_by_image(selection, check_frontal(_eight_bits(grey)))
            if not selection.is_frontal_chest or is_cached:
                film = geometry = None
        return FilmReading(
            path=self.path,
            source_sha256=sha256,
            facts=replace(self.facts, rows_px=rows_px, columns_px=columns_px),
            selection=selection,
            film=film,
            geometry=geometry,
        )


def decode_picture(
    content: bytes, *, is_inverted: bool = False
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Grey levels of a PNG or JPEG, (rows, columns), bones bright.

    8 bits stay as they are; of three or four channels the first counts (some grey films were
    published as RGBA). 16 bits hold a scanner's own range, which is spread from percentile to
    percentile as for a DICOM film without a window.

    Raises:
        UnusableFileError: It cannot be decoded.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UnusableFileError("the film is no readable PNG or JPEG")
    stored = np.ascontiguousarray(image if image.ndim == 2 else image[:, :, 0])
    grey = _spread(stored) if stored.dtype == np.uint16 else stored.astype(np.uint8)
    return np.bitwise_not(grey) if is_inverted else grey


def _spread(stored: NDArray[Any]) -> NDArray[np.uint16]:
    counts = np.cumsum(np.bincount(stored.ravel(), minlength=65_536))
    low, high = np.searchsorted(counts, np.array(PERCENTILES) / 100.0 * counts[-1])
    levels = np.clip((np.arange(65_536.0) - low) / max(high - low, 1), 0.0, 1.0)
    table: NDArray[np.uint16] = np.round(levels * 65_535).astype(np.uint16)
    spread: NDArray[np.uint16] = table[stored]
    return spread


def _size(content: bytes) -> tuple[int, int]:
    """Columns and rows from the picture's header, before anything is decoded."""
    if len(content) > MAX_FILE_BYTES:
        raise UnusableFileError(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            size = picture.size
    except Exception:  # noqa: BLE001 - a damaged file may raise anything in the parser
        raise UnusableFileError("the film is no readable PNG or JPEG") from None
    if size[0] * size[1] > MAX_PIXELS:
        raise UnusableFileError(f"more than {MAX_PIXELS} pixels")
    return size


def _eight_bits(grey: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (grey >> 8 if grey.dtype == np.uint16 else grey).astype(np.uint8)
