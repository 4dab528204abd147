"""A file given for scoring, read by the same rule and transform as an ingested film."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etl.films.dicom_header import MAX_FILE_BYTES, TOO_LARGE, UnusableFileError, open_dataset
from etl.films.film_pixels import FilmGeometry, decode_film, square_film
from etl.films.film_reading import FilmReading, ReadingOrder, read_film_file, silent_parser
from warehouse_schema.film_scores import SquareFilm

# Side of the square that pictures are drawn from where the scored film is smaller.
PICTURE_PX = 1024


@dataclass(frozen=True, kw_only=True)
class ClinicalReading(FilmReading):
    """What a file gave.

    Attributes:
        picture: (size, size) uint8 for a reader's eye; the scored film where that is large enough.
        picture_geometry: The picture's geometry.
    """

    picture: NDArray[np.uint8] | None = None
    picture_geometry: FilmGeometry | None = None


@dataclass(frozen=True, kw_only=True)
class ClinicalOrder(ReadingOrder):
    """An order to read one file for scoring.

    Attributes:
        is_any_view: True reads what the selection rule refuses too, as long as it is one
            monochrome frame.
    """

    is_any_view: bool = False

    def read(self, cached_sha256: Set[str] = frozenset()) -> FilmReading:
        """Carry out the order; in a worker process."""
        reading = read_film_file(replace(self, cached_sha256=frozenset()))
        is_wanted = reading.film is not None or (self.is_any_view and reading.facts is not None)
        if reading.fault is not None or not is_wanted:
            return reading
        try:
            with silent_parser():
                return self._with_picture(reading)
        except (OSError, UnusableFileError) as error:
            fault = str(error) if isinstance(error, UnusableFileError) else "the file has changed"
        except MemoryError:
            fault = "reading needs more memory than a worker may take"
        except Exception:  # noqa: BLE001 - damaged headers raise anything, and may quote themselves
            fault = "the DICOM header is damaged"
        return replace(reading, fault=fault, film=None, geometry=None)

    def _with_picture(self, reading: FilmReading) -> ClinicalReading:
        film, geometry = reading.film, reading.geometry
        fields = dict(vars(reading))
        if film is not None and self.size_px >= PICTURE_PX:
            return ClinicalReading(**fields, picture=film, picture_geometry=geometry)
        dataset = open_dataset(self._content(reading.source_sha256))
        if film is None:
            grey = decode_film(dataset, size_px=self.size_px)
            fields["film"], fields["geometry"] = square_film(grey, self.size_px)
        grey = decode_film(dataset, size_px=max(self.size_px, PICTURE_PX))
        picture, geometry = square_film(grey, max(self.size_px, PICTURE_PX))
        return ClinicalReading(**fields, picture=picture, picture_geometry=geometry)

    def _content(self, sha256: str) -> bytes:
        content = self.path.read_bytes()
        if len(content) > MAX_FILE_BYTES:
            raise UnusableFileError(TOO_LARGE)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise UnusableFileError("the file has changed while it was read")
        return content


def square_film_of(reading: ClinicalReading) -> SquareFilm:
    """The film of a reading as scoring takes it."""
    assert reading.film is not None
    assert reading.geometry is not None
    geometry = reading.geometry
    return SquareFilm(
        pixels=reading.film,
        pad_left_px=geometry.pad_left_px,
        pad_top_px=geometry.pad_top_px,
        valid_width_px=geometry.valid_width_px,
        valid_height_px=geometry.valid_height_px,
    )
