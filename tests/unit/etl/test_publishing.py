"""Results in a reporting database: SQLite here, servers in tests/integration."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from published_results import RUN_ID, published_rows, results_store, tables_that_arrive

from etl.publishing import PUBLICATION, RESULT_TABLES, publish_results
from warehouse_schema.errors import SourceError
from warehouse_schema.store import Store
from warehouse_schema.tables.runs import TRAINING_RUNS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return results_store(tmp_path / "home")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/reporting.sqlite"


def test_every_value_arrives_with_its_type(store: Store, url: str) -> None:
    assert tables_that_arrive(store, url) == {PUBLICATION, *(t.name for t in RESULT_TABLES)}


def test_publishing_again_changes_nothing(store: Store, url: str) -> None:
    publish_results(store=store, database_url=url)
    before = published_rows(url)
    publish_results(store=store, database_url=url)
    assert published_rows(url) == before


def test_rows_that_left_the_warehouse_leave_the_database(store: Store, url: str) -> None:
    publish_results(store=store, database_url=url)
    with store.commit(stage="fabricate") as commit:
        commit.replace(TRAINING_RUNS, TRAINING_RUNS.schema.empty_table())
    summary = publish_results(store=store, database_url=url)
    assert summary.n_rows["training_runs"] == 0
    assert published_rows(url)["training_runs"] == []
    assert published_rows(url)["publication"][0]["warehouse_version"] == summary.version


def test_other_tables_are_left_alone_and_old_columns_exchanged(
    store: Store, url: str, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "reporting.sqlite") as connection:
        connection.execute("CREATE TABLE wards (name TEXT)")
        connection.execute("INSERT INTO wards VALUES ('A')")
        connection.execute("CREATE TABLE ribline_training_runs (run_id TEXT, old_column TEXT)")
    connection.close()
    publish_results(store=store, database_url=url)
    assert [row["run_id"] for row in published_rows(url)["training_runs"]] == [RUN_ID]
    with sqlite3.connect(tmp_path / "reporting.sqlite") as connection:
        assert connection.execute("SELECT name FROM wards").fetchall() == [("A",)]
    connection.close()


def test_a_failure_leaves_everything_as_it_was(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish_results(store=store, database_url=url)
    before = published_rows(url)
    with store.commit(stage="fabricate") as commit:
        commit.replace(TRAINING_RUNS, TRAINING_RUNS.schema.empty_table())
    with sqlite3.connect(tmp_path / "reporting.sqlite") as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON ribline_publication "
            "BEGIN SELECT RAISE(ABORT, 'secret ward'); END"
        )
    connection.close()
    with pytest.raises(SourceError, match=r"written \(IntegrityError\)\. Nothing") as error:
        publish_results(store=store, database_url=url)
    assert "secret ward" not in str(error.value)
    assert published_rows(url) == before


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a SQLAlchemy URL"),
        ("nodialect://u:pa55word@h/d", "not a SQLAlchemy URL"),
        ("sqlite:////no/such/folder/r.sqlite", "there is no folder folder"),
        ("postgresql+psycopg://u:pa55word@127.0.0.1:1/d", r"cannot be written \(OperationalError"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(
    store: Store, url: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as error:
        publish_results(store=store, database_url=url)
    assert "pa55word" not in str(error.value)


def test_only_tables_without_patients_go_out() -> None:
    for table in RESULT_TABLES:
        names = {column.name for column in table.columns}
        assert not names & {"patient_id", "image_id", "note_id", "encounter_id", "mention_id"}
        assert table.area == "warehouse"
