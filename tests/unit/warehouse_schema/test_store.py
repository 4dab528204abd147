"""The store: validated both ways, all tables of a commit or none, time travel."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.labels import COHORT, COHORT_FLOW, NOTE_MENTIONS
from warehouse_schema.tables.records import IDENTITIES, PATIENTS
from warehouse_schema.tables.runs import LINEAGE, QUARANTINE


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def patients(*names: str, source: str = "unit") -> pa.Table:
    rows = [
        {
            "patient_id": name,
            "source": source,
            "sex_code": None,
            "birth_datetime": datetime(1950, 1, 1, tzinfo=UTC),
            "is_over_89": False,
            "is_synthetic": True,
        }
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=PATIENTS.schema)


def quarantine(stage: str, *keys: str) -> pa.Table:
    rows = [{"stage": stage, "source": "unit", "key": key, "reason": "test"} for key in keys]
    return pa.Table.from_pylist(rows, schema=QUARANTINE.schema)


def ids(store: Store, at: str | int | None = None) -> list[str]:
    return store.read(PATIENTS, columns=["patient_id"], at=at).column(0).to_pylist()


def test_an_empty_warehouse_reads_as_empty_tables_of_the_declared_types(store: Store) -> None:
    for table in TABLES.values():
        rows = store.read(table)
        assert rows.num_rows == 0
        assert rows.schema.equals(table.schema)


def test_rows_come_back_sorted_by_primary_key_with_the_declared_types(store: Store) -> None:
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("c", "a", "b"))
    rows = store.read(PATIENTS)
    assert rows.column("patient_id").to_pylist() == ["a", "b", "c"]
    assert rows.schema.equals(PATIENTS.schema)


def test_append_upsert_and_partial_replace(store: Store) -> None:
    with store.commit(stage="x") as commit:
        commit.append(PATIENTS, patients("b"))
        commit.replace(QUARANTINE, quarantine("extract", "1", "2"))
    with store.commit(stage="y") as commit:
        commit.append(PATIENTS, patients("a"))
        commit.upsert(PATIENTS, patients("b", "c", source="newer"))
        commit.replace(QUARANTINE, quarantine("label", "9"), where={"stage": "label"})
    with store.commit(stage="z") as commit:
        commit.replace(QUARANTINE, quarantine("extract", "3"), where={"stage": "extract"})
    sources = dict(zip(ids(store), store.read(PATIENTS).column("source").to_pylist(), strict=True))
    assert sources == {"a": "unit", "b": "newer", "c": "newer"}
    assert sorted(store.read(QUARANTINE).column("key").to_pylist()) == ["3", "9"]


def test_a_failed_block_shows_nothing_and_the_next_commit_is_clean(store: Store) -> None:
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a"))
    with pytest.raises(RuntimeError), store.commit(stage="y") as commit:
        commit.append(PATIENTS, patients("lost"))
        commit.append(COHORT_FLOW, COHORT_FLOW.schema.empty_table())
        raise RuntimeError
    assert ids(store) == ["a"]
    assert DeltaTable(str(store.table_folder(PATIENTS))).version() == 0
    with store.commit(stage="z") as commit:
        commit.append(PATIENTS, patients("b"))
    assert ids(store) == ["a", "b"]


def test_a_first_commit_that_failed_leaves_no_rows_to_the_next(store: Store) -> None:
    with pytest.raises(RuntimeError), store.commit(stage="x") as commit:
        commit.append(PATIENTS, patients("lost"))
        raise RuntimeError
    with store.commit(stage="y") as commit:
        commit.append(PATIENTS, patients("a"))
    assert ids(store) == ["a"]


def test_time_travel_by_version_and_by_time(store: Store) -> None:
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a"))
    between = datetime.now(UTC).isoformat()
    with store.commit(stage="y") as commit:
        commit.replace(PATIENTS, patients("b"))
    assert ids(store, at=1) == ids(store, at="1") == ids(store, at=between) == ["a"]
    assert ids(store) == ids(store, at=2) == ["b"]
    for wrong in (3, "2001-01-01", "yesterday"):
        with pytest.raises(WarehouseError, match="--at"):
            ids(store, at=wrong)


def test_lineage_names_what_a_stage_read(store: Store) -> None:
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a"))
    with store.commit(stage="label", configuration={"days": 3}, run_id="run-1") as commit:
        commit.read(PATIENTS)
        commit.uses(NOTE_MENTIONS)
        commit.replace(QUARANTINE, quarantine("label", "1"))
    rows = store.read(LINEAGE).to_pylist()
    assert [(r["commit_version"], r["input_table"], r["input_version"]) for r in rows] == [
        (2, "note_mentions", -1),
        (2, "patients", 0),
    ]
    assert {r["run_id"] for r in rows} == {"run-1"}


def without(rows: pa.Table, column: str) -> pa.Table:
    return rows.drop_columns([column])


BAD_ROWS = {
    "missing column": (PATIENTS, without(patients("a"), "source"), "missing columns"),
    "unknown column": (PATIENTS, patients("a").append_column("x", [["1"]]), "unknown columns"),
    "repeated key": (PATIENTS, patients("a", "a"), "repeat a primary key"),
    "null": (
        PATIENTS,
        without(patients("a"), "source").append_column("source", pa.array([None], pa.string())),
        "1 nulls",
    ),
    "type": (
        PATIENTS,
        without(patients("a"), "is_synthetic").append_column("is_synthetic", [["maybe"]]),
        "is_synthetic is string, declared bool",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_break_the_declaration_are_refused(store: Store, case: str) -> None:
    table, rows, message = BAD_ROWS[case]
    with pytest.raises(WarehouseError, match=message), store.commit(stage="x") as commit:
        commit.replace(table, rows)
    assert store.manifest().version == 0


def test_a_table_that_is_not_declared_is_refused(store: Store) -> None:
    stranger = Table(
        name="patients", meaning="", primary_key=("patient_id",), columns=PATIENTS.columns
    )
    with pytest.raises(WarehouseError, match="not declared"), store.commit(stage="x") as commit:
        commit.replace(stranger, patients("a"))


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_data_file_is_named(store: Store, damage: str) -> None:
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a"))
    file = next(store.table_folder(PATIENTS).glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    if damage == "missing":
        file.unlink()
    with pytest.raises(WarehouseError, match=f"data file .* is {damage}"):
        Store(store.home).read(PATIENTS)


def test_restricted_tables_lie_apart_and_out_of_reach_of_sql(store: Store) -> None:
    row = {
        "kind": "patient",
        "pseudonym": "a",
        "source": "unit",
        "source_identifier": "MRN 1",
        "date_shift_days": 3,
    }
    with store.commit(stage="x") as commit:
        commit.replace(IDENTITIES, pa.Table.from_pylist([row], schema=IDENTITIES.schema))
        commit.replace(PATIENTS, patients("a"))
    assert store.home.restricted.stat().st_mode & 0o777 == 0o700
    assert store.read(IDENTITIES).num_rows == 1
    assert not any(
        b"MRN 1" in f.read_bytes() for f in store.home.warehouse.rglob("*") if f.is_file()
    )
    names = run_query(store, "SELECT view_name FROM duckdb_views() WHERE NOT internal")
    assert "identities" not in names.column(0).to_pylist()


def test_ids_stay_out_of_the_delta_log(store: Store) -> None:
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("pseudonym-of-someone"))
    logs = store.table_folder(PATIENTS).joinpath("_delta_log").glob("*.json")
    assert not any("pseudonym-of-someone" in log.read_text() for log in logs)


def test_cohort_rows_filter_by_value_list_and_null(store: Store) -> None:
    rows = [
        {
            "fold": fold,
            "image_id": image,
            "patient_id": "p",
            "subset": "R" if split else "excluded",
            "split": split,
            "exclusion_reason": None if split else "lateral",
            "source": "unit",
        }
        for fold in (0, 1)
        for image, split in (("a", "train"), ("b", "test"), ("c", None))
    ]
    with store.commit(stage="x") as commit:
        commit.replace(COHORT, pa.Table.from_pylist(rows, schema=COHORT.schema))
    assert store.read(COHORT, where={"fold": 0, "split": ["train", "test"]}).num_rows == 2
    assert store.read(COHORT, where={"split": None}).column("image_id").to_pylist() == ["c", "c"]


def test_a_relative_home_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(Home(Path("home")))
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, patients("a"))
    assert ids(store) == ["a"]
