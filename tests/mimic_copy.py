"""A made-up copy of MIMIC-IV, -Note, -ED and MIMIC-CXR(-JPG): every row and report is invented.

Twenty patients, 10000001 to 10000020, each with one study, in the published layout below a folder
as ``wget -r`` leaves it. What the labels should be stands in ``EXPECTED``.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ANCHOR_YEAR = 2180
GROUP = "2014 - 2016"
ADMITTED = datetime(2180, 5, 6, 22, 23)
METADATA = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition"),
    *("Rows", "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning"),
    *("ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning"),
)
NOTE = (
    "note_id",
    "subject_id",
    "hadm_id",
    "note_type",
    "note_seq",
    "charttime",
    "storetime",
    "text",
)
CLEAR = "FINDINGS: The lungs are clear. No rib fracture. No clavicle fracture.\n"
BROKEN_RIB = "FINDINGS: There is an acute fracture of the left seventh rib.\n"
BROKEN_CLAVICLE = "FINDINGS: Acute displaced fracture of the right clavicle.\n"


@dataclass(kw_only=True)
class Case:
    """One patient: what the report says, which codes there are, and the expected labels."""

    report: str = CLEAR
    codes: tuple[tuple[str, str], ...] = (("4019", "9"),)
    rib: str = "negative"
    clavicle: str = "negative"
    is_emergency_only: bool = False
    summary: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


CASES: tuple[Case, ...] = (
    Case(report=BROKEN_RIB, codes=(("S2232XA", "10"),), rib="positive"),
    Case(report=BROKEN_RIB, codes=(("80701", "9"),), rib="positive"),
    Case(report=BROKEN_RIB, codes=(("80703", "9"), ("4019", "9")), rib="positive"),
    Case(report=BROKEN_CLAVICLE, codes=(("S42021A", "10"),), clavicle="positive"),
    Case(report=BROKEN_CLAVICLE, codes=(("81002", "9"),), clavicle="positive"),
    Case(
        report=BROKEN_RIB + BROKEN_CLAVICLE,
        codes=(("S2241XA", "10"), ("S42021A", "10")),
        rib="positive",
        clavicle="positive",
    ),
    # Coded in the emergency department alone, and not admitted.
    Case(report=BROKEN_RIB, codes=(("S2231XA", "10"),), rib="positive", is_emergency_only=True),
    *(Case() for _ in range(12)),
    Case(summary="HISTORY: fell from a ladder.\nHOSPITAL COURSE: no rib fracture was found.\n"),
)


def subject(number: int) -> str:
    return str(10_000_001 + number)


def study(number: int) -> str:
    return str(50_000_001 + number)


def film(number: int) -> str:
    return "-".join([f"{number:08x}"] + ["0a1b2c3d"] * 4)


def stay(number: int) -> str:
    return str((30_000_001 if CASES[number].is_emergency_only else 20_000_001) + number)


def taken(number: int) -> datetime:
    """When the film was taken: in the emergency department, before the admission."""
    return ADMITTED + timedelta(days=number, hours=-1)


def write_copy(folder: Path, *, is_jpg: bool = True) -> Path:
    """Write the copy below ``folder``; returns the folder that holds the projects."""
    projects = folder / "physionet.org" / "files"
    _write_records(projects / "mimiciv" / "3.1" / "hosp")
    _write_emergency(projects / "mimic-iv-ed" / "2.2" / "ed")
    _write_notes(projects / "mimic-iv-note" / "2.2" / "note")
    _write_films(projects, is_jpg=is_jpg)
    return projects


def write_table(path: Path, header: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A compressed CSV table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(header), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _write_records(folder: Path) -> None:
    people = [
        {
            "subject_id": subject(number),
            "gender": "FM"[number % 2],
            "anchor_age": 91 if number == 1 else 30 + number,
            "anchor_year": ANCHOR_YEAR,
            "anchor_year_group": GROUP,
        }
        for number in range(len(CASES))
    ]
    without_film = {**people[0], "subject_id": "19999999"}
    header = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
    write_table(folder / "patients.csv.gz", header, [*people, without_film])
    admitted = [number for number, case in enumerate(CASES) if not case.is_emergency_only]
    admissions = [
        {
            "subject_id": subject(number),
            "hadm_id": stay(number),
            "admittime": ADMITTED + timedelta(days=number),
            "dischtime": ADMITTED + timedelta(days=number + 3),
            "admission_type": "EW EMER.",
            "edregtime": ADMITTED + timedelta(days=number, hours=-3),
            "edouttime": ADMITTED + timedelta(days=number, hours=1),
        }
        for number in admitted
    ]
    header = (
        *("subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type"),
        *("admission_location", "edregtime", "edouttime", "hospital_expire_flag"),
    )
    write_table(
        folder / "admissions.csv.gz",
        header,
        [*admissions, {**admissions[0], "subject_id": "19999999", "hadm_id": "29999999"}],
    )
    diagnoses = [
        {
            "subject_id": subject(number),
            "hadm_id": stay(number),
            "seq_num": position,
            "icd_code": code,
            "icd_version": version,
        }
        for number in admitted
        for position, (code, version) in enumerate(CASES[number].codes, start=1)
    ]
    header = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
    write_table(folder / "diagnoses_icd.csv.gz", header, diagnoses)


def _write_emergency(folder: Path) -> None:
    alone = [number for number, case in enumerate(CASES) if case.is_emergency_only]
    stays = [
        {
            "subject_id": subject(number),
            "stay_id": stay(number),
            "intime": taken(number) - timedelta(hours=1),
            "outtime": taken(number) + timedelta(hours=4),
            "gender": "F",
        }
        for number in alone
    ]
    with_admission = {
        **stays[0],
        "subject_id": subject(0),
        "stay_id": "39999999",
        "hadm_id": stay(0),
    }
    header = ("subject_id", "hadm_id", "stay_id", "intime", "outtime", "gender", "disposition")
    write_table(folder / "edstays.csv.gz", header, [*stays, with_admission])
    rows = [
        {
            "subject_id": subject(number),
            "stay_id": stay(number),
            "seq_num": 1,
            "icd_code": CASES[number].codes[0][0],
            "icd_version": CASES[number].codes[0][1],
            "icd_title": "INVENTED",
        }
        for number in alone
    ]
    header = ("subject_id", "stay_id", "seq_num", "icd_code", "icd_version", "icd_title")
    write_table(
        folder / "diagnosis.csv.gz",
        header,
        [*rows, {**rows[0], "subject_id": subject(0), "stay_id": "39999999"}],
    )


def _write_notes(folder: Path) -> None:
    def note(number: int, kind: str, text: str, hours: float = 2) -> dict[str, Any]:
        return {
            "note_id": f"{subject(number)}-{kind}-1",
            "subject_id": subject(number),
            "hadm_id": "" if CASES[number].is_emergency_only else stay(number),
            "note_type": kind,
            "note_seq": 1,
            "charttime": taken(number) + timedelta(hours=hours),
            "text": text,
        }

    summaries = [
        note(number, "DS", case.summary or 'Discharged well,\n"in good health".\n', 70)
        for number, case in enumerate(CASES)
        if not case.is_emergency_only
    ]
    write_table(folder / "discharge.csv.gz", NOTE, summaries)
    # The same reports as in MIMIC-CXR, without their first line; and a CT of the first patient.
    radiology = [note(number, "RR", case.report) for number, case in enumerate(CASES)]
    scan = {
        **note(0, "RR", "EXAMINATION: CT CHEST.\nFINDINGS: Acute left seventh rib fracture.\n"),
        "note_id": f"{subject(0)}-RR-2",
    }
    write_table(folder / "radiology.csv.gz", NOTE, [*radiology, scan])
    detail = [
        {
            "note_id": scan["note_id"],
            "field_name": "exam_name",
            "field_value": "CT CHEST W/CONTRAST",
        },
        {"note_id": scan["note_id"], "field_name": "exam_code", "field_value": "CTCH"},
    ]
    header = ("note_id", "subject_id", "field_name", "field_value", "field_ordinal")
    rows = [{**row, "subject_id": subject(0), "field_ordinal": 1} for row in detail]
    write_table(folder / "radiology_detail.csv.gz", header, rows)


def _write_films(projects: Path, *, is_jpg: bool) -> None:
    jpg, dicom = projects / "mimic-cxr-jpg" / "2.1.0", projects / "mimic-cxr" / "2.1.0"
    rows = [
        {
            "dicom_id": film(number),
            "subject_id": subject(number),
            "study_id": study(number),
            "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)",
            "ViewPosition": "AP" if number else "",
            "ViewCodeSequence_CodeMeaning": "antero-posterior",
            "StudyDate": taken(number).strftime("%Y%m%d"),
            "StudyTime": f"{taken(number):%H%M%S}.531".lstrip("0"),
        }
        for number in range(len(CASES))
    ]
    lateral = {**rows[0], "dicom_id": film(99), "ViewPosition": "LATERAL"}
    write_table(jpg / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, [*rows, lateral])
    write_table(
        jpg / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        [{**_keys(row), "split": "validate" if row is rows[3] else "train"} for row in rows],
    )
    write_table(
        dicom / "cxr-record-list.csv.gz", ("subject_id", "study_id", "dicom_id"), map(_keys, rows)
    )
    for number, row in enumerate([*rows, lateral]):
        inner = f"files/p10/p{row['subject_id']}/s{row['study_id']}"
        report = dicom / f"{inner}.txt"
        report.parent.mkdir(parents=True, exist_ok=True)
        text = CASES[number % len(CASES)].report
        report.write_text(f"                                 FINAL REPORT\n {text}")
        if is_jpg:
            path = jpg / inner / f"{row['dicom_id']}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = np.add.outer(np.arange(96), np.arange(80)) % (97 + number)
            cv2.imwrite(str(path), grey.astype(np.uint8))


def _keys(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("subject_id", "study_id", "dicom_id")}
