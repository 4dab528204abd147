"""Exported films: under their pseudonyms, checked by dciodvfy against what came in."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from etl.cohorts.cohort import build_cohort
from etl.cohorts.linkage import LinkRule, link_images
from etl.films.image_ingest import ingest_images
from etl.privacy.dicom_export import ExportSummary, export_films
from etl.pseudonym import Pseudonymizer
from etl.records.extraction import extract_records
from etl.synthetic_hospital.hospital import write_hospital
from nlp_labeling.definition import load_definitions
from nlp_labeling.image_labels import label_images
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mining import mine_mentions
from warehouse_schema.errors import ArgumentError, CohortError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES

KEY = "a key that is long enough"
SITE = "synthetic_hospital"
CHECKER = shutil.which("dciodvfy")
DEFINITIONS = load_definitions()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "h"
    write_hospital(folder=folder, n_patients=9, seed=4)
    for path in burnt_films(folder):
        burn_text_into(path)
    return folder


@pytest.fixture(scope="module")
def store(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(Home(tmp_path_factory.mktemp("home") / "home"))
    extract_records(
        store=store,
        database_url=f"sqlite:///{hospital}/hospital.sqlite",
        site_mapping=SITE,
        keyword_pattern=keyword_pattern(DEFINITIONS),
        pseudonym_key=KEY,
    )
    folder = hospital / "dicom"
    ingest_images(store=store, folder=folder, source=SITE, pseudonym_key=KEY, size_px=64)
    link_images(store=store, rule=LinkRule(hours_before=24, hours_after=720))
    mine_mentions(store=store, definitions=DEFINITIONS)
    now = datetime(2017, 1, 1, tzinfo=UTC)
    label_images(store=store, definitions=DEFINITIONS, as_of_datetime=now)
    build_cohort(store=store, findings=[each.name for each in DEFINITIONS], seed=0, n_folds=3)
    return store


@pytest.fixture(scope="module")
def exported(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportSummary]:
    folder = tmp_path_factory.mktemp("export")
    summary = export_films(store=store, folder=folder, pseudonym_key=KEY, is_burnt_in_allowed=True)
    return folder, summary


def burnt_films(hospital: Path) -> list[Path]:
    return sorted((hospital / "dicom").rglob("*.dcm"))[::3]


def burn_text_into(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    values = np.array(dataset.pixel_array)
    mask = np.zeros(values.shape, np.uint8)
    cv2.putText(mask, "CHEN 19500312", (30, 120), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 2)
    values[mask > 0] = values.max()
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset.save_as(path)


def sources(store: Store) -> dict[str, dict[str, object]]:
    return {row["image_id"]: row for row in store.read(IMAGE_SOURCES).to_pylist()}


def errors(path: Path) -> set[str]:
    done = subprocess.run([str(CHECKER), str(path)], capture_output=True, check=False)
    text = done.stderr.decode("latin-1")
    return {line for line in text.splitlines() if line.startswith("Error")}


def test_no_identifier_of_the_source_is_in_a_file(
    store: Store, exported: tuple[Path, ExportSummary]
) -> None:
    folder, summary = exported
    files = sorted(folder.rglob("*.dcm"))
    assert len(files) == summary.n_written == summary.n_films >= 4
    identifiers = {row["source_identifier"] for row in store.read(IDENTITIES).to_pylist()}
    for path in files:
        source = pydicom.dcmread(str(sources(store)[path.stem]["file_path"]))
        words = {str(source.PatientName), source.PatientAddress, source.PatientTelephoneNumbers}
        content = path.read_bytes()
        assert not [each for each in identifiers | words if str(each).encode() in content]


def test_pixels_intervals_and_relations_are_kept(
    store: Store, exported: tuple[Path, ExportSummary]
) -> None:
    folder, _ = exported
    names = Pseudonymizer(key=KEY, source=SITE)
    images = {row["image_id"]: row for row in store.read(IMAGES).to_pylist()}
    identities = store.read(IDENTITIES, where={"kind": "patient"}).to_pylist()
    shifts = {row["pseudonym"]: row["date_shift_days"] for row in identities}
    for path in folder.rglob("*.dcm"):
        film, image = pydicom.dcmread(path), images[path.stem]
        source = pydicom.dcmread(str(sources(store)[path.stem]["file_path"]))
        assert np.array_equal(film.pixel_array, source.pixel_array)
        assert film.StudyInstanceUID == names.uid(source.StudyInstanceUID)
        assert film.PatientID == image["patient_id"] == path.parent.name
        moved = datetime.strptime(source.AcquisitionDate, "%Y%m%d")
        moved += timedelta(days=shifts[image["patient_id"]])
        assert film.AcquisitionDate == moved.strftime("%Y%m%d") != source.AcquisitionDate
        assert film.AcquisitionTime == source.AcquisitionTime
        assert film.ImageComments.startswith("SYNTHETIC")


@pytest.mark.skipif(CHECKER is None, reason="the Debian package dicom3tools is not installed")
def test_the_checker_finds_no_new_error(store: Store, exported: tuple[Path, ExportSummary]) -> None:
    for path in exported[0].rglob("*.dcm"):
        source = Path(str(sources(store)[path.stem]["file_path"]))
        assert errors(path) - errors(source) == set()


def test_films_with_text_in_the_picture_are_left_out_unless_asked_for(
    store: Store, hospital: Path, exported: tuple[Path, ExportSummary], tmp_path: Path
) -> None:
    folder, everything = exported
    flagged = [
        path for path in folder.rglob("*.dcm") if pydicom.dcmread(path).BurnedInAnnotation == "YES"
    ]
    burnt = {str(path) for path in burnt_films(hospital)}
    in_cohort = {
        path.stem
        for path in folder.rglob("*.dcm")
        if str(sources(store)[path.stem]["file_path"]) in burnt
    }
    assert in_cohort
    assert in_cohort <= {path.stem for path in flagged}
    assert everything.n_burnt_in == len(flagged) >= len(in_cohort)
    summary = export_films(store=store, folder=tmp_path, pseudonym_key=KEY, n_processes=2)
    assert summary.n_written == summary.n_films - len(flagged)
    assert summary.left_out.get("text is burnt into the picture", 0) == len(flagged)


def test_a_source_that_changed_or_is_gone_is_left_out(
    store: Store, hospital: Path, tmp_path: Path
) -> None:
    moved = hospital / "dicom"
    kept = hospital / "elsewhere"
    moved.rename(kept)
    try:
        summary = export_films(store=store, folder=tmp_path, pseudonym_key=KEY)
    finally:
        kept.rename(moved)
    assert summary.n_written == 0
    assert summary.left_out == {"the source file is gone": summary.n_films}


def test_what_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--split: got 'all'"):
        export_films(store=store, folder=tmp_path, pseudonym_key=KEY, split="all")
    with pytest.raises(CohortError, match="no such film"):
        export_films(store=store, folder=tmp_path, pseudonym_key=KEY, finding="hip_fracture")
    part = export_films(store=store, folder=tmp_path, pseudonym_key=KEY, split="test")
    assert 0 < part.n_films < 9
