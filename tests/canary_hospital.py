"""A hospital that is not synthetic and whose every free field holds canaries."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from canaries import PEOPLE, Person
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

SIDE = 160
N_POSITIVE, N_BOXED = 22, 12
MAPPING = """
name = "canary_site"
meaning = "A hospital of canaries."
is_synthetic = false
time_zone = "UTC"
[patients]
table = "patient"
patient = "no"
sex = { column = "sex", values = { "M" = "M", "F" = "F" } }
birth = "born"
[encounters]
table = "visit"
encounter = "visit_no"
patient = "no"
start = "came"
end = "went"
encounter_class = { column = "kind", values = { "E" = "emergency" }, default = "other" }
[[diagnoses]]
table = "diagnosis"
patient = "no"
encounter = "visit_no"
code = "code"
vocabulary = { column = "version", values = { "9" = "ICD9CM", "10" = "ICD10CM" } }
position = "seq"
recorded = "coded"
[[notes]]
table = "note"
note = "note_no"
patient = "no"
encounter = "visit_no"
text = "body"
note_datetime = ["written"]
accession = "accession"
note_type = { column = "kind", values = { "CXR" = "chest_film_report" } }
status = { column = "status", values = { "F" = "final" } }
"""
COLUMNS = {
    "patient": "no, sex, born, name, phone, address",
    "visit": "visit_no, no, came, went, kind",
    "diagnosis": "no, visit_no, code, version, seq, coded",
    "note": "note_no, no, visit_no, body, kind, status, written, accession",
}


def write_canary_hospital(folder: Path) -> None:
    """Write ``site.toml``, ``hospital.sqlite``, ``dicom/`` and ``boxes.json``."""
    (folder / "dicom").mkdir(parents=True)
    (folder / "site.toml").write_text(MAPPING)
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    boxes: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for number, person in enumerate(PEOPLE):
        _add_records(rows, person, is_positive=number < N_POSITIVE)
        film = _write_film(folder / "dicom", number, person)
        if number < N_BOXED:
            _add_box(boxes, number, person, film)
    _add_bad_rows(rows)
    with sqlite3.connect(folder / "hospital.sqlite") as connection:
        for table, columns in COLUMNS.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
            marks = ", ".join("?" * (columns.count(",") + 1))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[table])
    connection.close()
    _write_broken_films(folder / "dicom")
    content = {**boxes, "categories": [{"id": 1, "name": "rib_fracture"}]}
    (folder / "boxes.json").write_text(json.dumps(content))


def _add_records(
    rows: dict[str, list[tuple[Any, ...]]], person: Person, *, is_positive: bool
) -> None:
    no, visit = person.number, f"V-{person.number}"
    rows["patient"].append((no, "F", "1950-03-12", person.name, person.phone, person.address))
    rows["visit"].append((visit, no, "2014-05-01 10:00", "2014-05-03 10:00", "E"))
    code = ("807.01", "9") if is_positive else ("428.0", "9")
    rows["diagnosis"].append((no, visit, *code, 1, "2014-05-02 09:00"))
    finding = "Acute fracture of the left 5th rib." if is_positive else "No rib fracture."
    body = (
        f"PATIENT: {person.name} ({no}), {person.address}, tel {person.phone}\n"
        f"IMPRESSION: {finding} Called to {person.name}."
    )
    rows["note"].append((f"N-{no}", no, visit, body, "CXR", "F", "2014-05-01 13:00", f"ACC-{no}"))


def _add_bad_rows(rows: dict[str, list[tuple[Any, ...]]]) -> None:
    """Every row that a stage sets aside, with a canary where it hurts."""
    a, b, c = PEOPLE[0], PEOPLE[1], PEOPLE[2]
    rows["patient"] += [(a.number, "F", None, a.name, a.phone, a.address)]
    rows["patient"] += [(f"{b.number}-bad", b.name, b.address, b.name, b.phone, b.address)]
    rows["visit"] += [
        (a.phone, a.number, "2014-05-01 10:00", "2013-05-01 10:00", b.name),
        (b.phone, b.name, "2014-05-01 10:00", None, "E"),
        (c.phone, c.number, c.address, None, "E"),
    ]
    rows["diagnosis"] += [
        (a.number, f"V-{a.number}", a.name, "9", 1, None),
        (b.number, f"V-{b.number}", "807.01", b.phone, 1, None),
        (c.number, f"V-{c.number}", "807.01", "9", c.name, None),
        (a.number, f"V-{c.number}", "807.01", "9", 1, a.address),
    ]
    text = f"rib fracture of {a.name}"
    rows["note"] += [
        (a.phone, a.number, None, text, a.address, "F", "2014-05-01", None),
        (b.phone, b.number, None, text, "CXR", b.name, "2014-05-01", None),
        (c.phone, c.number, None, text, "CXR", "F", c.name, None),
        (
            c.name,
            c.number,
            None,
            b"\xff\xfe rib fracture " + c.name.encode(),
            "CXR",
            "F",
            "x",
            None,
        ),
    ]


def _write_film(folder: Path, number: int, person: Person) -> Path:
    generator = np.random.default_rng(number)
    pixels = generator.integers(1000, 2000, (SIDE, SIDE)).astype(np.uint16)
    if number < N_POSITIVE:
        pixels[50:80, 60:90] = generator.integers(3500, 4000, (30, 30))
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    film.file_meta.MediaStorageSOPInstanceUID = f"1.2.999.{number}.1"
    film.file_meta.SourceApplicationEntityTitle = person.number
    film.SpecificCharacterSet = "ISO_IR 192"
    film.SOPClassUID = ComputedRadiographyImageStorage
    film.SOPInstanceUID = f"1.2.999.{number}.1"
    film.StudyInstanceUID, film.SeriesInstanceUID = f"1.2.999.{number}.2", f"1.2.999.{number}.3"
    film.PatientName, film.PatientID = person.name, person.number
    film.PatientAddress, film.PatientTelephoneNumbers = person.address, person.phone
    film.AccessionNumber = f"ACC-{person.number}"
    film.StudyDescription = f"Chest for {person.name}"
    film.SeriesDescription = f"PA {person.number}"
    film.ImageComments = film.PatientComments = f"{person.address} {person.phone}"
    film.ReferringPhysicianName = film.OperatorsName = person.name
    film.StudyDate = film.AcquisitionDate = "20140501"
    film.StudyTime = film.AcquisitionTime = "120000"
    film.Modality, film.ViewPosition, film.BodyPartExamined = "CR", "PA", "CHEST"
    nested = Dataset()
    nested.PatientID, nested.TypeOfPatientID = person.number, "TEXT"
    film.OtherPatientIDsSequence = [nested]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = person.number[:16], "99LOCAL"
    code.CodeMeaning = person.name
    film.ProcedureCodeSequence = [code]
    film.private_block(0x0009, "CANARIES", create=True).add_new(1, "LO", person.address)
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.Rows = film.Columns = SIDE
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelData = pixels.tobytes()
    path = folder / f"{person.number} {person.phone}.dcm"
    film.save_as(path, enforce_file_format=True)
    return path


def _write_broken_films(folder: Path) -> None:
    """Files that ingest sets aside: no DICOM, torn, of a stranger, with wrong values."""
    whole = next(iter(sorted(folder.iterdir()))).read_bytes()
    (folder / f"{PEOPLE[3].name}.txt").write_text(f"letter to {PEOPLE[3].name}")
    (folder / f"{PEOPLE[4].number} torn.dcm").write_bytes(whole[:700])
    other = whole.replace(b"1.2.999.", b"1.2.998.")
    (folder / "stranger.dcm").write_bytes(
        other.replace(PEOPLE[0].number.encode(), f"X{PEOPLE[0].number[1:]}".encode())
    )
    (folder / "copy.dcm").write_bytes(whole)
    (folder / "wrong.dcm").write_bytes(other.replace(b"20140501", b"Zy000   "))


def _add_box(
    boxes: dict[str, list[dict[str, Any]]], number: int, person: Person, film: Path
) -> None:
    boxes["images"].append({"id": number, "file_name": film.name, "width": SIDE, "height": SIDE})
    boxes["annotations"].append(
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "bbox": [58, 48, 34, 34],
            "attributes": {"reader": person.name},
            "reader": person.name,
        }
    )
