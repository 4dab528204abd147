"""Writes a whole synthetic hospital into a folder."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from etl.synthetic_hospital.boxes import choose_boxed, write_boxes
from etl.synthetic_hospital.database import HospitalDatabase, Rows, table_rows
from etl.synthetic_hospital.dicom import write_instance
from etl.synthetic_hospital.film import FilmBox, render_film
from etl.synthetic_hospital.population import (
    Proportions,
    assign_groups,
    is_positive_group,
    paper_proportions,
)
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.records import PatientRecords, make_patient
from etl.synthetic_hospital.truth import ImageTruth, TruthWriter, image_truths, truth_rows
from warehouse_schema.errors import ArgumentError
from warehouse_schema.progress import SILENT, Progress

DATABASE_NAME = "hospital.sqlite"
_PARTIAL_NAME = "hospital.sqlite.partial"
_MOST_PATIENTS = 9_999_999


@dataclass(frozen=True, kw_only=True)
class HospitalSummary:
    """What was written."""

    folder: Path
    n_patients: int
    n_positive_patients: int
    n_visits: int
    n_diagnoses: int
    n_notes: int
    n_images: int
    n_boxed_images: int


@dataclass(frozen=True, kw_only=True)
class _Settings:
    seed: int
    quality: RecordQuality
    dicom_folder: Path | None


@dataclass(frozen=True, kw_only=True)
class _Batch:
    n_patients: int
    rows: Rows
    truth: dict[str, list[dict[str, Any]]]
    index_films: list[ImageTruth]

    def count_into(self, counts: dict[str, int]) -> None:
        """Adds the batch's rows by table."""
        for table, rows in self.rows.items():
            counts[table] = counts.get(table, 0) + len(rows)
        counts["images"] += len(self.truth["images"])


def write_hospital(
    *,
    folder: Path,
    n_patients: int,
    seed: int,
    is_paper_proportions: bool = False,
    is_records_only: bool = False,
    n_processes: int = 1,
    progress: Progress = SILENT,
    proportions: Proportions | None = None,
    quality: RecordQuality | None = None,
) -> HospitalSummary:
    """Writes hospital.sqlite, dicom/, boxes.json and truth/ (for tests only) into a folder.

    The content depends on n_patients, seed, proportions and quality alone, never on n_processes;
    the database is the same with and without films. With is_records_only there are no films and
    no boxes. A run that breaks off leaves no hospital.sqlite.

    Raises ArgumentError when the folder is not empty or a number is not allowed.
    """
    folder = Path(folder)
    _make_ready(folder, n_patients, seed, n_processes)
    if proportions is None:
        proportions = paper_proportions() if is_paper_proportions else Proportions()
    groups = assign_groups(proportions, n_patients, seed)
    dicom_folder = None if is_records_only else folder / "dicom"
    settings = _Settings(
        seed=seed,
        quality=quality or RecordQuality(),
        dicom_folder=dicom_folder,
    )
    if dicom_folder is not None:
        dicom_folder.mkdir()
    index_films, counts = _write_patients(folder, settings, groups, n_processes, progress)
    n_positive = sum(is_positive_group(group) for group in groups)
    n_boxed_images = 0
    if not is_records_only:
        n_boxed = round(n_positive * proportions.boxed_share)
        chosen = choose_boxed(index_films, n_boxed=n_boxed, seed=seed)
        n_boxed_images = write_boxes(folder / "boxes.json", chosen, seed=seed)
    (folder / _PARTIAL_NAME).rename(folder / DATABASE_NAME)
    return HospitalSummary(
        folder=folder,
        n_patients=n_patients,
        n_positive_patients=n_positive,
        n_visits=counts["visit"],
        n_diagnoses=counts["visit_diagnosis"],
        n_notes=counts["clinical_note"],
        n_images=0 if is_records_only else counts["images"],
        n_boxed_images=n_boxed_images,
    )


def _write_patients(
    folder: Path,
    settings: _Settings,
    groups: Sequence[str],
    n_processes: int,
    progress: Progress,
) -> tuple[list[ImageTruth], dict[str, int]]:
    """The patients in order of their index; returns the index films and the rows by table."""
    index_films: list[ImageTruth] = []
    counts: dict[str, int] = {"visit": 0, "visit_diagnosis": 0, "clinical_note": 0, "images": 0}
    database = HospitalDatabase(folder / _PARTIAL_NAME, seed=settings.seed)
    is_complete = False
    progress.start("synthetic hospital", len(groups))
    try:
        with TruthWriter(folder / "truth") as truth:
            for batch in _batches(settings, groups, n_processes):
                database.insert(batch.rows)
                truth.append(batch.truth)
                index_films += batch.index_films
                batch.count_into(counts)
                progress.advance(
                    batch.n_patients, images=counts["images"], notes=counts["clinical_note"]
                )
        is_complete = True
    finally:
        database.close(is_complete=is_complete)
        progress.finish()
    return index_films, counts


def _batches(settings: _Settings, groups: Sequence[str], n_processes: int) -> Iterator[_Batch]:
    size = 250 if settings.dicom_folder is None else 4
    spans = [(start, tuple(groups[start : start + size])) for start in range(0, len(groups), size)]
    make = partial(_make_batch, settings)
    if n_processes == 1 or len(spans) == 1:
        yield from map(make, spans)
        return
    # spawn: a forked child may inherit the locks of threads that other libraries started.
    with ProcessPoolExecutor(
        n_processes, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread
    ) as pool:
        yield from pool.map(make, spans)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _make_batch(settings: _Settings, span: tuple[int, Sequence[str]]) -> _Batch:
    """The patients from an index on, one for each group."""
    first, groups = span
    batch = _Batch(n_patients=len(groups), rows={}, truth={}, index_films=[])
    for patient_index, group in enumerate(groups, first):
        records = make_patient(
            seed=settings.seed,
            patient_index=patient_index,
            group=group,
            quality=settings.quality,
        )
        boxes: dict[str, tuple[FilmBox, ...]] = {}
        if settings.dicom_folder is not None:
            boxes = _write_films(settings.dicom_folder, records)
            batch.index_films.extend(image_truths(records, boxes))
        for table, rows in table_rows(records).items():
            batch.rows.setdefault(table, []).extend(rows)
        for name, values in truth_rows(records, boxes).items():
            batch.truth.setdefault(name, []).extend(values)
    return batch


def _write_films(folder: Path, records: PatientRecords) -> dict[str, tuple[FilmBox, ...]]:
    boxes = {}
    for planned in records.instances:
        film = render_film(planned.film)
        write_instance(folder / planned.file_name, planned, film)
        boxes[planned.sop_instance_uid] = film.boxes
    return boxes


def _make_ready(folder: Path, n_patients: int, seed: int, n_processes: int) -> None:
    if not 1 <= n_patients <= _MOST_PATIENTS:
        raise ArgumentError(
            f"patients is {n_patients}; allowed are 1 to {_MOST_PATIENTS}. Give another number."
        )
    if not 0 <= seed < 2**31:
        raise ArgumentError(f"seed is {seed}; allowed are 0 to {2**31 - 1}. Give another number.")
    if n_processes < 1:
        raise ArgumentError(
            f"processes is {n_processes}; at least 1 is needed. This machine has {os.cpu_count()}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(
            "the folder for the synthetic hospital is not empty; "
            "give an empty or a new folder, or remove this one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"the folder for the synthetic hospital cannot be made ({error.strerror}); "
            "give a folder that you may write to."
        ) from None
