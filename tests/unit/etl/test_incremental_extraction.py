"""Night after night, an incremental extraction gives what a full one into an empty home gives."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from changing_hospital import COLUMNS, ChangingHospital, changing_site

from etl.records.extraction import ExtractionSummary, extract_records
from etl.records.site_mapping import SiteMapping
from etl.records.source_database import SourceDatabase
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import (
    DIAGNOSES,
    ENCOUNTERS,
    IDENTITIES,
    NOTES,
    PATIENTS,
    SOURCE_ROWS,
)
from warehouse_schema.tables.runs import QUARANTINE

KEY = "0123456789abcdef"
TABLES = (PATIENTS, ENCOUNTERS, DIAGNOSES, NOTES, QUARANTINE, SOURCE_ROWS)
ALL = {"patient", "visit", "diagnosis", "note"}


def extract(
    home: Path, url: str, site: SiteMapping, *, is_full: bool = False, pattern: str = "fracture"
) -> ExtractionSummary:
    return extract_records(
        store=Store(Home(home)),
        database_url=url,
        site_mapping=site,
        keyword_pattern=pattern,
        pseudonym_key=KEY,
        is_full=is_full,
    )


def content(home: Path) -> dict[str, pa.Table]:
    """All that extraction writes; accession numbers stay in the id map when notes go."""
    store = Store(Home(home))
    identities = store.read(IDENTITIES)
    kept = [kind != "accession" for kind in identities["kind"].to_pylist()]
    return {table.name: store.read(table) for table in TABLES} | {
        "identities": identities.filter(pa.array(kept, pa.bool_()))
    }


def assert_equal(found: dict[str, pa.Table], expected: dict[str, pa.Table]) -> None:
    for name, table in expected.items():
        assert found[name].to_pylist() == table.to_pylist(), name


def live_through(
    folder: Path,
    site: SiteMapping,
    *,
    seed: int,
    n_patients: int,
    n_nights: int,
    n_changes: int,
    n_compared: int | None = None,
) -> int:
    """Extract every night; compare the last ones, all by default, with an empty home's.

    Returns how many nights were equal to a full read.
    """
    hospital = ChangingHospital(folder / "hospital.sqlite", random.Random(seed))
    hospital.build(n_patients)
    assert extract(folder / "home", hospital.url, site).mode == "full"
    n_equal = 0
    for night in range(n_nights):
        hospital.work(n_changes)
        summary = extract(folder / "home", hospital.url, site)
        assert summary.mode == "incremental"
        if n_compared is not None and night < n_nights - n_compared:
            continue
        full = extract(folder / f"night{night}", hospital.url, site)
        assert_equal(content(folder / "home"), content(folder / f"night{night}"))
        assert (summary.n_quarantined, summary.n_notes) == (full.n_quarantined, full.n_notes)
        n_equal += 1
    return n_equal


@pytest.mark.parametrize(
    ("with_cursor", "has_diagnosis_key"),
    [(ALL, True), (ALL, False), (set(), True), (set(), False), ({"visit", "note"}, True)],
    ids=["cursors", "cursors, diagnoses without identifier", "no cursor",
         "no cursor, diagnoses without identifier", "some cursors"],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0])
def test_every_night_equals_a_full_read(
    tmp_path: Path, with_cursor: set[str], has_diagnosis_key: bool, seed: int
) -> None:
    site = changing_site(with_cursor=with_cursor, has_diagnosis_key=has_diagnosis_key)
    n_equal = live_through(tmp_path, site, seed=seed, n_patients=60, n_nights=4, n_changes=40)
    assert n_equal == 4


def test_twenty_thousand_rows(tmp_path: Path) -> None:
    site = changing_site(with_cursor=ALL, has_diagnosis_key=True)
    live_through(tmp_path, site, seed=7, n_patients=5_000, n_nights=2, n_changes=400, n_compared=1)
    assert Store(Home(tmp_path / "home")).read(SOURCE_ROWS).num_rows > 19_000


@pytest.mark.soak
def test_a_million_rows(tmp_path: Path) -> None:
    site = changing_site(with_cursor={"visit", "note"}, has_diagnosis_key=False)
    live_through(
        tmp_path, site, seed=8, n_patients=255_000, n_nights=3, n_changes=2_000, n_compared=1
    )
    assert Store(Home(tmp_path / "home")).read(SOURCE_ROWS).num_rows > 1_000_000


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_histories(tmp_path: Path, seed: int) -> None:
    with_cursor = [ALL, set(), {"visit", "note"}, {"patient", "diagnosis"}][seed % 4]
    site = changing_site(with_cursor=with_cursor, has_diagnosis_key=seed % 3 > 0)
    n_equal = live_through(tmp_path, site, seed=seed, n_patients=25, n_nights=6, n_changes=15)
    assert n_equal == 6


@pytest.fixture
def small(tmp_path: Path) -> Callable[[str], str]:
    """A hospital of three patients; runs one statement on it and returns its URL."""
    path = tmp_path / "hospital.sqlite"
    with sqlite3.connect(path) as database:
        for table, columns in COLUMNS.items():
            database.execute(f"CREATE TABLE {table} ({', '.join(columns)}, updated)")
        for n in "123":
            when = "2015-03-0" + n
            database.execute(
                "INSERT INTO patient VALUES (?, 'F', '1930-01-01', NULL, ?)", [f"P{n}", when]
            )
            database.execute(
                "INSERT INTO visit VALUES (?, ?, ?, NULL, 'E', ?)", [f"V{n}", f"P{n}", when, when]
            )
            database.execute(
                "INSERT INTO note VALUES (?, ?, ?, 'rib fracture', 'CXR', ?, NULL, ?)",
                [f"N{n}", f"P{n}", f"V{n}", when, when],
            )
    database.close()

    def run(statement: str = "SELECT 1") -> str:
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        return f"sqlite:///{path}"

    return run


SITE = changing_site(with_cursor=ALL, has_diagnosis_key=True)


@pytest.mark.parametrize(
    ("statement", "n_changed", "n_notes_read"),
    [
        ("SELECT 1", 0, 0),
        ("UPDATE note SET body = 'clear', updated = '2015-03-09' WHERE note_no = 'N2'", 1, 1),
        ("UPDATE note SET body = 'no fracture' WHERE note_no = 'N3'", 1, 1),
        ("UPDATE note SET body = 'rib', updated = '2015-03-01 01:00' WHERE note_no = 'N1'", 1, 1),
        ("DELETE FROM note WHERE note_no = 'N1'", 1, 0),
        ("UPDATE visit SET went = '2015-03-09', updated = '2015-04-01' WHERE no = 'P1'", 1, 0),
        ("UPDATE visit SET no = 'P2', updated = '2015-03-09' WHERE visit_no = 'V1'", 1, 1),
        ("DELETE FROM visit WHERE visit_no = 'V3'", 1, 1),
        ("DELETE FROM patient WHERE no = 'P2'", 1, 1),
        ("INSERT INTO patient VALUES ('P4', 'M', '1924-01-01', NULL, '2001-01-01')", 1, 0),
        ("INSERT INTO note SELECT * FROM note WHERE note_no = 'N1'", 1, 2),
    ],
    ids=["nothing", "amended", "amended within a second", "amended with an older time", "deleted",
         "closed", "moved to another patient", "its visit deleted", "its patient deleted",
         "late and old", "doubled"],
)  # fmt: skip
def test_only_what_a_change_touches_is_read_again(
    tmp_path: Path,
    small: Callable[[str], str],
    statement: str,
    n_changed: int,
    n_notes_read: int,
) -> None:
    extract(tmp_path / "home", small("SELECT 1"), SITE)
    summary = extract(tmp_path / "home", small(statement), SITE)
    assert (summary.mode, summary.n_rows_changed, summary.n_notes_read) == (
        "incremental", n_changed, n_notes_read,
    )  # fmt: skip
    extract(tmp_path / "full", small("SELECT 1"), SITE)
    assert_equal(content(tmp_path / "home"), content(tmp_path / "full"))


def test_a_night_without_changes_publishes_nothing(
    tmp_path: Path, small: Callable[[str], str]
) -> None:
    extract(tmp_path / "home", small("SELECT 1"), SITE)
    extract(tmp_path / "home", small("SELECT 1"), SITE)
    extract(tmp_path / "home", small("SELECT 1"), SITE, is_full=True)
    assert Store(Home(tmp_path / "home")).manifest().version == 1


def test_patients_without_visits_age_with_the_newest_visit(
    tmp_path: Path, small: Callable[[str], str]
) -> None:
    url = small("INSERT INTO patient VALUES ('P9', 'M', '1925-06-01', NULL, '2015-03-03')")
    extract(tmp_path / "home", url, SITE)
    small("INSERT INTO visit VALUES ('V9', 'P1', '2015-06-02', NULL, 'E', '2015-06-02')")
    extract(tmp_path / "home", url, SITE)
    extract(tmp_path / "later", url, SITE)
    assert_equal(content(tmp_path / "home"), content(tmp_path / "later"))
    assert sum(Store(Home(tmp_path / "home")).read(PATIENTS)["is_over_89"].to_pylist()) == 1
    small("DELETE FROM visit WHERE visit_no = 'V9'")
    extract(tmp_path / "home", url, SITE)
    left = Store(Home(tmp_path / "home")).read(PATIENTS)["is_over_89"].to_pylist()
    assert sum(left) == 1, "who was over 89 once does not get the birth date back"


def test_what_is_read_with_changes_everything_is_read(
    tmp_path: Path, small: Callable[[str], str]
) -> None:
    home, url = tmp_path / "home", small("SELECT 1")
    extract(home, url, SITE)
    assert extract(home, url, SITE, pattern="clear").mode == "full"
    other = SITE.model_copy(update={"time_zone": "UTC"})
    assert extract(home, url, other, pattern="clear").mode == "full"
    assert extract(home, url, other, pattern="clear").mode == "incremental"
    assert extract(home, url, other, pattern="clear", is_full=True).mode == "full"


def test_a_source_that_moves_while_it_is_read_is_read_in_full(
    tmp_path: Path, small: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = small("SELECT 1")
    extract(tmp_path / "home", url, SITE)
    small("UPDATE note SET body = 'a fracture', updated = '2015-03-08' WHERE note_no = 'N1'")
    fetch = SourceDatabase.fetch

    def meanwhile(self: SourceDatabase, *arguments: Any) -> Any:
        # As on a server without snapshots: a dropped connection sees a later state.
        if arguments[-1] != [None]:
            self._drop_connection()
            small("UPDATE note SET no = 'P3', updated = '2015-03-09' WHERE note_no = 'N1'")
        return fetch(self, *arguments)

    monkeypatch.setattr(SourceDatabase, "fetch", meanwhile)
    assert extract(tmp_path / "home", url, SITE).mode == "full"
    monkeypatch.undo()
    extract(tmp_path / "full", url, SITE)
    assert_equal(content(tmp_path / "home"), content(tmp_path / "full"))
