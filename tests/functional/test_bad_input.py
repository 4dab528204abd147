"""Bad input: one clear line and an exit code, or a quarantine row, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from etl.synthetic_hospital.hospital import write_hospital
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

KEY = "a key that is long enough"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "h"
    write_hospital(folder=folder, n_patients=12, seed=0, is_records_only=True)
    return folder


@pytest.fixture
def site(hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ribline) -> Path:
    """A folder with a hospital database of its own and a configuration."""
    shutil.copy(hospital / "hospital.sqlite", tmp_path / "hospital.sqlite")
    (tmp_path / "dicom").mkdir()
    (tmp_path / "ribline.toml").write_text(
        'home = "home"\ndatabase_url = "sqlite:///hospital.sqlite"\nimage_folder = "dicom"\n'
        "size_px = 64\nn_processes = 1\n"
    )
    monkeypatch.setenv("RIBLINE_PSEUDONYM_KEY", KEY)
    return tmp_path


def versions(site: Path) -> int:
    """How many versions the home has published."""
    return len(list((site / "home" / "warehouse" / "_manifests").glob("*.json")))


def last_line(err: str) -> str:
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def test_extraction_of_a_good_database(ribline, site: Path) -> None:
    done = ribline("extract")
    assert done.code == 0, done.err
    assert Store(Home(site / "home")).read(PATIENTS).num_rows == 12


@pytest.mark.parametrize(
    ("variables", "code", "message"),
    [
        ({"RIBLINE_DATABASE_URL": "sqlite:////nowhere/x.sqlite"}, 3, "there is no SQLite file"),
        ({"RIBLINE_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, 3, "database_url"),
        ({"RIBLINE_DATABASE_URL": "not a url"}, 3, "database_url"),
        ({"RIBLINE_PSEUDONYM_KEY": "short"}, 2, "pseudonym"),
        ({"RIBLINE_SITE_MAPPING": "nowhere"}, 2, "Site mapping 'nowhere'"),
        ({"RIBLINE_FINDINGS": "hip_fracture"}, 2, "findings: hip_fracture has no definition"),
    ],
)
def test_extraction_that_cannot_start(
    ribline, site: Path, variables: dict[str, str], code: int, message: str
) -> None:
    done = ribline("extract", **variables)
    assert message in last_line(done.err)
    assert "hunter2" not in done.err
    assert done.code == code
    assert versions(site) == 0


def test_missing_column_names_table_and_column(ribline, site: Path) -> None:
    assert ribline("extract").code == 0
    with sqlite3.connect(site / "hospital.sqlite") as connection:
        connection.execute("ALTER TABLE clinical_note RENAME TO elsewhere")
    connection.close()
    done = ribline("extract")
    assert done.code == 3
    assert "clinical_note" in last_line(done.err)
    assert versions(site) == 1


@pytest.mark.parametrize("folder", ["nowhere", "dicom"])
def test_image_folder_without_files(ribline, site: Path, folder: str) -> None:
    done = ribline("ingest-images", site / folder)
    assert done.code == 3
    assert last_line(done.err).startswith("ribline: ")
    assert versions(site) == 0


def test_undecodable_files_are_quarantined(ribline, site: Path) -> None:
    assert ribline("extract").code == 0
    (site / "dicom" / "Wang_Mei-Ling.dcm").write_bytes(b"no DICOM at all")
    (site / "dicom" / "torn.dcm").write_bytes(b"\0" * 128 + b"DICM\x02\x00")
    done = ribline("ingest-images")
    assert done.code == 0, done.err
    rows = Store(Home(site / "home")).read(QUARANTINE, where={"stage": "ingest-images"}).to_pylist()
    assert len(rows) == 2
    assert "Wang" not in str(rows) + done.out + done.err


@pytest.mark.parametrize("content", [None, "", "[]", '{"images": 3}'])
def test_unusable_box_file(ribline, site: Path, content: str | None) -> None:
    assert ribline("extract").code == 0
    if content is not None:
        (site / "boxes.json").write_text(content)
    done = ribline("import-boxes", "boxes.json")
    assert done.code == 4
    assert last_line(done.err).startswith("ribline: ")
    assert versions(site) == 1


def test_box_for_an_unknown_image_is_quarantined(ribline, site: Path) -> None:
    assert ribline("extract").code == 0
    coco = {
        "images": [{"id": 1, "file_name": "x.dcm", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "rib_fracture"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 10, 5, 5]}],
    }
    (site / "boxes.json").write_text(json.dumps(coco))
    done = ribline("import-boxes", "boxes.json")
    assert done.code == 0, done.err
    rows = Store(Home(site / "home")).read(QUARANTINE, where={"stage": "import-boxes"})
    assert rows.num_rows == 1


def test_cohort_without_images(ribline, site: Path) -> None:
    assert ribline("extract").code == 0
    before = versions(site)
    done = ribline("build-cohort")
    assert done.code in {2, 7}
    assert last_line(done.err).startswith("ribline: ")
    assert versions(site) == before


def test_a_relabelling_that_stops_keeps_what_was_committed(ribline, site: Path) -> None:
    done = ribline("relabel")
    assert done.code == 3
    assert "folder: it holds no file" in last_line(done.err)
    assert versions(site) == 1
    assert Store(Home(site / "home")).read(PATIENTS).num_rows == 12


def test_doctor_finds_what_is_wrong(ribline, site: Path) -> None:
    assert ribline("doctor").code == 0
    (site / "dicom").rmdir()
    done = ribline("doctor", RIBLINE_DATABASE_URL="sqlite:////nowhere/x.sqlite")
    assert done.code == 1
    failed = [line for line in done.out.splitlines() if "│ fail │" in line]
    assert len(failed) == 2
    assert "database" in failed[0]
    assert "image_folder" in failed[1]
    assert KEY not in done.out
    assert "RIBLINE_PSEUDONYM_KEY" in done.out


def test_doctor_reports_a_broken_configuration(ribline, site: Path) -> None:
    (site / "ribline.toml").write_text("size_px = 1\n")
    done = ribline("doctor")
    assert done.code == 1
    assert "size_px" in done.out
