"""Strings of SQL in identifiers, codes, keywords and configured names stay strings."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
from changing_hospital import COLUMNS, changing_site
from pydantic import ValidationError

from etl.privacy.forgetting import forget_patients
from etl.records.extraction import extract_records
from etl.records.site_mapping import SiteMapping
from warehouse_schema.errors import RiblineError
from warehouse_schema.home import Home
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables.records import IDENTITIES, PATIENTS

KEY = "0123456789abcdef"
OPENINGS = ("'", '"', "`", "]", "')", "';", '";', "\\'", "%27", "’", "'/**/", "x' ", "$$", "'||'")
BODIES = (
    "DROP TABLE patient; --",
    "OR '1'='1",
    "UNION SELECT sql FROM sqlite_master --",
    "; DELETE FROM note; --",
    "; ATTACH 'x.db' AS x; --",
    "; COPY (SELECT 1) TO 'out.csv'; --",
    "; PRAGMA writable_schema=1; --",
    "AND 1=(SELECT count(*) FROM patient) --",
    "\x00 OR 1=1",
    ") OR (1=1",
    "LIMIT 1; VACUUM; --",
    "{0} %s :name ? @p $1",
)


def attacks(n: int) -> list[str]:
    draw = random.Random(3)
    return [f"{draw.choice(OPENINGS)}{number} {draw.choice(BODIES)}" for number in range(n)]


def hospital_of(folder: Path, names: list[str]) -> str:
    """A patient, a stay, a code and a note for each name, which stands in every text."""
    path = folder / "hospital.sqlite"
    with sqlite3.connect(path) as database:
        for table, columns in COLUMNS.items():
            database.execute(f"CREATE TABLE {table} ({', '.join(columns)}, updated)")
        for number, name in enumerate(names):
            day = "2014-10-20 10:00:00"
            rows = {
                "patient": (name, "F", "1950-06-01", name),
                "visit": (f"{name} v", name, day, day, name),
                "diagnosis": (number, name, f"{name} v", name, "9", 1, day),
                "note": (f"{name} n", name, f"{name} v", f"fracture {name}", "CXR", day, name),
            }
            for table, values in rows.items():
                marks = ", ".join("?" * (len(values) + 1))
                database.execute(f"INSERT INTO {table} VALUES ({marks})", (*values, day))
    database.close()
    return f"sqlite:///{path}"


def n_rows(url: str) -> dict[str, int]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        counts = {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in COLUMNS
        }
    database.close()
    return counts


@pytest.mark.parametrize("n", [100, pytest.param(5000, marks=pytest.mark.soak)])
def test_names_are_values_from_extraction_to_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    monkeypatch.chdir(tmp_path)
    names = attacks(n)
    url = hospital_of(tmp_path, names)
    before = n_rows(url)
    store = Store(Home(tmp_path / "home"))
    mapping = changing_site(with_cursor=set(), has_diagnosis_key=True)
    for _ in range(2):
        extract_records(
            store=store,
            database_url=url,
            site_mapping=mapping,
            keyword_pattern="fracture",
            pseudonym_key=KEY,
        )
    patients = store.read(PATIENTS).num_rows
    # A null character ends a name in some databases; such rows are kept or set aside, never run.
    assert n * 0.8 <= patients <= n
    known = store.read(IDENTITIES, where={"kind": "patient"})["source_identifier"].to_pylist()
    assert set(known) <= {name.strip() for name in names} | set(names)
    assert n_rows(url) == before
    gone = known[:: max(len(known) // 5, 1)]
    summary = forget_patients(store=store, source=mapping.name, pseudonym_key=KEY, identifiers=gone)
    assert summary.n_patients == len(gone)
    assert store.read(PATIENTS).num_rows == patients - len(gone)
    assert not [path for path in tmp_path.iterdir() if path.suffix in {".db", ".csv"}]


@pytest.mark.parametrize("n", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_keywords_and_configured_names_are_refused_or_quoted(tmp_path: Path, n: int) -> None:
    url = hospital_of(tmp_path, ["P1"])
    before = n_rows(url)
    plain = changing_site(with_cursor=set(), has_diagnosis_key=True).model_dump(exclude_none=True)
    for number, name in enumerate(attacks(n)):
        for key in ("table", "patient", "sex"):
            fields = {**plain, "patients": {**plain["patients"], key: name}}
            with pytest.raises((RiblineError, ValidationError)):
                extract_records(
                    store=Store(Home(tmp_path / f"home{number % 3}")),
                    database_url=url,
                    site_mapping=SiteMapping.model_validate(fields),
                    keyword_pattern="fracture",
                    pseudonym_key=KEY,
                )
    assert n_rows(url) == before


@pytest.mark.parametrize("n", [100, pytest.param(5000, marks=pytest.mark.soak)])
def test_queries_of_attacks_change_nothing(tmp_path: Path, n: int) -> None:
    store = Store(Home(tmp_path / "home"))
    before = sorted(tmp_path.rglob("*"))
    for number, attack in enumerate(attacks(n)):
        sql = f"SELECT * FROM patients WHERE patient_id = '{attack}'" if number % 2 else attack
        try:
            rows = run_query(store, sql)
        except RiblineError:
            continue
        assert rows.num_rows == 0
    assert sorted(tmp_path.rglob("*")) == before
