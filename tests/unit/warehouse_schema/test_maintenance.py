"""Maintenance keeps what it promises, frees the rest, and changes no row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from faulty_disk import commit_both, names_in, patients

from warehouse_schema import data_files, rewriting
from warehouse_schema.errors import ArgumentError, WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.maintenance import maintain
from warehouse_schema.manifest import list_versions, read_manifest, rewrite_manifest
from warehouse_schema.previous_run import changed_values, previous_run
from warehouse_schema.store import Store
from warehouse_schema.tables.records import IDENTITIES, PATIENTS
from warehouse_schema.verification import verify

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten nights, one a day, the last today; each adds a patient."""
    store = Store(Home(tmp_path / "home"))
    for number in range(10):
        commit_both(store, f"n{number}")
        date_back(store, days=9 - number)
    return store


def date_back(store: Store, *, days: int) -> None:
    """Let the newest version be of an earlier day."""
    moment = (NOW - timedelta(days=days)).isoformat()
    rewrite_manifest(store.home.warehouse, replace(store.manifest(), created_datetime=moment))


def test_versions_of_the_promised_days_stay_readable(store: Store) -> None:
    summary = maintain(store=store, now=NOW, keep_days=3)
    kept = list_versions(store.home.warehouse)
    # Of the last three days, and the one in force when they began.
    assert kept == [7, 8, 9, 10]
    assert (summary.n_versions, summary.n_versions_removed) == (4, 6)
    for version in kept:
        assert len(Store(store.home).read(PATIENTS, at=version)) == version
    at = (NOW - timedelta(days=2, hours=12)).isoformat()
    assert len(store.read(PATIENTS, at=at)) == 7
    with pytest.raises(WarehouseError, match="no longer kept by time"):
        store.read(PATIENTS, at=(NOW - timedelta(days=5)).isoformat())
    with pytest.raises(WarehouseError, match="no warehouse version 2"):
        store.read(PATIENTS, at=2)
    assert verify(store).damages == ()


def test_space_is_freed_and_rows_stay(store: Store) -> None:
    before = store.read(PATIENTS)
    orphan = store.table_folder(PATIENTS) / "part-orphan.parquet"
    orphan.write_bytes(b"left by a killed process")
    n_files = len(list(store.table_folder(PATIENTS).glob("*.parquet")))
    summary = maintain(store=store, now=NOW, keep_days=1)
    left = {path.name for path in store.table_folder(PATIENTS).glob("*.parquet")}
    named = {
        name
        for version in list_versions(store.home.warehouse)
        for name in read_manifest(store.home.warehouse, version).tables["patients"].files
    }
    assert left == named
    assert len(left) < n_files
    assert summary.n_files_removed > 0
    assert store.read(PATIENTS).equals(before)
    delta = DeltaTable(store.table_folder(PATIENTS))
    assert delta.to_pyarrow_table().num_rows == 10
    assert len(list((store.table_folder(PATIENTS) / "_delta_log").iterdir())) == 3
    commit_both(Store(store.home), "next")
    assert len(names_in(Store(store.home))) == 11
    again = maintain(store=Store(store.home), now=NOW, keep_days=1)
    assert again.compacted_tables == ()


def test_what_stages_and_training_runs_have_read_is_kept(store: Store) -> None:
    with store.commit(stage="train", run_id="run-1", is_recorded=True) as commit:
        commit.uses(PATIENTS, at=2)
    configuration = {"days": 3}
    with store.commit(stage="link", configuration=configuration, is_recorded=True) as commit:
        commit.uses(PATIENTS, at=5)
    commit_both(store, "last")
    maintain(store=store, now=NOW + timedelta(days=400), keep_days=1)
    kept = list_versions(store.home.warehouse)
    assert 2 in kept
    assert 5 in kept
    assert 3 not in kept
    since = previous_run(store, "link", configuration)
    assert since is not None
    changed = changed_values(store, PATIENTS, "patient_id", since=since, now=store.manifest())
    assert changed.to_pylist() == ["last", "n5", "n6", "n7", "n8", "n9"]


def test_many_small_files_become_few_sorted_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "SMALL_ROWS", 0)
    store = Store(Home(tmp_path / "home"))
    for number in (5, 3, 4, 1, 2):
        with store.commit(stage="x") as commit:
            commit.append(PATIENTS, patients(f"p{number}"))
    assert len(store.manifest().tables["patients"].files) == 5
    summary = maintain(store=store, now=datetime.now(UTC))
    assert summary.compacted_tables == ("patients",)
    assert len(store.manifest().tables["patients"].files) == 1
    assert store.read(PATIENTS)["patient_id"].to_pylist() == [f"p{n}" for n in range(1, 6)]
    assert len(store.read(PATIENTS, at=2)) == 2
    assert data_files.FILE_ROWS > 1


def test_nothing_is_removed_from_a_damaged_warehouse(store: Store) -> None:
    log = store.table_folder(PATIENTS) / "_delta_log" / f"{9:020d}.json"
    log.write_bytes(b"")
    with pytest.raises(WarehouseError, match="repair"):
        maintain(store=store, now=NOW, keep_days=1)
    assert len(list_versions(store.home.warehouse)) == 10


def test_less_than_a_day_is_refused_and_an_empty_home_is_fine(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home"))
    with pytest.raises(ArgumentError, match="--keep-days"):
        maintain(store=store, now=NOW, keep_days=0)
    assert maintain(store=store, now=NOW).n_versions == 0
    assert json.loads((store.home.warehouse / "_manifests" / "format").read_text())


def test_a_home_without_restricted_is_maintained(store: Store) -> None:
    for name in ("p", "q"):
        row = {"kind": "patient", "pseudonym": name, "source": "a", "source_identifier": name}
        with store.commit(stage="identify") as commit:
            commit.upsert(IDENTITIES, pa.Table.from_pylist([row], schema=IDENTITIES.schema))
    shutil.rmtree(store.home.restricted)
    shared = Store(store.home)
    assert maintain(store=shared, now=NOW, keep_days=3).n_versions_removed == 6
    assert len(shared.read(PATIENTS)) == 10
