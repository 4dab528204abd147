"""SQL over the warehouse: one SELECT, read-only, inside the warehouse."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from warehouse_schema.dictionary import view_meaning
from warehouse_schema.errors import QueryError
from warehouse_schema.home import Home
from warehouse_schema.query import named_views, run_query
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(Home(tmp_path_factory.mktemp("home")))
    row = {
        "run_id": "aals-0-0-x",
        "finding": "rib_fracture",
        "metric": "auroc",
        "value": 0.75,
        "ci_low": 0.5,
        "ci_high": 1.0,
        "n_positive": 3,
        "n_negative": 4,
        "protocol": "test/all/whole/student",
    }
    with store.commit(stage="evaluate") as commit:
        commit.replace(
            EVALUATION_REPORTS, pa.Table.from_pylist([row], schema=EVALUATION_REPORTS.schema)
        )
    return store


def test_the_analyst_s_question_is_one_plain_select(store: Store) -> None:
    rows = run_query(
        store, "SELECT run_id, finding, metric, value, ci_low, ci_high FROM evaluation_reports"
    )
    assert rows.to_pylist() == [
        {
            "run_id": "aals-0-0-x",
            "finding": "rib_fracture",
            "metric": "auroc",
            "value": 0.75,
            "ci_low": 0.5,
            "ci_high": 1.0,
        }
    ]


@pytest.mark.parametrize("name", [t.name for t in TABLES.values() if t.area == "warehouse"])
def test_every_shareable_table_can_be_selected(store: Store, name: str) -> None:
    columns = run_query(store, f"SELECT * FROM {name}").column_names
    assert columns == [column.name for column in TABLES[name].columns]


@pytest.mark.parametrize("name", named_views())
def test_every_named_view_runs_and_says_what_a_row_is(store: Store, name: str) -> None:
    assert run_query(store, f"SELECT * FROM {name}").num_rows == 0 or name == "leaderboard"
    assert view_meaning(named_views()[name]).startswith("One ")


ANSWERED = (
    "SELECT count(*) FROM range(3)",
    "WITH x AS (SELECT unnest([1, 2]) AS n) SELECT sum(n) FROM x",
    "FROM evaluation_reports SELECT run_id ORDER BY ALL LIMIT 1",
    "SELECT run_id, row_number() OVER () FROM leaderboard",
    "VALUES (1), (2)",
    "SELECT * FROM (SELECT 1) UNION ALL SELECT 2;",
    "SELECT list_transform([1, 2], x -> x + 1)",
)


@pytest.mark.parametrize("sql", ANSWERED)
def test_what_analysts_write_is_answered(store: Store, sql: str) -> None:
    assert run_query(store, sql).num_columns


REFUSED = {
    "write": "CREATE TABLE x AS SELECT 1",
    "drop": "DROP VIEW cohort",
    "copy out": "COPY (SELECT 1) TO 'out.csv'",
    "two statements": "SELECT 1; SELECT 2",
    "nothing": "",
    "attach": "ATTACH 'x.db'",
    "install": "INSTALL httpfs",
    "setting": "SET threads = 1",
    "unlock": "SET lock_configuration = false",
    "syntax": "SELEC 1",
    "unknown table": "SELECT * FROM nowhere",
    "file outside": "SELECT * FROM read_text('/etc/hostname')",
    "restricted area": "SELECT * FROM read_text('{home}/restricted/notes/x')",
    "path trick": "SELECT * FROM read_text('{home}/warehouse/../restricted/x')",
    "file inside": "SELECT * FROM read_text('{home}/warehouse/_manifests/00000001.json')",
    "file as a table": "SELECT * FROM '{home}/restricted/x.csv'",
    "log to a file": "SELECT * FROM enable_logging(storage = 'file', storage_path = '{home}')",
    "hidden in a subquery": "SELECT (SELECT count(*) FROM glob('/*'))",
    "hidden in a common table": "WITH x AS (FROM read_csv('/etc/passwd')) SELECT * FROM x",
    "SQL in a string": "SELECT * FROM query('COPY (SELECT 1) TO ''out.csv'' ')",
    "macro": "CREATE MACRO f() AS TABLE SELECT 1",
    "insert": "INSERT INTO cohort VALUES (1)",
    "export": "EXPORT DATABASE 'out'",
    "load": "LOAD 'httpfs'",
    "call": "CALL enable_logging()",
    "pragma": "PRAGMA enable_profiling",
    "use": "USE memory",
    "explain analyse a copy": "EXPLAIN ANALYZE COPY (SELECT 1) TO 'out.csv'",
    "prepare": "PREPARE x AS SELECT 1",
    "copy after a comment": "/* SELECT */ COPY cohort TO 'out.csv'",
    "network": "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "network function": "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "other database": "SELECT * FROM sqlite_scan('x.db', 'y')",
    "parquet of its own": "SELECT * FROM parquet_metadata('{home}/warehouse/*/*.parquet')",
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_but_one_select_inside_the_warehouse_is_refused(
    store: Store, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = store.home.restricted / "x"
    secret.write_text("secret")
    (store.home.restricted / "x.csv").write_text("a,b\n1,2\n")
    before = {path: path.stat().st_mtime_ns for path in store.home.root.rglob("*")}
    with pytest.raises(QueryError, match="sql"):
        run_query(store, REFUSED[case].format(home=store.home.root))
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in store.home.root.rglob("*")} == before
