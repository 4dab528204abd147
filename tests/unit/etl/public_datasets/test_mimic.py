"""MIMIC as the hospital: what the reader takes up, joins, shifts and sets aside."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import mimic_copy
import pytest
from pydicom.dataset import Dataset

from etl.pseudonym import Pseudonymizer
from etl.public_datasets.mimic import MimicSummary, import_mimic
from warehouse_schema.errors import ConfigurationError, InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import (
    DIAGNOSES,
    ENCOUNTERS,
    IDENTITIES,
    IMAGE_SOURCES,
    NOTES,
    PATIENTS,
)
from warehouse_schema.tables.runs import QUARANTINE

PATTERN = "(?i)rib|clavicle"
N = len(mimic_copy.CASES)
Import = Callable[..., MimicSummary]


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    return mimic_copy.write_copy(tmp_path)


@pytest.fixture
def run(store: Store, projects: Path, key: str) -> Import:
    def run(**changes: Any) -> MimicSummary:
        arguments: dict[str, Any] = {
            "store": store,
            "folder": projects,
            "keyword_pattern": PATTERN,
            "size_px": 64,
            "pseudonym_key": key,
            **changes,
        }
        return import_mimic(**arguments)

    return run


def patient_id(key: str, number: int) -> str:
    names = Pseudonymizer(key=key, source="mimic_iv")
    return names.pseudonym("patient", mimic_copy.subject(number))


def test_patients_with_films_and_all_that_is_theirs(store: Store, run: Import) -> None:
    summary = run()
    assert summary.quarantine_reasons == {}
    # One patient of the hospital has no film; one stay of the emergency ended in an admission.
    assert (summary.n_patients, summary.n_encounters, summary.n_diagnoses) == (N, N, N + 2)
    assert (summary.n_images, summary.n_frontal, summary.n_decoded) == (N + 1, N, N)
    assert (summary.n_reports_twice, summary.n_rows_of_others) == (N, 2)
    # The reports, a CT and a discharge summary name a rib or a clavicle.
    assert (summary.n_notes_read, summary.n_notes) == (3 * N, N + 2)
    assert {row["source"] for row in store.read(IMAGES).to_pylist()} == {"mimic_iv"}


def test_a_report_carries_its_study(store: Store, run: Import) -> None:
    run()
    notes = store.read(NOTES).to_pylist()
    kinds = sorted(each["note_type"] for each in notes)
    assert kinds == [
        *["chest_film_report"] * N,
        "discharge_summary",
        "other_imaging_report",
    ]
    reports = {each["accession_id"]: each for each in notes if each["accession_id"] is not None}
    images = [each for each in store.read(IMAGES).to_pylist() if each["is_frontal_chest"]]
    assert {each["accession_id"] for each in images} == set(reports)
    for image in images:
        report = reports[image["accession_id"]]
        assert report["patient_id"] == image["patient_id"]
        assert report["note_datetime"] == image["acquired_datetime"]


def test_dates_come_back_by_whole_days(store: Store, run: Import, key: str) -> None:
    run()
    encounters = {row["patient_id"]: row for row in store.read(ENCOUNTERS).to_pylist()}
    images = {
        row["patient_id"]: row for row in store.read(IMAGES).to_pylist() if row["is_frontal_chest"]
    }
    names = Pseudonymizer(key=key, source="mimic_iv")
    for number in range(N):
        stay, image = (rows[patient_id(key, number)] for rows in (encounters, images))
        before = 1 if mimic_copy.CASES[number].is_emergency_only else 2
        assert image["acquired_datetime"] - stay["start_datetime"] == timedelta(hours=before)
        assert image["study_year"] == 2015
        shift = names.date_shift_days(mimic_copy.subject(number))
        years = datetime(2015, 1, 1) - datetime(2180, 1, 1)
        published = mimic_copy.taken(number)
        assert image["acquired_datetime"].replace(tzinfo=None) == published + years + timedelta(
            days=shift
        )
    identities = store.read(IDENTITIES, where={"kind": "patient"}).to_pylist()
    assert all(-365 < row["date_shift_days"] < 0 for row in identities)


def test_ages(store: Store, run: Import, key: str) -> None:
    run()
    patients = {row["patient_id"]: row for row in store.read(PATIENTS).to_pylist()}
    ages = {row["patient_id"]: row["age_years"] for row in store.read(IMAGES).to_pylist()}
    oldest = patient_id(key, 1)
    assert patients[oldest]["is_over_89"]
    assert patients[oldest]["birth_datetime"] is None
    assert ages[oldest] == 90
    assert ages[patient_id(key, 5)] == pytest.approx(35.4, abs=0.1)


def test_codes_of_both_revisions_and_of_the_emergency(store: Store, run: Import) -> None:
    run()
    found = {
        (row["vocabulary"], row["diagnosis_code"]) for row in store.read(DIAGNOSES).to_pylist()
    }
    assert {("ICD9CM", "80701"), ("ICD10CM", "S2232XA"), ("ICD10CM", "S2231XA")} <= found


def test_a_second_import_changes_nothing(store: Store, run: Import) -> None:
    tables = (PATIENTS, ENCOUNTERS, DIAGNOSES, NOTES, IDENTITIES, IMAGES, IMAGE_SOURCES)
    run()
    before = [store.read(table) for table in tables]
    assert run().n_decoded == 0
    assert [store.read(table) for table in tables] == before


def test_dicom_is_preferred_and_gives_the_same_images(
    store: Store, run: Import, projects: Path, make_film: Callable[..., Dataset]
) -> None:
    run()
    before = {row["image_id"]: row for row in store.read(IMAGES).to_pylist()}
    inner = f"files/p10/p{mimic_copy.subject(2)}/s{mimic_copy.study(2)}/{mimic_copy.film(2)}.dcm"
    path = projects / "mimic-cxr" / "2.1.0" / inner
    path.parent.mkdir(parents=True)
    make_film(PatientID="x", StudyDate="21800508").save_as(path, enforce_file_format=True)
    assert run().n_decoded == 1
    after = {row["image_id"]: row for row in store.read(IMAGES).to_pylist()}
    assert set(after) == set(before)
    (changed,) = [name for name, row in after.items() if row != before[name]]
    same = ("patient_id", "accession_id", "study_id", "acquired_datetime", "study_year")
    assert all(after[changed][name] == before[changed][name] for name in same)
    assert after[changed]["modality_code"] == "CR"


def test_a_film_without_a_view_is_left_to_the_image_check(
    store: Store, run: Import, projects: Path
) -> None:
    metadata = projects / "mimic-cxr-jpg" / "2.1.0" / "mimic-cxr-2.0.0-metadata.csv.gz"
    edit(metadata, "CHEST (PORTABLE AP)", "")
    edit(metadata, "antero-posterior", "")
    summary = run()
    assert (summary.n_images, summary.n_frontal) == (N + 1, N - 1)
    reasons = [row["selection_reason"] for row in store.read(IMAGES).to_pylist()]
    (checked,) = [reason for reason in reasons if "image check" in reason]
    assert checked.startswith("the published tables are silent on view; image check does not look")


def test_what_cannot_be_used_is_counted(store: Store, run: Import, projects: Path) -> None:
    jpg = projects / "mimic-cxr-jpg" / "2.1.0"
    folder = jpg / "files" / "p10" / f"p{mimic_copy.subject(4)}" / f"s{mimic_copy.study(4)}"
    (folder / f"{mimic_copy.film(4)}.jpg").write_bytes(b"torn")
    report = projects / "mimic-cxr" / "2.1.0" / "files" / "p10" / f"p{mimic_copy.subject(5)}"
    (report / f"s{mimic_copy.study(5)}.txt").unlink()
    edit(jpg / "mimic-cxr-2.0.0-metadata.csv.gz", mimic_copy.film(6), "../../../etc/passwd")
    hosp = projects / "mimiciv" / "3.1" / "hosp"
    edit(
        hosp / "patients.csv.gz",
        f"{mimic_copy.subject(7)},M,37,2180,",
        f"{mimic_copy.subject(7)},M,37,2180,x",
    )
    edit(hosp / "admissions.csv.gz", "2180-05-14 19:23:00", "14 May")
    edit(hosp / "diagnoses_icd.csv.gz", ",4019,9\n", ",40X9,9\n", 1)
    edit(hosp / "diagnoses_icd.csv.gz", ",1,4019,9\n", ",1,4019,9,more\n", 1)
    coded = f"{mimic_copy.subject(9)},{mimic_copy.stay(9)},1,4019,"
    edit(hosp / "diagnoses_icd.csv.gz", f"{coded}9", f"{coded}11")
    summary = run()
    assert summary.quarantine_reasons == {
        "a row with too many or too few cells": 1,
        "an identifier of the film is malformed": 1,
        "anchor year, age or group is unreadable": 1,
        "note date is missing": 1,
        "start is no date in the mapping's formats": 1,
        "the encounter is not in the encounters table": 1,
        "the code does not have the shape of ICD9CM": 1,
        "the code system is not one of the mapping's": 1,
        "the film is no readable PNG or JPEG": 1,
        "the note has no text": 1,
        "the patient is not in the patients table": 1,
    }
    assert "1000000" not in str(store.read(QUARANTINE).to_pylist())


def edit(path: Path, before: str, after: str, count: int = -1) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    assert before in text
    path.write_bytes(gzip.compress(text.replace(before, after, count).encode()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mimiciv/3.1/hosp/patients.csv.gz", r"hosp/patients\.csv is missing .* MIMIC-IV, hosp"),
        ("mimiciv/3.1/hosp/admissions.csv.gz", r"hosp/admissions\.csv is missing"),
        ("mimiciv/3.1/hosp/diagnoses_icd.csv.gz", r"hosp/diagnoses_icd\.csv is missing"),
        ("mimic-iv-note/2.2/note/discharge.csv.gz", r"note/discharge\.csv .* MIMIC-IV-Note, note"),
        ("mimic-iv-note/2.2/note/radiology.csv.gz", r"note/radiology\.csv is missing"),
        ("mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-metadata.csv.gz", r"metadata\.csv .* MIMIC-CXR-JPG"),
    ],
)
def test_a_missing_table_names_its_project(
    store: Store, run: Import, projects: Path, name: str, message: str
) -> None:
    (projects / name).unlink()
    with pytest.raises(InputError, match=message):
        run()
    assert store.manifest().version == 0


def test_optional_tables(run: Import, projects: Path) -> None:
    for name in ("mimic-iv-ed/2.2/ed/edstays", "mimic-iv-ed/2.2/ed/diagnosis"):
        (projects / f"{name}.csv.gz").unlink()
    (projects / "mimic-iv-note/2.2/note/radiology_detail.csv.gz").unlink()
    (projects / "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-split.csv.gz").unlink()
    (projects / "mimic-cxr/2.1.0/cxr-record-list.csv.gz").unlink()
    summary = run()
    assert (summary.n_encounters, summary.n_images) == (N - 1, N + 1)


def test_a_column_that_is_missing_and_a_table_that_is_torn(
    store: Store, run: Import, projects: Path
) -> None:
    path = projects / "mimiciv/3.1/hosp/admissions.csv.gz"
    edit(path, "edregtime", "edreg")
    with pytest.raises(InputError, match=r"admissions\.csv\.gz: column edregtime is missing"):
        run()
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(InputError, match="is unreadable or damaged"):
        run()
    assert store.manifest().version == 0


def test_films_or_reports_that_are_missing(run: Import, projects: Path, tmp_path: Path) -> None:
    for path in projects.glob("mimic-cxr/*/files/*/*/*.txt"):
        path.unlink()
    with pytest.raises(InputError, match=r"MIMIC-CXR, mimic-cxr-reports\.zip"):
        run()
    with pytest.raises(InputError, match="files/p10 to files/p19 are missing"):
        run(folder=tmp_path / "nowhere")


def test_a_pattern_that_is_none(run: Import) -> None:
    with pytest.raises(ConfigurationError, match="keyword_pattern"):
        run(keyword_pattern="(")
