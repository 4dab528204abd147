"""`ribline` as a contract: its commands, its output forms, and one clear line for a mistake."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS

COMMANDS = [
    *("demo", "doctor", "tables", "sql", "relabel", "prune-cache"),
    *("extract", "ingest-images", "label", "annotation-sample", "import-boxes"),
    *("reader-agreement", "build-cohort"),
    *("synthetic-hospital", "import-public", "label-notes", "source-check"),
    *("train", "predict", "evaluate", "summarise-folds", "report", "reproduce", "publish"),
    *("forget-patient", "export-dicom", "export-model", "model-card"),
    *("explain", "code-listing", "diff-labels", "review-sample", "review-import", "warehouse"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two evaluation rows, published as versions 1 and 2."""
    store = Store(Home(tmp_path / "home"))
    row = {
        "run_id": "aals-0-0-1",
        "finding": "rib_fracture",
        "metric": "auroc",
        "value": 0.75,
        "ci_low": 0.5,
        "ci_high": None,
        "n_positive": 4,
        "n_negative": 10,
        "protocol": "test/all/whole/student",
    }
    for finding in ("rib_fracture", "[b]clavicle[/b]"):
        rows = pa.Table.from_pylist([row | {"finding": finding}], EVALUATION_REPORTS.schema)
        with store.commit(stage="evaluate") as commit:
            commit.upsert(EVALUATION_REPORTS, rows)
    return tmp_path / "home"


def test_help_names_every_command_in_under_a_second_or_two() -> None:
    executable = Path(sys.executable).with_name("ribline")
    started = time.monotonic()
    done = subprocess.run([executable, "--help"], capture_output=True, text=True, check=True)
    wall_s = time.monotonic() - started
    named = re.findall(r"^│ ([a-z][a-z-]+) ", done.stdout, re.MULTILINE)
    assert set(named) - {"ribline"} == set(COMMANDS)
    assert wall_s < 8, "only typer and rich may be imported for --help"


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, flows.command_line; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "prefect", "pyarrow", "pydantic", "sqlalchemy", "spacy", "duckdb", "numpy"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(ribline, command: str) -> None:
    done = ribline(command, "--help")
    assert done.code == 0
    assert f"ribline {command}" in done.out


def test_sql_as_a_table(ribline, home: Path) -> None:
    done = ribline("--home", home, "sql", "SELECT finding, value, ci_high FROM evaluation_reports")
    assert done.code == 0
    assert "[b]clavicle[/b]" in done.out
    assert "0.75" in done.out
    assert "2 rows" in done.out


def test_sql_as_json_csv_and_parquet(ribline, home: Path, tmp_path: Path) -> None:
    query = "SELECT finding, value, ci_high, [1, 2] AS l FROM evaluation_reports ORDER BY finding"
    done = ribline("--home", home, "sql", query, "--format", "json", "--out", "x.json")
    assert (done.code, done.out) == (0, "")
    rows = json.loads((tmp_path / "x.json").read_text())
    assert rows[1] == {"finding": "rib_fracture", "value": 0.75, "ci_high": None, "l": [1, 2]}
    ribline("--home", home, "sql", query, "--format", "csv", "--out", "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[2] == '"rib_fracture",0.75,,"[1, 2]"'
    ribline("--home", home, "sql", query, "--format", "parquet", "--out", "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 2


def test_publish_fills_a_reporting_database(ribline, home: Path, tmp_path: Path) -> None:
    done = ribline("--home", home, "publish", "--to", f"sqlite:///{tmp_path}/r.sqlite")
    assert done.code == 0
    assert "evaluation reports" in done.out
    with closing(sqlite3.connect(tmp_path / "r.sqlite")) as reporting:
        found = reporting.execute(
            "SELECT finding, value, ci_high FROM ribline_evaluation_reports ORDER BY finding"
        ).fetchall()
    assert found == [("[b]clavicle[/b]", 0.75, None), ("rib_fracture", 0.75, None)]


@pytest.mark.parametrize("way", ["option", "variable"])
def test_publish_never_tells_the_password(ribline, home: Path, way: str) -> None:
    url = "postgresql+psycopg://user:pa55word@127.0.0.1:1/reporting"
    if way == "option":
        done = ribline("--home", home, "publish", "--to", url)
    else:
        done = ribline("--home", home, "publish", RIBLINE_PUBLISH_URL=url)
    assert done.code == 3
    assert "the reporting database cannot be written (OperationalError)" in done.err
    assert "pa55word" not in done.out + done.err
    shown = ribline("--home", home, "doctor", RIBLINE_PUBLISH_URL=url)
    assert "pa55word" not in shown.out + shown.err


def test_publish_without_an_address_says_how_to_give_one(ribline, home: Path) -> None:
    done = ribline("--home", home, "publish")
    assert done.code == 2
    assert "publish_url is not set. Set RIBLINE_PUBLISH_URL" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--prevalence", "2"), "prevalence (from --prevalence)"),
        (("summarise-folds",), "--method: there is no run of aals with recipe paper and seed 0"),
        (("summarise-folds", "--run", "x"), "there is no training run x"),
    ],
)
def test_evaluation_s_mistakes_are_one_line(
    ribline, home: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = ribline("--home", home, *arguments)
    assert done.code in {2, 10}
    assert message in done.err
    assert len(done.err.strip().splitlines()) <= 2


def test_sql_at_a_version(ribline, home: Path) -> None:
    query = "SELECT count(*) AS n FROM evaluation_reports"
    for version, n_rows in (("1", 1), ("2", 2)):
        name = f"{version}.json"
        ribline("--home", home, "sql", query, "--at", version, "--format", "json", "--out", name)
        assert json.loads(Path(name).read_text()) == [{"n": n_rows}]
    assert "evaluate" in ribline("--home", home, "sql", "--versions").out


def test_tables_is_the_dictionary(ribline) -> None:
    done = ribline("tables")
    assert done.code == 0
    for table in TABLES.values():
        assert table.name in done.out
        assert all(column.name in done.out for column in table.columns)
    assert "leaderboard" in done.out
    assert "image_pixels" not in ribline("tables", "cohort").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sql", "SELECT 1"], 2, "there is no warehouse in ribline-home"),
        (["label"], 2, "there is no warehouse in ribline-home"),
        (["train"], 2, "there is no warehouse in ribline-home"),
        (["predict", "--run", "x"], 2, "there is no warehouse"),
        (["extract"], 2, "database_url is not set. Set RIBLINE_DATABASE_URL"),
        (["ingest-images"], 2, "image_folder is not set. Set RIBLINE_IMAGE_FOLDER"),
        (["tables", "nothing"], 2, "there is no table 'nothing'"),
        (["--home", "HOME", "sql", "DROP TABLE cohort"], 6, "only one SELECT"),
        (["--home", "HOME", "sql", "SELECT 1; SELECT 2"], 6, "only one SELECT"),
        (["--home", "HOME", "sql", "SELECT * FROM nowhere"], 6, "nowhere"),
        (["--home", "HOME", "sql"], 2, "no statement"),
        (["--home", "HOME", "sql", "SELECT 1", "--at", "99"], 5, "no warehouse version 99"),
        (["--home", "HOME", "sql", "SELECT 1", "--at", "soon"], 5, "allowed: a version number"),
        (["--home", "HOME", "sql", "SELECT 1", "--out", "no/x"], 2, "--out: cannot write"),
        (["--home", "HOME", "predict"], 8, "There is no training run yet"),
        (["--home", "HOME", "evaluate", "--run", "x"], 8, "--run: there is no run x"),
        (["--home", "HOME", "report"], 10, "No run has been evaluated yet"),
        (["--home", "HOME", "train", "--recipe", "best"], 2, "allowed are paper, demo, "),
        (["--home", "HOME", "train", "--recipe", "demo"], 7, "cohort"),
        (["--home", "HOME", "train", "--method", "magic"], 2, "magic"),
        (["import-public", "imagenet", ".", "--finding", "Dog"], 2, "known datasets are mimic"),
        (["demo", "--out", "HOME"], 2, "--out: "),
        (["synthetic-hospital", "HOME"], 2, "is not empty"),
        (["label-notes", "none.csv", "out.csv"], 4, "none.csv"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    ribline, home: Path, arguments: list[str], code: int, message: str
) -> None:
    done = ribline(*[str(home) if each == "HOME" else each for each in arguments])
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("ribline: ")
    assert message in last
    assert "Traceback" not in done.err
    assert done.code == code


def test_unknown_option_is_refused(ribline) -> None:
    assert ribline("extract", "--no-such-option").code == 2


def test_an_unknown_setting_stops_every_command(ribline, tmp_path: Path) -> None:
    (tmp_path / "ribline.toml").write_text("sead = 1\n")
    done = ribline("relabel")
    assert done.code == 2
    assert "unknown key sead; did you mean seed?" in done.err


def test_nothing_is_made_by_a_command_that_only_reads(ribline, tmp_path: Path) -> None:
    ribline("sql", "SELECT 1")
    ribline("train")
    assert list(tmp_path.iterdir()) == []
