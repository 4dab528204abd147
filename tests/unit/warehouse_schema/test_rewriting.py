"""Writing only what changes: the same rows as a model, few files touched, the log in step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from warehouse_schema import data_files, rewriting
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.row_comparison import equal_rows
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.runs import TRAINING_EPOCHS

START = datetime(2015, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "FILE_ROWS", 20)
    monkeypatch.setattr(rewriting, "SMALL_ROWS", 5)
    monkeypatch.setattr(rewriting, "FEW_ROWS", 3)


def mention(number: int, generator: np.random.Generator) -> dict[str, Any]:
    row: dict[str, Any] = {
        field.name: None
        if field.nullable
        else {"string": "x", "bool": False}.get(str(field.type), 1)
        for field in NOTE_MENTIONS.schema
    }
    ribs = [None, [], [3], [3, 4], [3, None]][generator.integers(5)]
    return row | {
        "mention_id": f"m{number:04d}",
        "patient_id": f"p{number % 5}",
        "note_datetime": START + timedelta(hours=int(generator.integers(3))),
        "rib_numbers": ribs,
        "laterality": [None, "left"][generator.integers(2)],
    }


def epoch(number: int, generator: np.random.Generator) -> dict[str, Any]:
    return {
        "run_id": f"r{number % 4}",
        "epoch": number // 4,
        "finding": "all",
        "metric": f"m{number % 4}",
        "value": [None, float("nan"), 0.5, 0.75][generator.integers(4)],
    }


def rows_of(table: Table, model: dict[Any, dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([model[key] for key in sorted(model)], schema=table.schema)


def log_names(store: Store, table: Table) -> set[str]:
    folder = store.table_folder(table)
    return {Path(uri).name for uri in DeltaTable(folder).file_uris()}


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("table", "make", "where"),
    [(NOTE_MENTIONS, mention, "patient_id"), (TRAINING_EPOCHS, epoch, "run_id")],
    ids=lambda value: getattr(value, "name", None),
)
def test_any_sequence_of_changes_leaves_the_rows_of_a_model(
    store: Store, table: Table, make: Any, where: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    model: dict[Any, dict[str, Any]] = {}
    past = {}

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in table.primary_key)

    for _ in range(20):
        numbers = generator.integers(0, 120, size=generator.integers(0, 30)).tolist()
        some = {key(row): row for row in (make(n, generator) for n in sorted(set(numbers)))}
        kind = generator.integers(5)
        with store.commit(stage="x") as commit:
            if kind == 0:
                commit.upsert(table, rows_of(table, some))
                model |= some
            elif kind == 1:
                new = {name: row for name, row in some.items() if name not in model}
                commit.append(table, rows_of(table, new))
                model |= new
            elif kind == 2:
                gone = rows_of(table, some).select(list(table.primary_key))
                commit.remove(table, gone)
                model = {name: row for name, row in model.items() if name not in some}
            elif kind == 3:
                value = sorted({row[where] for row in some.values()})[:1]
                part = {name: row for name, row in some.items() if row[where] in value}
                commit.replace(table, rows_of(table, part), where={where: value})
                model = {n: row for n, row in model.items() if row[where] not in value} | part
            elif generator.random() < 0.3:
                commit.replace(table, rows_of(table, some))
                model = dict(some)
        past[store.manifest().version] = rows_of(table, model)
        assert_equal(store.read(table), rows_of(table, model))
    for version, rows in past.items():
        if version:
            assert_equal(Store(store.home).read(table, at=version), rows)
    entry = store.manifest().tables[table.name]
    assert entry.n_rows == len(model)
    assert log_names(store, table) == set(entry.files)


def assert_equal(found: pa.Table, expected: pa.Table) -> None:
    assert found.schema.equals(expected.schema)
    assert found.num_rows == expected.num_rows
    assert equal_rows(found, expected).all()


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_are_those_that_python_calls_equal(seed: int) -> None:
    generator = np.random.default_rng(seed)
    left, right = (
        pa.Table.from_pylist(
            [mention(0, generator) for _ in range(200)], schema=NOTE_MENTIONS.schema
        )
        for _ in range(2)
    )
    expected = [a == b for a, b in zip(left.to_pylist(), right.to_pylist(), strict=True)]
    assert equal_rows(left, right).tolist() == expected
    assert 0 < sum(expected) < 200


@pytest.mark.usefixtures("small_files")
def test_only_the_files_that_hold_a_changed_row_are_written(store: Store) -> None:
    generator = np.random.default_rng(0)
    model = {n: mention(n, generator) for n in range(100)}
    with store.commit(stage="x") as commit:
        commit.replace(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, model))
    before = dict(store.manifest().tables[NOTE_MENTIONS.name].files)
    model[42] = {**model[42], "section": "impression"}
    with store.commit(stage="x") as commit:
        commit.replace(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, model))
    after = store.manifest().tables[NOTE_MENTIONS.name].files
    assert len(before) == len(after) == 5
    assert len(set(before) - set(after)) == 1
    firsts = [
        pq.read_table(store.table_folder(NOTE_MENTIONS) / name)["mention_id"][0].as_py()
        for name in after
    ]
    assert firsts == sorted(firsts)


@pytest.mark.usefixtures("small_files")
def test_few_new_rows_gather_in_one_small_file(store: Store) -> None:
    generator = np.random.default_rng(0)
    with store.commit(stage="x") as commit:
        model = {n: mention(n, generator) for n in range(0, 100, 2)}
        commit.replace(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, model))
    counts = []
    for number in (1, 51, 99, 3):
        with store.commit(stage="x") as commit:
            row = {number: mention(number, generator)}
            commit.upsert(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, row))
        counts.append(len(store.manifest().tables[NOTE_MENTIONS.name].files))
    assert counts == [4, 4, 4, 4]
    found = store.read(NOTE_MENTIONS, columns=["mention_id"])["mention_id"].to_pylist()
    assert found == sorted(found)
    assert len(found) == 54


@pytest.mark.usefixtures("small_files")
def test_a_key_of_rows_outside_the_replaced_part_is_refused(store: Store) -> None:
    generator = np.random.default_rng(0)
    model = {n: mention(n, generator) for n in range(50)}
    with store.commit(stage="x") as commit:
        commit.replace(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, model))
    moved = {1: {**model[1], "patient_id": "p0"}}
    with pytest.raises(WarehouseError, match="repeat a primary key"), store.commit(stage="x") as c:
        c.replace(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, moved), where={"patient_id": "p0"})
    assert_equal(store.read(NOTE_MENTIONS), rows_of(NOTE_MENTIONS, model))


def test_other_engines_read_the_same_rows(store: Store) -> None:
    generator = np.random.default_rng(0)
    model = {n: mention(n, generator) for n in range(50)}
    for _ in range(3):
        model[7] = mention(7, generator)
        with store.commit(stage="x") as commit:
            commit.replace(NOTE_MENTIONS, rows_of(NOTE_MENTIONS, model))
    folder = store.table_folder(NOTE_MENTIONS)
    expected = store.read(NOTE_MENTIONS).to_pylist()
    delta = DeltaTable(folder).to_pyarrow_table().sort_by("mention_id").to_pylist()
    assert delta == expected
    files = [str(folder / name) for name in log_names(store, NOTE_MENTIONS)]
    rows = duckdb.read_parquet(files).order("mention_id").to_arrow_table()
    assert rows.cast(NOTE_MENTIONS.schema).to_pylist() == expected
