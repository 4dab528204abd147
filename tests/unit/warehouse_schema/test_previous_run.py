"""What a stage's last run had read, and what differs since; rows that are there are not written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from warehouse_schema import rewriting
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.previous_run import PreviousRun, changed_values, previous_run
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.records import ENCOUNTERS, PATIENTS

START = datetime(2015, 1, 1, tzinfo=UTC)
CONFIGURATION = {"days": 14}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def encounter(number: int, *, hours: int = 0, end: bool = True) -> dict[str, Any]:
    start = START + timedelta(hours=hours)
    return {
        "encounter_id": f"e{number:03d}",
        "patient_id": f"p{number % 7}",
        "source": "unit",
        "encounter_class": "emergency",
        "start_datetime": start,
        "end_datetime": start if end else None,
        "is_synthetic": True,
    }


def publish(store: Store, rows: list[dict[str, Any]]) -> None:
    with store.commit(stage="extract") as commit:
        commit.replace(ENCOUNTERS, pa.Table.from_pylist(rows, schema=ENCOUNTERS.schema))


def read(store: Store) -> PreviousRun:
    with store.commit(stage="link", configuration=CONFIGURATION, is_recorded=True) as commit:
        commit.uses(ENCOUNTERS)
    previous = previous_run(store, "link", CONFIGURATION)
    assert previous is not None
    return previous


def changed(store: Store, since: PreviousRun) -> list[str]:
    return changed_values(
        store, ENCOUNTERS, "patient_id", since=since, now=store.manifest()
    ).to_pylist()


def test_rows_that_are_there_are_not_written_again(store: Store) -> None:
    publish(store, [encounter(1), encounter(2)])
    version = store.manifest().version
    publish(store, [encounter(2), encounter(1)])
    with store.commit(stage="x") as commit:
        commit.upsert(ENCOUNTERS, store.read(ENCOUNTERS).slice(0, 1))
        commit.append(ENCOUNTERS, ENCOUNTERS.schema.empty_table())
        commit.remove(ENCOUNTERS, pa.table({"encounter_id": ["nobody"]}))
        commit.replace(
            ENCOUNTERS, ENCOUNTERS.schema.empty_table(), where={"encounter_id": ["nobody"]}
        )
    assert store.manifest().version == version


def test_rows_go_by_primary_key_list_columns_included(store: Store) -> None:
    publish(store, [encounter(1), encounter(2), encounter(3)])
    mention: dict[str, Any] = {
        field.name: None
        if field.nullable
        else {"string": "x", "bool": False}.get(str(field.type), 1)
        for field in NOTE_MENTIONS.schema
    }
    mention |= {"note_datetime": START, "rib_numbers": [3, 4]}
    rows = pa.Table.from_pylist(
        [{**mention, "mention_id": name} for name in "ab"], schema=NOTE_MENTIONS.schema
    )
    with store.commit(stage="mine") as commit:
        commit.replace(NOTE_MENTIONS, rows)
    with store.commit(stage="x") as commit:
        commit.remove(ENCOUNTERS, pa.table({"encounter_id": ["e002", "e009"]}))
        commit.remove(NOTE_MENTIONS, pa.table({"mention_id": ["a"]}))
    assert store.read(ENCOUNTERS)["encounter_id"].to_pylist() == ["e001", "e003"]
    assert store.read(NOTE_MENTIONS).equals(rows.slice(1))


def test_replace_where_one_of_several_values_leaves_nulls_alone(store: Store) -> None:
    rows = [{**encounter(n), "patient_id": f"p{n}"} for n in range(4)]
    rows[1]["end_datetime"] = None
    publish(store, rows)
    with store.commit(stage="x") as commit:
        commit.replace(ENCOUNTERS, ENCOUNTERS.schema.empty_table(), where={"end_datetime": START})
    assert store.read(ENCOUNTERS)["encounter_id"].to_pylist() == ["e001"]
    with store.commit(stage="x") as commit:
        commit.replace(
            ENCOUNTERS, ENCOUNTERS.schema.empty_table(), where={"patient_id": pa.array(["p1"])}
        )
    assert store.read(ENCOUNTERS).num_rows == 0


def test_no_earlier_run_or_another_configuration_is_none(store: Store) -> None:
    assert previous_run(store, "link", CONFIGURATION) is None
    publish(store, [encounter(1)])
    read(store)
    assert previous_run(store, "link", {"days": 15}) is None
    assert previous_run(store, "mine", CONFIGURATION) is None


@pytest.mark.parametrize("seed", range(5))
def test_changed_values_are_those_of_comparing_all_rows(store: Store, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = {n: encounter(n) for n in range(20)}
    publish(store, list(rows.values()))
    for _ in range(4):
        since, before = read(store), dict(rows)
        for number in generator.integers(0, 25, size=generator.integers(0, 4)).tolist():
            if number in rows and generator.random() < 0.5:
                del rows[number]
            else:
                rows[number] = encounter(
                    number, hours=int(generator.integers(3)), end=bool(number % 2)
                )
        publish(store, list(rows.values()))
        expected = {
            f"p{n % 7}" for n in before.keys() | rows.keys() if before.get(n) != rows.get(n)
        }
        assert changed(store, since) == sorted(expected)


def test_only_the_columns_asked_for_count(store: Store) -> None:
    publish(store, [encounter(1), encounter(2)])
    since = read(store)
    publish(store, [encounter(1, end=False), encounter(2, hours=5)])
    found = changed_values(
        store,
        ENCOUNTERS,
        "patient_id",
        since=since,
        now=store.manifest(),
        columns=["encounter_id", "start_datetime"],
    )
    assert found.to_pylist() == ["p2"]


def test_appended_files_alone_are_compared_and_a_first_table_is_all_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "SMALL_ROWS", 0)
    with store.commit(stage="x") as commit:
        commit.replace(PATIENTS, PATIENTS.schema.empty_table())
    since = read(store)
    publish(store, [encounter(1)])
    assert changed(store, since) == ["p1"]
    since = read(store)
    first = next(store.table_folder(ENCOUNTERS).glob("*.parquet"))
    with store.commit(stage="x") as commit:
        commit.append(ENCOUNTERS, pa.Table.from_pylist([encounter(2)], schema=ENCOUNTERS.schema))
    first.unlink()
    assert changed(Store(store.home), since) == ["p2"]


def test_inputs_are_what_the_run_had_read_not_what_stood_at_its_commit(store: Store) -> None:
    publish(store, [encounter(1)])
    manifest = store.manifest()
    publish(store, [encounter(1), encounter(2)])
    with store.commit(stage="link", configuration=CONFIGURATION, is_recorded=True) as commit:
        commit.uses(ENCOUNTERS, at=manifest.version)
    previous = previous_run(store, "link", CONFIGURATION)
    assert previous is not None
    assert changed(store, previous) == ["p2"]


def test_lost_files_are_an_error_of_the_warehouse(store: Store) -> None:
    publish(store, [encounter(1)])
    since = read(store)
    old = list(store.table_folder(ENCOUNTERS).glob("*.parquet"))
    publish(store, [encounter(2)])
    for file in old:
        file.unlink()
    with pytest.raises(WarehouseError, match="missing"):
        changed(Store(store.home), since)
    with pytest.raises(WarehouseError, match="no input"):
        changed_values(store, PATIENTS, "patient_id", since=since, now=store.manifest())
