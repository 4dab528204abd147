"""The synthetic hospital in SQLite, PostgreSQL and MariaDB: one and the same warehouse."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from database_servers import DatabaseServer

from etl.records.extraction import ExtractionSummary, extract_records
from etl.records.site_mapping import load_site_mapping
from etl.records.source_check import check_source
from etl.synthetic_hospital.database import COLUMNS, insert_statement, schema_statements
from etl.synthetic_hospital.hospital import write_hospital
from warehouse_schema.errors import SourceError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES, NOTES, PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

TABLES = (PATIENTS, ENCOUNTERS, DIAGNOSES, NOTES, IDENTITIES, QUARANTINE)
SERVERS = ["postgresql", "mariadb"]


@pytest.fixture(scope="module")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "h"
    write_hospital(folder=folder, n_patients=150, seed=0, is_records_only=True)
    return folder / "hospital.sqlite"


def copy_hospital(sqlite_file: Path, url: str) -> None:
    """The hospital's own DDL and rows, in an empty database of a server."""
    engine = sa.create_engine(url)
    with engine.begin() as target, sqlite3.connect(sqlite_file) as source:
        for statement in schema_statements():
            target.exec_driver_sql(statement)
        for table, columns in COLUMNS.items():
            rows = source.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            target.exec_driver_sql(insert_statement(table, "%s"), rows)
    engine.dispose()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def url(server: DatabaseServer, sqlite_file: Path) -> str:
    made = server.new_database()
    copy_hospital(sqlite_file, made)
    return made


def extract(home: Path, url: str) -> ExtractionSummary:
    return extract_records(
        store=Store(Home(home)),
        database_url=url,
        site_mapping="synthetic_hospital",
        keyword_pattern="(?i)fract|rib|骨折",
        pseudonym_key="0123456789abcdef",
    )


def content(home: Path) -> dict[str, pa.Table]:
    store = Store(Home(home))
    return {table.name: store.read(table) for table in TABLES}


def test_ddl_and_rows_are_taken_as_they_are(url: str) -> None:
    engine = sa.create_engine(url)
    described = {
        table: tuple(column["name"] for column in sa.inspect(engine).get_columns(table))
        for table in sa.inspect(engine).get_table_names()
    }
    engine.dispose()
    assert described == dict(COLUMNS)


def test_the_warehouse_is_that_of_sqlite(tmp_path: Path, url: str, sqlite_file: Path) -> None:
    summary = extract(tmp_path / "server", url)
    assert summary == extract(tmp_path / "file", f"sqlite:///{sqlite_file}")
    assert summary.n_notes > 100
    expected = content(tmp_path / "file")
    for name, rows in content(tmp_path / "server").items():
        assert rows.equals(expected[name]), name


def test_a_night_without_changes_writes_nothing(tmp_path: Path, url: str) -> None:
    extract(tmp_path, url)
    version = Store(Home(tmp_path)).manifest().version
    summary = extract(tmp_path, url)
    assert (summary.mode, summary.n_rows_changed, summary.n_notes_read) == ("incremental", 0, 0)
    assert Store(Home(tmp_path)).manifest().version == version


def test_source_check_counts_what_extraction_reads(tmp_path: Path, url: str) -> None:
    check = check_source(database_url=url, site_mapping=load_site_mapping("synthetic_hospital"))
    summary = extract(tmp_path, url)
    n_rows = {each.section: each.n_rows for each in check.sections}
    assert check.is_complete
    assert n_rows["patients"] == summary.n_patients
    assert n_rows["notes[0]"] == summary.n_notes_read
    (start, end) = check.sections[1].dates
    assert not start.is_sample
    assert start.earliest < start.latest
    assert end.n_unreadable == 0


def reader_of(server: DatabaseServer, url: str) -> str:
    """The URL of a role that may SELECT and nothing else."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        name = f"reader_{parsed.database}"
        server.run(
            f"CREATE ROLE {name} LOGIN",
            f"GRANT USAGE ON SCHEMA public TO {name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
            f"ALTER ROLE {name} SET default_transaction_read_only = on",
            url=url,
        )
        return parsed.set(username=name).render_as_string(hide_password=False)
    server.run(
        f"CREATE USER 'r_{parsed.database}'@'127.0.0.1'",
        f"GRANT SELECT ON {parsed.database}.* TO 'r_{parsed.database}'@'127.0.0.1'",
    )
    return parsed.set(username=f"r_{parsed.database}").render_as_string(hide_password=False)


def test_a_role_that_may_only_select_suffices(
    tmp_path: Path, server: DatabaseServer, url: str
) -> None:
    reader = reader_of(server, url)
    engine = sa.create_engine(reader)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.exec_driver_sql("DELETE FROM clinical_note")
    engine.dispose()
    mapping = load_site_mapping("synthetic_hospital")
    assert check_source(database_url=reader, site_mapping=mapping).is_complete
    assert extract(tmp_path / "reader", reader).n_patients == 150
    extract(tmp_path / "admin", url)
    expected = content(tmp_path / "admin")
    for name, rows in content(tmp_path / "reader").items():
        assert rows.equals(expected[name]), name


def test_a_role_without_rights_is_told_in_one_line_without_data(
    tmp_path: Path, server: DatabaseServer, url: str
) -> None:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        server.run("CREATE ROLE stranger LOGIN", url=url)
        stranger = parsed.set(username="stranger")
    else:
        server.run("CREATE USER 'stranger'@'127.0.0.1'")
        stranger = parsed.set(username="stranger")
    with pytest.raises(SourceError) as caught:
        extract(tmp_path, stranger.render_as_string(hide_password=False))
    assert "\n" not in str(caught.value)
    assert not Store(Home(tmp_path)).manifest().tables


CHANGES = [
    "UPDATE clinical_note SET note_text = 'No rib fracture.', updated_at = '2017-01-01 00:00:00' "
    "WHERE note_no IN (SELECT note_no FROM (SELECT min(note_no) AS note_no FROM clinical_note) t)",
    "DELETE FROM visit_diagnosis WHERE seq_no = 1 AND icd_code LIKE '8%'",
    "UPDATE visit SET end_at = NULL, updated_at = '2017-01-01 00:00:00' WHERE visit_type = 'O'",
    "UPDATE patient SET birth_date = '1920-02-29', updated_at = '2017-01-01 00:00:00' "
    "WHERE chart_no IN (SELECT no FROM (SELECT max(chart_no) AS no FROM patient) t)",
    "INSERT INTO patient VALUES ('Z1', 'n', 'n', 'F', '1960-01-01', NULL, NULL, 1, "
    "'2001-01-01 00:00:00')",
    "INSERT INTO visit VALUES ('Z1V', 'Z1', 'E', 'ER', '2016-12-31 10:00:00', NULL, "
    "'2001-01-01 00:00:00')",
    "INSERT INTO clinical_note VALUES ('Z1N', 'Z1D', 1, 'Z1', 'Z1V', 'CXR', 'final', NULL, 'a', "
    "'2016-12-31 11:00:00', NULL, 'Left rib fracture.', '2001-01-01 00:00:00')",
]


def test_changes_are_read_again_and_nothing_else(
    tmp_path: Path, server: DatabaseServer, sqlite_file: Path
) -> None:
    url = server.new_database()
    copy_hospital(sqlite_file, url)
    first = extract(tmp_path / "home", url)
    for change in CHANGES:
        server.run(change, url=url)
        extract(tmp_path / "home", url)
    last = extract(tmp_path / "home", url)
    assert (last.mode, last.n_rows_changed) == ("incremental", 0)
    assert last.n_patients == first.n_patients + 1
    assert extract(tmp_path / "full", url).n_diagnoses == last.n_diagnoses < first.n_diagnoses
    expected = content(tmp_path / "full")
    for name, rows in content(tmp_path / "home").items():
        kept = [row for row in rows.to_pylist() if row.get("kind") != "accession"]
        wanted = [row for row in expected[name].to_pylist() if row.get("kind") != "accession"]
        assert kept == wanted, name
