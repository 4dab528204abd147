"""Homes of every released format are read, brought up to date by the next commit, and stay right.

``old_home`` writes as release 0.1.0 (format 1) did: data files and log by deltalake, nothing
flushed, manifests without hashes of logs, copies or a format.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from faulty_disk import patients

from warehouse_schema import home_format
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.home_format import FORMAT, bring_up_to_date
from warehouse_schema.manifest import configuration_hash
from warehouse_schema.migrations import MIGRATIONS
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.table import Table, text
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.verification import verify


def write_old(home: Path, version: int, rows: pa.Table, mode: str, *, published: bool) -> None:
    folder = home / "warehouse" / "patients"
    plain = rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema]))
    write_deltalake(
        folder, plain, mode=mode, configuration={"delta.dataSkippingNumIndexedCols": "0"}
    )
    if not published:
        return
    delta = DeltaTable(folder)
    paths = sorted(Path(uri) for uri in delta.file_uris())
    entry = {
        "delta_version": delta.version(),
        "n_rows": sum(pq.read_metadata(path).num_rows for path in paths),
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
    }
    manifest = {
        "version": version,
        "stage": "extract",
        "configuration_hash": configuration_hash({}),
        "created_datetime": datetime.now(UTC).isoformat(),
        "tables": {"patients": entry},
    }
    target = home / "warehouse" / "_manifests" / f"{version:08d}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(manifest))


@pytest.fixture
def old_home(tmp_path: Path) -> Home:
    root = tmp_path / "home"
    write_old(root, 1, patients("a", "b"), "overwrite", published=True)
    write_old(root, 2, patients("c"), "append", published=True)
    # What an interrupted commit left.
    write_old(root, 3, patients("lost"), "append", published=False)
    return Home(root)


def ids(store: Store, at: int | None = None) -> list[str]:
    return store.read(PATIENTS, at=at)["patient_id"].to_pylist()


def test_every_format_has_a_migration_to_it() -> None:
    assert sorted(MIGRATIONS) == list(range(2, FORMAT + 1))


def test_an_old_home_is_read_as_it_is(old_home: Home) -> None:
    store = Store(old_home)
    assert ids(store) == ["a", "b", "c"]
    assert ids(store, at=1) == ["a", "b"]
    assert run_query(store, "SELECT count(*) AS n FROM patients").to_pylist() == [{"n": 3}]
    assert home_format.home_format(store.home.warehouse) == 1


def test_the_first_commit_brings_an_old_home_up_to_date(old_home: Home) -> None:
    store = Store(old_home)
    with store.commit(stage="x") as commit:
        commit.upsert(PATIENTS, patients("d"))
    assert home_format.home_format(store.home.warehouse) == FORMAT
    assert ids(Store(old_home)) == ["a", "b", "c", "d"]
    assert [ids(store, at=version) for version in (1, 2, 3)] == [
        ["a", "b"],
        ["a", "b", "c"],
        ["a", "b", "c"],
    ]
    assert store.manifest(3).stage == "migrate"
    assert verify(Store(old_home)).damages == ()
    delta = DeltaTable(store.table_folder(PATIENTS)).to_pyarrow_table()
    assert sorted(delta["patient_id"].to_pylist()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("damage", ["torn", "empty", "missing"])
def test_a_log_that_an_old_home_lost_is_made_again(old_home: Home, damage: str) -> None:
    entry = old_home.warehouse / "patients" / "_delta_log" / "00000000000000000001.json"
    content = entry.read_bytes()
    entry.write_bytes(content[: len(content) // 2] if damage == "torn" else b"")
    if damage == "missing":
        entry.unlink()
    store = Store(old_home, is_checked=False)
    with store.writer_lock():
        assert bring_up_to_date(store) == [2]
    assert DeltaTable(store.table_folder(PATIENTS)).to_pyarrow_table().num_rows == 3
    assert verify(Store(old_home)).damages == ()


def test_a_migration_that_was_killed_is_run_again(
    old_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(old_home)
    with monkeypatch.context() as patch:
        patch.setattr(home_format, "write_format", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError), store.writing():
            pass
    with store.writing():
        pass
    assert store.manifest().version == 3
    assert ids(store) == ["a", "b", "c"]


def test_a_home_of_a_newer_format_is_refused(old_home: Home) -> None:
    home_format.write_format(old_home.warehouse, FORMAT + 1)
    with pytest.raises(WarehouseError, match=r"format 3.*Install"):
        Store(old_home)


def test_a_nullable_column_added_since_needs_no_migration(
    old_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Table(
        name="patients",
        meaning=PATIENTS.meaning,
        primary_key=PATIENTS.primary_key,
        columns=(*PATIENTS.columns, text("ward", "Ward.", null_meaning="written before it was")),
    )
    monkeypatch.setitem(TABLES, "patients", newer)
    store = Store(old_home)
    assert store.read(newer)["ward"].to_pylist() == [None] * 3
    sql = "SELECT patient_id, ward FROM patients ORDER BY ALL"
    assert run_query(store, sql)["ward"].to_pylist() == [None] * 3
    row = patients("b").append_column("ward", pa.array(["7"]))
    with store.commit(stage="x") as commit:
        commit.upsert(newer, row)
    assert run_query(store, sql).to_pylist() == [
        {"patient_id": "a", "ward": None},
        {"patient_id": "b", "ward": "7"},
        {"patient_id": "c", "ward": None},
    ]
    delta = DeltaTable(store.table_folder(newer)).to_pyarrow_table()
    assert sorted(map(str, delta["ward"].to_pylist())) == ["7", "None", "None"]
    assert store.read(newer, at=1)["ward"].to_pylist() == [None, None]
    assert verify(store).damages == ()
