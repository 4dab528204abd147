"""One file to one film: what a worker process does with a path."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etl.films.dicom_header import (
    MAX_FILE_BYTES,
    TOO_LARGE,
    HeaderFacts,
    UnusableFileError,
    open_dataset,
    read_header,
)
from etl.films.film_pixels import FilmGeometry, decode_film, square_film
from etl.films.film_selection import Selection, select_by_image, select_by_tags
from etl.films.frontal_check import check_frontal
from etl.records.site_mapping import find_time_zone


@dataclass(frozen=True, kw_only=True)
class ReadingOrder:
    """What a worker is asked to read.

    Attributes:
        path: The file.
        size_px: Side of the cached film.
        time_zone: IANA zone of dates without an offset.
        cached_sha256: Source hashes whose film is in the cache already, for this order alone.
        header: DICOM keywords and values that stand in place of the file's own: what a data set's
            tables say of files whose headers were emptied.
    """

    path: Path
    size_px: int
    time_zone: str
    cached_sha256: frozenset[str] = frozenset()
    header: Mapping[str, str] = field(default_factory=dict)

    def read(self, cached_sha256: Set[str] = frozenset()) -> FilmReading:
        """Carry out the order; in a worker process."""
        return read_film_file(self, cached_sha256)


@dataclass(frozen=True, kw_only=True)
class FilmReading:
    """What a file gave.

    Attributes:
        path: The file.
        source_sha256: Hash of its content; empty where it could not be opened.
        fault: Why it cannot be used, or None.
        facts: Header.
        selection: Whether it is a frontal chest film, and why.
        film: (size, size) uint8 of a frontal chest film that is not cached yet.
        geometry: The film's geometry.
    """

    path: Path
    source_sha256: str
    fault: str | None = None
    facts: HeaderFacts | None = None
    selection: Selection | None = None
    film: NDArray[np.uint8] | None = None
    geometry: FilmGeometry | None = None


def read_film_file(order: ReadingOrder, cached_sha256: Set[str] = frozenset()) -> FilmReading:
    """Read one file; what is wrong with it comes back as its fault, never as an error.

    Args:
        order: What to read.
        cached_sha256: Source hashes whose film is in the cache already, for all orders.
    """
    try:
        if order.path.stat().st_size > MAX_FILE_BYTES:
            sha256, fault = hash_file(order.path), TOO_LARGE
            return FilmReading(path=order.path, source_sha256=sha256, fault=fault)
        content = order.path.read_bytes()
    except OSError:
        return FilmReading(path=order.path, source_sha256="", fault="the file cannot be read")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        with silent_parser():
            is_cached = sha256 in cached_sha256 or sha256 in order.cached_sha256
            return _read_content(order, content, sha256, is_cached=is_cached)
    except UnusableFileError as error:
        fault = str(error)
    except MemoryError:
        fault = "reading needs more memory than a worker may take"
    except Exception:  # noqa: BLE001 - damaged headers raise anything, and may quote themselves
        fault = "the DICOM header is damaged"
    return FilmReading(path=order.path, source_sha256=sha256, fault=fault)


def hash_file(path: Path) -> str:
    """SHA-256 of a file of any size; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _read_content(
    order: ReadingOrder, content: bytes, sha256: str, *, is_cached: bool
) -> FilmReading:
    dataset = open_dataset(content)
    for keyword, value in order.header.items():
        setattr(dataset, keyword, value)
    facts = read_header(dataset, zone=find_time_zone(order.time_zone))
    selection = select_by_tags(facts)
    film, geometry = None, None
    is_needed = selection.is_frontal_chest is None or not is_cached
    if selection.is_frontal_chest is not False and is_needed:
        grey = decode_film(dataset, size_px=order.size_px)
        if grey.shape != (facts.rows_px, facts.columns_px):
            raise UnusableFileError("the pixel data do not have the header's rows and columns")
        film, geometry = square_film(grey, order.size_px)
        if selection.is_frontal_chest is None:
            selection = select_by_image(selection, check_frontal(_valid_area(film, geometry)))
        if not selection.is_frontal_chest or is_cached:
            film = geometry = None
    return FilmReading(
        path=order.path,
        source_sha256=sha256,
        facts=facts,
        selection=selection,
        film=film,
        geometry=geometry,
    )


@contextmanager
def silent_parser() -> Iterator[None]:
    """Keep the parser from quoting header values, which may be names, in warnings and logs."""
    logger = logging.getLogger("pydicom")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled


def _valid_area(film: NDArray[np.uint8], geometry: FilmGeometry) -> NDArray[np.uint8]:
    top, left = geometry.pad_top_px, geometry.pad_left_px
    return film[top : top + geometry.valid_height_px, left : left + geometry.valid_width_px]
