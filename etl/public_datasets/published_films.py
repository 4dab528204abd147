"""Films of a published data set, as its tables give them, to images and cached films.

DICOM files and pictures go through the worker pool of the hospital's films and give the same rows;
what the tables say stands in for headers that were emptied or never there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from etl.films.dicom_header import HeaderFacts
from etl.films.film_pixels import transform_hash
from etl.films.film_pool import read_films
from etl.films.film_reading import FilmReading, ReadingOrder
from etl.films.film_selection import FRONTAL_VIEWS, Selection
from etl.films.image_rows import ImageRows
from etl.films.pixel_cache import ShardWriter
from etl.pseudonym import Pseudonymizer
from etl.public_datasets.picture_reading import PictureOrder
from etl.quarantine import QuarantineList
from warehouse_schema.commit import Commit
from warehouse_schema.progress import Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES, PATIENTS

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
# The view of films that are published as frontal without saying AP or PA.
FRONTAL = "FRONTAL"
NOT_IN_FOLDER = "the film is not in the folder"
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFilm:
    """One film. Identifiers are as published: never log this object.

    Attributes:
        film: The data set's name of the film.
        path: File; None where its published name leads out of the folder.
        patient: The data set's patient; films of one patient share a split.
        study: The data set's study, or None where it names none.
        accession: What stands for the accession number, where reports name the study.
        view: AP, PA, FRONTAL (one of the two) or another view; None where the tables do not say.
        acquired: Acquisition in UTC, as published.
        sex_code: F, M or O.
        birth: Birth date.
        age_years: Age, where there is no birth date.
        modality: DICOM modality.
        manufacturer: Manufacturer.
        pixel_spacing_mm: Row spacing.
        is_inverted: True where bones are dark in a picture.
        published_split: train, validation or test, where the data set has splits.
        header: DICOM keywords that stand in for a DICOM file's own values.
    """

    film: str
    path: Path | None
    patient: str
    study: str | None = None
    accession: str | None = None
    view: str | None = None
    acquired: datetime | None = None
    sex_code: str | None = None
    birth: datetime | None = None
    age_years: float | None = None
    modality: str = "DX"
    manufacturer: str | None = None
    pixel_spacing_mm: float | None = None
    is_inverted: bool = False
    published_split: str | None = None
    header: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> HeaderFacts:
        """The tables' word as a header; rows and columns are not known before the file is read."""
        return HeaderFacts(
            patient_identifier=self.patient,
            sop_instance_uid=self.film,
            study_uid=self.study or self.film,
            series_uid=self.film,
            accession_number=self.accession,
            modality=self.modality,
            view_position="" if self.view in (None, FRONTAL) else self.view,
            body_part="CHEST",
            descriptions="",
            study_description="",
            view_codes=(),
            region_codes=(),
            species="",
            orientation=(),
            presentation_intent="",
            photometric_interpretation="MONOCHROME2",
            manufacturer=self.manufacturer,
            sex_code=self.sex_code,
            birth=self.birth,
            acquired=self.acquired,
            study_year=None if self.acquired is None else self.acquired.year,
            age_years=self.age_years,
            rows_px=0,
            columns_px=0,
            n_frames=1,
            n_samples=1,
            pixel_spacing_mm=self.pixel_spacing_mm,
            is_synthetic=False,
        )


class PublishedImages:
    """Images of one data set: reads films, keeps their rows, writes them in a commit.

    Args:
        store: The store.
        names: Pseudonyms of the data set.
        quarantine: Takes the films that cannot be used.
        size_px: Side of the square cached film.
        is_patient_required: False makes the patients from the films' own tables.
        shift_days: Days added to every published date of a patient, so that dates that a data set
            moved into the future come back to the present; none by default.
    """

    def __init__(
        self,
        *,
        store: Store,
        names: Pseudonymizer,
        quarantine: QuarantineList,
        size_px: int,
        is_patient_required: bool = False,
        shift_days: Mapping[str, int] | None = None,
    ) -> None:
        self._names = names
        self._quarantine = quarantine
        self._shift_days = shift_days or {}
        self._rows = ImageRows(
            store=store, names=names, quarantine=quarantine, is_patient_required=is_patient_required
        )
        self._writer = ShardWriter(cache=store.home.cache, size_px=size_px)
        self._cached = _cached_films(store, names.source, size_px)

    @property
    def images(self) -> dict[str, Row]:
        """Rows of images by image_id."""
        return self._rows.images

    @property
    def n_decoded(self) -> int:
        """Films decoded now; the others were cached already."""
        return len(self._writer.rows)

    def image(self, film: str) -> Row | None:
        """The row of a published film; None where it was not taken up."""
        return self.images.get(self._names.pseudonym("image", film))

    def read(self, films: Sequence[PublishedFilm], *, n_processes: int, progress: Progress) -> None:
        """Read films in worker processes; one that cannot be used costs one quarantine row."""
        by_path: dict[Path, PublishedFilm] = {}
        for film in films:
            if film.path is not None and film.path.is_file() and film.path not in by_path:
                by_path[film.path] = film
                continue
            is_second = film.path in by_path
            reason = "a second row for the same film" if is_second else NOT_IN_FOLDER
            self._quarantine.add(f"film {self._names.pseudonym('image', film.film)}", reason)
            progress.advance()
        orders = (self._order(film, path) for path, film in by_path.items())
        for reading in read_films(orders, n_processes=n_processes):
            self._take_up(reading, by_path[reading.path])
            progress.advance()
        self._writer.flush()
        self._rows.settle_accessions()

    def write(self, commit: Commit) -> None:
        """Write images, pixels, sources, patients and identities."""
        pixels = [
            self._writer.rows.get(image_id) or self._cached[image_id][1]
            for image_id, image in self.images.items()
            if image["is_frontal_chest"]
        ]
        for table, rows in (
            (PATIENTS, list(self._rows.new_patients.values())),
            (IDENTITIES, list(self._rows.identities.values())),
            (IMAGES, list(self.images.values())),
            (IMAGE_SOURCES, list(self._rows.sources.values())),
            (IMAGE_PIXELS, pixels),
        ):
            commit.upsert(table, pa.Table.from_pylist(rows, schema=table.schema))

    def _order(self, film: PublishedFilm, path: Path) -> ReadingOrder:
        known = self._cached.get(self._names.pseudonym("image", film.film))
        cached = frozenset(() if known is None else (known[0],))
        size_px = self._writer.size_px
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            header = {
                "SOPInstanceUID": film.film,
                "PatientID": film.patient,
                "StudyInstanceUID": film.study or film.film,
                "AccessionNumber": film.accession or "",
                **film.header,
            }
            return ReadingOrder(
                path=path, size_px=size_px, time_zone="UTC", cached_sha256=cached, header=header
            )
        return PictureOrder(
            path=path,
            size_px=size_px,
            time_zone="UTC",
            cached_sha256=cached,
            facts=film.facts,
            selection=select_by_view(film.view),
            is_inverted=film.is_inverted,
        )

    def _take_up(self, reading: FilmReading, film: PublishedFilm) -> None:
        image_id = self._rows.add(self._in_present(reading, film))
        if image_id is None:
            return
        self.images[image_id]["published_split"] = film.published_split
        if reading.film is not None and reading.geometry is not None:
            self._writer.add(image_id, reading.film, reading.geometry, facts=reading.facts)

    def _in_present(self, reading: FilmReading, film: PublishedFilm) -> FilmReading:
        """The reading with the tables' date, brought back to the present."""
        facts = reading.facts
        if facts is None or (film.acquired is None and not self._shift_days):
            return reading
        acquired = film.acquired or facts.acquired
        if acquired is not None:
            acquired += timedelta(days=self._shift_days.get(film.patient, 0))
        year = None if acquired is None else acquired.year
        return replace(reading, facts=replace(facts, acquired=acquired, study_year=year))


def _cached_films(store: Store, source: str, size_px: int) -> dict[str, tuple[str, Row]]:
    """By image the SHA-256 of its file and its row of image_pixels, where its shard is on disk."""
    rows = store.read(IMAGE_PIXELS, where={"transform_hash": transform_hash(size_px)}).to_pylist()
    pixels = {row["image_id"]: row for row in rows}
    present = {path.name for path in store.home.cache.glob("*.npy")}
    images = store.read(IMAGES, columns=["image_id", "source_sha256"], where={"source": source})
    return {
        image["image_id"]: (image["source_sha256"], pixels[image["image_id"]])
        for image in images.to_pylist()
        if image["image_id"] in pixels and pixels[image["image_id"]]["shard_name"] in present
    }


def select_by_view(view: str | None) -> Selection:
    """Whether a film of a chest film data set is frontal, by its published view."""
    if view is None:
        return Selection(is_frontal_chest=None, reason="the published tables are silent on view")
    if view == FRONTAL:
        return Selection(is_frontal_chest=True, reason="published as a frontal chest film")
    if view in FRONTAL_VIEWS:
        reason = f"published as a chest film, view {view}"
        return Selection(is_frontal_chest=True, reason=reason, view_position=view)
    return Selection(is_frontal_chest=False, reason="view: not AP or PA (published tables)")


def sex_code(published: str | None) -> str | None:
    """F, M or O of a published sex, whose first letter counts; None for anything else."""
    letter = (published or "").strip().upper()[:1]
    return letter if letter in {"F", "M", "O"} else None


def number(text: str | None) -> float | None:
    """A published number; None where it is empty or none."""
    try:
        return float((text or "").strip())
    except ValueError:
        return None


def age_years(text: str | None) -> float | None:
    """A published age such as ``58`` or ``058Y``; None above 120, which is a slip."""
    age = number((text or "").strip().rstrip("Yy"))
    return None if age is None or not 0 <= age <= 120 else age
