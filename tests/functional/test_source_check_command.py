"""`ribline source-check` and `ribline extract --full` as typed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from etl.synthetic_hospital.hospital import write_hospital
from warehouse_schema.errors import SourceError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ribline) -> Path:
    write_hospital(folder=tmp_path / "h", n_patients=15, seed=0, is_records_only=True)
    (tmp_path / "ribline.toml").write_text(
        'home = "home"\ndatabase_url = "sqlite:///h/hospital.sqlite"\n'
    )
    monkeypatch.setenv("RIBLINE_PSEUDONYM_KEY", "a key that is long enough")
    return tmp_path


def test_the_table_names_sections_and_says_that_all_is_there(ribline, site: Path) -> None:
    done = ribline("source-check")
    assert done.code == 0, done.err
    assert "clinical_note" in done.out
    assert "Everything that the mapping names is there." in done.out
    assert not (site / "home").exists()


def test_json_is_one_object(ribline, site: Path) -> None:
    done = ribline("source-check", "--format", "json")
    assert done.code == 0, done.err
    check = json.loads(done.out)
    sections = {each["section"]: each for each in check["sections"]}
    assert check["is_complete"]
    assert sections["patients"]["n_rows"] == 15
    assert sections["encounters"]["dates"][0]["earliest"].startswith("20")
    assert sections["diagnoses[0]"]["values"][0]["n_unmapped"] == 0


def test_a_missing_column_ends_with_the_code_of_a_bad_source(ribline, site: Path) -> None:
    with sqlite3.connect(site / "h" / "hospital.sqlite") as connection:
        connection.execute("ALTER TABLE clinical_note RENAME COLUMN note_text TO body")
    connection.close()
    done = ribline("source-check")
    assert done.code == SourceError.exit_code
    assert "text = note_text" in done.out
    assert "Traceback" not in done.err


def test_a_second_night_reads_nothing_unless_told_to(ribline, site: Path) -> None:
    def night(*options: str) -> dict[str, str]:
        done = ribline("extract", *options)
        assert done.code == 0, done.err
        lines = [line.split() for line in done.out.splitlines()]
        return {words[0]: words[-1] for words in lines if len(words) == 2}

    def n_versions() -> int:
        return len(list((site / "home" / "warehouse" / "_manifests").glob("*.json")))

    first, before = night(), n_versions()
    assert first["mode"] == "full"
    assert night()["mode"] == "incremental"
    assert night("--full")["mode"] == "full"
    assert n_versions() == before
