"""The films of a MIMIC copy: which there are, when they were taken, and where they lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from etl.public_datasets.mimic_tables import MIMIC_CXR, MIMIC_CXR_JPG
from etl.public_datasets.published_films import PublishedFilm
from etl.public_datasets.published_tables import MAX_DEPTH, Row
from warehouse_schema.errors import InputError

METADATA = "mimic-cxr-2.0.0-metadata.csv"
KEYS = ("dicom_id", "subject_id", "study_id")
COLUMNS = (*KEYS, "ViewPosition", "StudyDate", "StudyTime")
VIEW_MEANINGS = {"antero-posterior": "AP", "postero-anterior": "PA"}
SPLITS = {"train": "train", "validate": "validation", "test": "test"}
# Identifiers become paths, so they must look as published.
SHAPES = {"dicom_id": r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", "subject_id": r"\d{8}", "study_id": r"\d{8}"}


class CxrTree:
    """The ``files/`` trees of MIMIC-CXR and MIMIC-CXR-JPG under a folder.

    Args:
        folder: The folder given.

    Raises:
        InputError: There is no such tree.
    """

    def __init__(self, folder: Path) -> None:
        found = [
            path
            for depth in range(MAX_DEPTH + 1)
            for path in sorted(folder.glob("*/" * depth + "files"))
            if next(path.glob("p[0-9][0-9]"), None) is not None
        ]
        if not found:
            raise InputError(
                "files/p10 to files/p19 are missing in the folder given. They belong to "
                f"{MIMIC_CXR.title} ({MIMIC_CXR.page}; DICOM) or {MIMIC_CXR_JPG.title} "
                f"({MIMIC_CXR_JPG.page}). Give the folder that holds the files as published."
            )
        self._roots = found

    def film(self, row: Row) -> Path:
        """A film's file: DICOM where both are there, because JPGs were equalised."""
        study = self._study(row["subject_id"], row["study_id"])
        candidates = [
            root / study / f"{row['dicom_id']}{suffix}"
            for suffix in (".dcm", ".jpg")
            for root in self._roots
        ]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def report(self, subject_id: str, study_id: str) -> Path | None:
        """The report of a study; None where it is not there."""
        name = f"{self._study(subject_id, study_id)}.txt"
        return next((root / name for root in self._roots if (root / name).is_file()), None)

    @staticmethod
    def _study(subject_id: str, study_id: str) -> str:
        return f"p{subject_id[:2]}/p{subject_id}/s{study_id}"


def read_films(folder: Path, tree: CxrTree) -> tuple[list[PublishedFilm], int]:
    """Films of the metadata table, and of the record list where one is there.

    Args:
        folder: The folder given.
        tree: Its films.

    Returns:
        The films, and how many rows were left out because an identifier is malformed.

    Raises:
        InputError: The metadata table is missing or has other columns.
    """
    metadata = MIMIC_CXR_JPG.find_table(folder, METADATA, part=f"{METADATA}.gz")
    records = MIMIC_CXR.find_optional(folder, "cxr-record-list.csv")
    splits = _read_splits(folder)
    rows: dict[str, Row] = {}
    n_malformed = 0
    for row in (
        *MIMIC_CXR_JPG.read_rows(metadata, COLUMNS),
        *(MIMIC_CXR.read_rows(records, KEYS) if records is not None else ()),
    ):
        if all(re.fullmatch(shape, row[name].strip()) for name, shape in SHAPES.items()):
            rows.setdefault(row["dicom_id"].strip(), row)
        else:
            n_malformed += 1
    films = [_film(row, tree, splits.get(name)) for name, row in rows.items()]
    return films, n_malformed


def study_moments(films: Sequence[PublishedFilm]) -> Mapping[tuple[str, str], datetime | None]:
    """When each study (patient, study) was taken: its earliest film."""
    moments: dict[tuple[str, str], datetime | None] = {}
    for film in films:
        key = (film.patient, film.accession or "")
        known = moments.get(key)
        if known is None or (film.acquired is not None and film.acquired < known):
            moments[key] = film.acquired
    return moments


def _film(row: Row, tree: CxrTree, split: str | None) -> PublishedFilm:
    row = {name: (value or "").strip() for name, value in row.items()}
    return PublishedFilm(
        film=row["dicom_id"],
        path=tree.film(row),
        patient=row["subject_id"],
        study=row["study_id"],
        accession=row["study_id"],
        view=_view(row),
        acquired=_moment(row.get("StudyDate", ""), row.get("StudyTime", "")),
        published_split=split,
    )


def _view(row: Row) -> str | None:
    """ViewPosition, else the meaning of the view code, else one view that the procedure names."""
    if row.get("ViewPosition"):
        return row["ViewPosition"].upper()
    if meaning := row.get("ViewCodeSequence_CodeMeaning", "").lower():
        return VIEW_MEANINGS.get(meaning, meaning.upper())
    named = set(re.findall(r"\b(AP|PA|LAT)\b", row.get("PerformedProcedureStepDescription", "")))
    return named.pop() if len(named) == 1 else None


def _moment(date: str, time: str) -> datetime | None:
    """StudyDate YYYYMMDD and StudyTime HHMMSS.fff, of which leading zeros may be missing."""
    digits = time.partition(".")[0].zfill(6)
    try:
        return datetime.strptime(date + digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _read_splits(folder: Path) -> dict[str, str]:
    path = MIMIC_CXR_JPG.find_optional(folder, "mimic-cxr-2.0.0-split.csv")
    rows: Iterator[Row] | tuple[Row, ...] = ()
    if path is not None:
        rows = MIMIC_CXR_JPG.read_rows(path, ("dicom_id", "split"))
    found = {row["dicom_id"].strip(): SPLITS.get(row["split"].strip()) for row in rows}
    return {film: split for film, split in found.items() if split is not None}
