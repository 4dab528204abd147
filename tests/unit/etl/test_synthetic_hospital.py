"""The synthetic hospital as a whole: what it writes, and that a seed decides it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest

from etl.records.site_mapping import load_site_mapping
from etl.synthetic_hospital.database import COLUMNS
from etl.synthetic_hospital.hospital import HospitalSummary, write_hospital
from etl.synthetic_hospital.population import Proportions
from warehouse_schema.errors import ArgumentError

MANY_POSITIVES = Proportions(rib=0.4, clavicle=0.3, both=0.1, boxed_share=0.6)
N_PATIENTS, SEED = 5, 11


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> HospitalSummary:
    """A small hospital with films, one process."""
    folder = tmp_path_factory.mktemp("hospital") / "one"
    return write_hospital(
        folder=folder, n_patients=N_PATIENTS, seed=SEED, proportions=MANY_POSITIVES
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> HospitalSummary:
    """Records alone, enough patients for rates."""
    folder = tmp_path_factory.mktemp("records") / "many"
    return write_hospital(folder=folder, n_patients=800, seed=5, is_records_only=True)


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows by table, in stored order."""
    with sqlite3.connect(folder / "hospital.sqlite") as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
            for table in COLUMNS
        }


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by path below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_hospital_whatever_the_processes(
    hospital: HospitalSummary, tmp_path: Path
) -> None:
    other = write_hospital(
        folder=tmp_path / "two",
        n_patients=N_PATIENTS,
        seed=SEED,
        proportions=MANY_POSITIVES,
        n_processes=2,
    )
    assert rows(other.folder) == rows(hospital.folder)
    assert file_hashes(other.folder / "dicom") == file_hashes(hospital.folder / "dicom")
    for name in ("boxes.json", "truth/images.parquet", "truth/notes.parquet"):
        assert (other.folder / name).read_bytes() == (hospital.folder / name).read_bytes()


def test_records_alone_are_the_records_with_films(
    hospital: HospitalSummary, tmp_path: Path
) -> None:
    alone = write_hospital(
        folder=tmp_path / "alone",
        n_patients=N_PATIENTS,
        seed=SEED,
        proportions=MANY_POSITIVES,
        is_records_only=True,
    )
    assert rows(alone.folder) == rows(hospital.folder)
    assert not (alone.folder / "dicom").exists()
    assert not (alone.folder / "boxes.json").exists()
    assert alone.n_images == 0


def test_another_seed_is_another_hospital(hospital: HospitalSummary, tmp_path: Path) -> None:
    other = write_hospital(
        folder=tmp_path / "other", n_patients=N_PATIENTS, seed=SEED + 1, is_records_only=True
    )
    charts = {row[0] for row in rows(other.folder)["patient"]}
    assert charts.isdisjoint({row[0] for row in rows(hospital.folder)["patient"]})


def test_summary_counts_what_was_written(hospital: HospitalSummary) -> None:
    written = rows(hospital.folder)
    assert hospital.n_patients == len(written["patient"]) == N_PATIENTS
    assert hospital.n_visits == len(written["visit"])
    assert hospital.n_diagnoses == len(written["visit_diagnosis"])
    assert hospital.n_notes == len(written["clinical_note"])
    assert hospital.n_images == len(list((hospital.folder / "dicom").rglob("*.dcm"))) > 0
    assert hospital.n_positive_patients == 4
    assert {row[2] for row in written["hospital"]} == {"SYNTHETIC"}


def test_boxes_name_stored_films_of_positive_patients(hospital: HospitalSummary) -> None:
    coco = json.loads((hospital.folder / "boxes.json").read_text(encoding="utf-8"))
    truth = {
        row["sop_instance_uid"]: row
        for row in pq.read_table(hospital.folder / "truth/images.parquet").to_pylist()
    }
    images = {image["id"]: image for image in coco["images"]}
    assert [one["name"] for one in coco["categories"]] == ["rib_fracture", "clavicle_fracture"]
    for image in images.values():
        stored = pydicom.dcmread(
            hospital.folder / "dicom" / image["file_name"], stop_before_pixels=True
        )
        assert stored.SOPInstanceUID == image["sop_instance_uid"]
        assert stored.AccessionNumber == image["accession_number"]
        assert (stored.Rows, stored.Columns) == (image["height"], image["width"])
    boxed = {one["image_id"] for one in coco["annotations"]}
    assert len(boxed) == hospital.n_boxed_images > 0
    for one in coco["annotations"]:
        image = images[one["image_id"]]
        x_px, y_px, width_px, height_px = one["bbox"]
        assert 0 <= x_px < x_px + width_px <= image["width"] + 0.01
        assert 0 <= y_px < y_px + height_px <= image["height"] + 0.01
        finding = coco["categories"][one["category_id"] - 1]["name"]
        assert truth[image["sop_instance_uid"]][f"has_visible_acute_{finding}"]
        assert one["attributes"]["reader"]
        assert one["attributes"]["date"]


def test_films_belong_to_orders_and_patients(hospital: HospitalSummary) -> None:
    orders = {row[0]: row for row in rows(hospital.folder)["radiology_order"]}
    patients = {row[0]: row for row in rows(hospital.folder)["patient"]}
    for path in (hospital.folder / "dicom").rglob("*.dcm"):
        stored = pydicom.dcmread(path)
        order = orders[stored.AccessionNumber]
        assert path.stem == stored.SOPInstanceUID
        assert order[2] == stored.PatientID
        assert str(stored.PatientName.ideographic).replace("^", "") == patients[order[2]][1]
        assert stored.StudyDate + stored.StudyTime == "".join(
            one for one in order[6] if one.isdigit()
        )
        assert "SYNTHETIC" in str(stored.InstitutionName)
        assert "SYNTHETIC" in str(stored.SeriesDescription)
        assert int(stored.pixel_array.max()) < 2**stored.BitsStored


def test_truth_agrees_with_itself(hospital: HospitalSummary) -> None:
    patients = {
        row["patient_index"]: row["truth_group"]
        for row in pq.read_table(hospital.folder / "truth/patients.parquet").to_pylist()
    }
    groups = {"rib_fracture": {"rib", "both"}, "clavicle_fracture": {"clavicle", "both"}}
    n_index_films = 0
    for row in pq.read_table(hospital.folder / "truth/images.parquet").to_pylist():
        n_index_films += row["is_index_film"]
        for finding, positive in groups.items():
            if row["is_index_film"]:
                is_positive = patients[row["patient_index"]] in positive
                assert row[f"has_acute_{finding}"] == is_positive
            seen = [
                box
                for box in row["boxes"]
                if box["finding"] == finding and box["is_visible"] and not box["is_old"]
            ]
            assert row[f"has_visible_acute_{finding}"] == bool(seen)
            assert row[f"has_acute_{finding}"] or not seen
            assert (row[f"severity_{finding}"] is not None) == row[f"has_acute_{finding}"]
    assert 0 < n_index_films <= N_PATIENTS


def test_paper_proportions_hold_at_any_size(tmp_path: Path) -> None:
    summary = write_hospital(
        folder=tmp_path / "paper",
        n_patients=329,
        seed=1,
        is_paper_proportions=True,
        is_records_only=True,
    )
    assert summary.n_positive_patients == 34  # 329 * 6,792 / 65,843


def test_evidence_is_found_for_nearly_all_fractures(records: HospitalSummary) -> None:
    images = pq.read_table(records.folder / "truth/images.parquet").to_pylist()
    for finding in ("rib_fracture", "clavicle_fracture"):
        index_films = [row for row in images if row["is_index_film"]]
        positive = [row for row in index_films if row[f"has_acute_{finding}"]]
        negative = [row for row in index_films if not row[f"has_acute_{finding}"]]
        with_evidence = [bool(row[f"evidence_{finding}"]) for row in positive]
        mistaken = [bool(row[f"evidence_{finding}"]) for row in negative]
        assert 0.9 < np.mean(with_evidence) < 1.0
        assert 0.0 < np.mean(mistaken) < 0.03


def test_note_statements_cover_every_kind(records: HospitalSummary) -> None:
    table = pq.read_table(records.folder / "truth/notes.parquet")
    said: Mapping[str, int] = {}
    for kind in table["statement"].to_pylist():
        said = {**said, kind: said.get(kind, 0) + 1}
    assert set(said) == {
        "present",
        "absent",
        "uncertain",
        "old",
        "healing",
        "history",
        "family",
        "hypothetical",
    }
    assert said["absent"] > said["uncertain"] > said["family"]


@pytest.mark.parametrize(
    ("query", "low", "high"),
    [
        ("SELECT avg(icd_code NOT LIKE '%.%') FROM visit_diagnosis", 0.2, 0.6),
        ("SELECT avg(note_status = 'preliminary') FROM clinical_note", 0.01, 0.06),
        ("SELECT avg(accession_no IS NOT NULL) FROM clinical_note", 0.3, 0.6),
        (
            "SELECT avg(note_text LIKE '%rib%' OR note_text LIKE '%肋%') FROM clinical_note",
            0.2,
            0.6,
        ),
        ("SELECT avg(note_text GLOB '*[一-龥]*') FROM clinical_note", 0.3, 0.8),
        ("SELECT avg(visit_type = 'E') FROM visit", 0.4, 0.7),
    ],
)
def test_records_have_realistic_rates(
    records: HospitalSummary, query: str, low: float, high: float
) -> None:
    with sqlite3.connect(records.folder / "hospital.sqlite") as connection:
        (share,) = connection.execute(query).fetchone()
    assert low < share < high


def test_code_systems_change_with_the_year_and_stand_in_each_row(
    records: HospitalSummary,
) -> None:
    with sqlite3.connect(records.folder / "hospital.sqlite") as connection:
        by_system = dict(
            connection.execute(
                "SELECT code_system, count(*) FROM visit_diagnosis GROUP BY 1"
            ).fetchall()
        )
        late_nine = connection.execute(
            "SELECT count(*) FROM visit_diagnosis "
            "WHERE code_system = 'ICD9CM' AND recorded_at > '2016-02-15'"
        ).fetchone()
    assert set(by_system) == {"ICD9CM", "ICD10CM"}
    assert by_system["ICD9CM"] > 3 * by_system["ICD10CM"]
    assert late_nine == (0,)


def test_keys_are_sound(records: HospitalSummary) -> None:
    with sqlite3.connect(records.folder / "hospital.sqlite") as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ended_early = connection.execute(
            "SELECT count(*) FROM visit WHERE end_at < start_at OR start_at >= '2017-01-01'"
        ).fetchone()
    assert ended_early == (0,)


def test_shipped_site_mapping_names_columns_that_exist() -> None:
    mapping = load_site_mapping("synthetic_hospital")
    assert mapping.is_synthetic
    assert mapping.patients.table in COLUMNS
    assert mapping.encounters.encounter in COLUMNS[mapping.encounters.table]
    for block in mapping.diagnoses:
        assert block.code in COLUMNS[block.table]
    for note in mapping.notes:
        assert {note.note, note.text, note.note_series} <= set(COLUMNS[note.table])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_patients": 0}, "patients is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"n_processes": 0}, "processes is 0"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, wrong: dict[str, int], message: str) -> None:
    arguments: dict[str, Any] = {"n_patients": 1, "seed": 1, **wrong}
    with pytest.raises(ArgumentError, match=message):
        write_hospital(folder=tmp_path / "new", **arguments)


def test_a_folder_in_use_is_left_alone(hospital: HospitalSummary) -> None:
    before = file_hashes(hospital.folder)
    with pytest.raises(ArgumentError, match="not empty"):
        write_hospital(folder=hospital.folder, n_patients=1, seed=1, is_records_only=True)
    assert file_hashes(hospital.folder) == before
