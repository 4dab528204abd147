"""Results in a reporting database on PostgreSQL and MariaDB."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from database_servers import DatabaseServer
from published_results import published_rows, results_store, tables_that_arrive

from etl.publishing import PUBLICATION, RESULT_TABLES, publish_results
from warehouse_schema.errors import SourceError
from warehouse_schema.tables.runs import TRAINING_RUNS


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return request.getfixturevalue(request.param)


def test_every_value_arrives_with_its_type_and_stays(
    server: DatabaseServer, tmp_path: Path
) -> None:
    store = results_store(tmp_path / "home")
    url = server.new_database()
    assert tables_that_arrive(store, url) == {PUBLICATION, *(t.name for t in RESULT_TABLES)}
    before = published_rows(url)
    publish_results(store=store, database_url=url)
    assert published_rows(url) == before


def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    postgresql: DatabaseServer, tmp_path: Path
) -> None:
    store = results_store(tmp_path / "home")
    url = postgresql.new_database()
    publish_results(store=store, database_url=url)
    before = published_rows(url)
    with store.commit(stage="fabricate") as commit:
        commit.replace(TRAINING_RUNS, TRAINING_RUNS.schema.empty_table())
    postgresql.run(
        "ALTER TABLE ribline_training_runs ADD COLUMN old_column TEXT",
        "ALTER TABLE ribline_publication ADD CHECK (warehouse_version < 2) NOT VALID",
        url=url,
    )
    with pytest.raises(SourceError, match=r"cannot be written \(CheckViolation\)"):
        publish_results(store=store, database_url=url)
    # Neither the rows nor the table that was to be made anew have changed.
    assert published_rows(url) == before


def test_times_carry_their_zone(postgresql: DatabaseServer, tmp_path: Path) -> None:
    url = postgresql.new_database()
    publish_results(store=results_store(tmp_path / "home"), database_url=url)
    engine = sa.create_engine(url)
    columns = {
        column["name"]: str(column["type"])
        for column in sa.inspect(engine).get_columns("ribline_training_runs")
    }
    engine.dispose()
    assert columns["started_datetime"] == "TIMESTAMP"
    assert columns["n_steps"] == "BIGINT"
    assert columns["wall_s"] == "DOUBLE PRECISION"
    assert columns["run_id"] == "TEXT"
    assert published_rows(url)["training_runs"][0]["started_datetime"].tzinfo is not None
