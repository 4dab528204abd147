"""Small databases of MIMIC-IV's published layout, through the mapping mimic_iv."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.records.extraction import ExtractionSummary, extract_records
from etl.records.site_mapping import load_site_mapping
from etl.records.source_check import check_source
from warehouse_schema.store import Store
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, NOTES, PATIENTS

# Columns as in the documentation of the hosp and note modules.
TABLES = {
    "patients": "subject_id, gender, anchor_age, anchor_year, anchor_year_group, dod",
    "admissions": "subject_id, hadm_id, admittime, dischtime, deathtime, admission_type, "
    "admit_provider_id, admission_location, discharge_location, insurance, language, "
    "marital_status, race, edregtime, edouttime, hospital_expire_flag",
    "diagnoses_icd": "subject_id, hadm_id, seq_num, icd_code, icd_version",
    "discharge": "note_id, subject_id, hadm_id, note_type, note_seq, charttime, storetime, text",
    "radiology": "note_id, subject_id, hadm_id, note_type, note_seq, charttime, storetime, text",
    "radiology_detail": "note_id, subject_id, field_name, field_value, field_ordinal",
}
EXAMS = {
    "1-RR-1": ("CHEST (PORTABLE AP)", "chest_film_report"),
    "1-RR-2": ("CT CHEST W/O CONTRAST", "other_imaging_report"),
    "1-RR-3": ("RIB UNILAT, W/ AP CHEST LEFT", "chest_film_report"),
    "1-RR-4": ("CLAVICLE RIGHT", "chest_film_report"),
    "1-RR-5": ("WRIST(3 + VIEWS) RIGHT", "other_imaging_report"),
    "1-RR-6": (None, "other_imaging_report"),
    "1-AR-7": ("CHEST (PA & LAT)", "addendum"),
}


@pytest.fixture
def mimic_iv(tmp_path: Path) -> str:
    path = tmp_path / "mimic_iv.sqlite"
    with sqlite3.connect(path) as database:
        for table, columns in TABLES.items():
            typed = ", ".join(f"{name.strip()} TEXT" for name in columns.split(","))
            database.execute(f"CREATE TABLE {table} ({typed})")

        def put(table: str, **values: object) -> None:
            names = ", ".join(values)
            marks = ", ".join("?" * len(values))
            database.execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values())
            )

        put("patients", subject_id=1, gender="F", anchor_age=91, anchor_year=2150)
        put("patients", subject_id=2, gender="M", anchor_age=40, anchor_year=2160)
        for hadm, kind in enumerate(["EW EMER.", "ELECTIVE", "AMBULATORY OBSERVATION"], start=10):
            put(
                "admissions",
                subject_id=1,
                hadm_id=hadm,
                admittime=f"21{hadm}-03-01 10:00:00",
                dischtime=f"21{hadm}-03-04 12:00:00",
                admission_type=kind,
            )
        for number, (code, version) in enumerate([("80703", 9), ("S2241XA", 10), ("X", 11)]):
            put(
                "diagnoses_icd",
                subject_id=1,
                hadm_id=10,
                seq_num=number + 1,
                icd_code=code,
                icd_version=version,
            )
        note = {"subject_id": 1, "hadm_id": 10, "charttime": "2110-03-02 00:00:00"}
        put("discharge", note_id="1-DS-1", note_type="DS", text="rib fracture", **note)
        put("discharge", note_id="1-AD-2", note_type="AD", text="no fracture", **note)
        for note_id, (exam, _) in EXAMS.items():
            body = {"note_type": note_id[2:4], "text": "fracture ___", **note}
            put("radiology", note_id=note_id, **body)
            details = [("exam_code", "C11", 1), ("cpt_code", "71045", 1)]
            details += [("exam_name", exam, 1), ("exam_name", "SECOND PART", 2)] if exam else []
            for name, value, ordinal in details:
                put(
                    "radiology_detail",
                    note_id=note_id,
                    field_name=name,
                    field_value=value,
                    field_ordinal=ordinal,
                )
    database.close()
    return f"sqlite:///{path}"


@pytest.fixture
def extract(store: Store, key: str, mimic_iv: str) -> Callable[[], ExtractionSummary]:
    def run() -> ExtractionSummary:
        return extract_records(
            store=store,
            database_url=mimic_iv,
            site_mapping="mimic_iv",
            keyword_pattern="fracture",
            pseudonym_key=key,
        )

    return run


def test_every_row_is_read_once(store: Store, extract: Callable[[], ExtractionSummary]) -> None:
    summary = extract()
    assert (summary.n_patients, summary.n_encounters, summary.n_diagnoses) == (2, 3, 2)
    assert summary.n_notes == 2 + len(EXAMS)
    assert summary.quarantine_reasons == {"the code system is not one of the mapping's": 1}
    assert sorted(store.read(DIAGNOSES)["vocabulary"].to_pylist()) == ["ICD10CM", "ICD9CM"]
    assert sorted(store.read(ENCOUNTERS)["encounter_class"].to_pylist()) == [
        "emergency", "inpatient", "outpatient",
    ]  # fmt: skip


def test_patients_have_no_birth_date(
    store: Store, extract: Callable[[], ExtractionSummary]
) -> None:
    extract()
    assert store.read(PATIENTS)["birth_datetime"].null_count == 2
    assert sorted(store.read(PATIENTS)["sex_code"].to_pylist()) == ["F", "M"]


def test_the_exam_name_says_what_a_report_is_of(
    store: Store, extract: Callable[[], ExtractionSummary]
) -> None:
    extract()
    kinds = sorted(store.read(NOTES)["note_type"].to_pylist())
    expected = [kind for _, kind in EXAMS.values()] + ["discharge_summary", "addendum"]
    assert kinds == sorted(expected)


def test_a_second_reading_finds_nothing_new(extract: Callable[[], ExtractionSummary]) -> None:
    extract()
    summary = extract()
    assert (summary.mode, summary.n_rows_changed, summary.n_notes) == ("incremental", 0, 9)


def test_source_check_sees_that_a_code_system_is_not_mapped(mimic_iv: str) -> None:
    check = check_source(database_url=mimic_iv, site_mapping=load_site_mapping("mimic_iv"))
    assert check.is_complete
    (systems,) = check.sections[2].values
    assert systems.mapped == {"ICD10CM": 1, "ICD9CM": 1}
    assert systems.unmapped_code_systems == {"11": 1}
