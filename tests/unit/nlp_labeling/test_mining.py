"""Mining touches only what changed, and gives what reading everything would give."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_hospital import DEFINITIONS, STUDY, Hospital

from nlp_labeling import mining
from nlp_labeling.mining import MiningSummary, latest_notes, mention_rows, mine_mentions
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.records import NOTES

TEXTS = (
    "Left 5th rib fracture.",
    "No rib fracture.",
    "Lungs clear.",
    "Old right clavicle fracture, healed.",
    "肋骨骨折",
)
N_ROUNDS = 12


def publish(hospital: Hospital) -> None:
    rows = pa.Table.from_pylist(hospital.rows["notes"], schema=NOTES.schema)
    with hospital.store.commit(stage="extract") as commit:
        commit.replace(NOTES, rows)


def mine(hospital: Hospital) -> MiningSummary:
    publish(hospital)
    return mine_mentions(store=hospital.store, definitions=DEFINITIONS)


def read_everything(store: Store) -> pa.Table:
    """The oracle: every latest note read, nothing kept."""
    rows: list[dict[str, Any]] = []
    for batch in latest_notes(store.read(NOTES)).combine_chunks().to_batches():
        rows += mention_rows(batch, DEFINITIONS)
    return pa.Table.from_pylist(rows, schema=NOTE_MENTIONS.schema).sort_by("mention_id")


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    hospital = Hospital(tmp_path)
    for number in range(4):
        hospital.note(number, TEXTS[number])
    return hospital


def set_text(row: dict[str, Any], text: str) -> None:
    row |= {"text": text, "text_sha256": hashlib.sha256(text.encode()).hexdigest()}


def change(hospital: Hospital, generator: np.random.Generator) -> None:
    """One small change, as a night brings it."""
    rows = hospital.rows["notes"]
    row = rows[generator.integers(len(rows))]
    text = TEXTS[generator.integers(len(TEXTS))]
    changes: tuple[Callable[[], object], ...] = (
        lambda: set_text(row, text),
        lambda: hospital.note(9, text),
        lambda: hospital.note(9, text, series=row["note_series_id"], version=9),
        lambda: row.update(status="retracted" if row["status"] == "final" else "final"),
        lambda: row.update(note_datetime=row["note_datetime"] + timedelta(hours=1)),
        lambda: row.update(encounter_id=None, accession_id="other", note_type="triage"),
        lambda: rows.remove(row) if len(rows) > 2 else None,
    )
    changes[generator.integers(len(changes))]()
    ids = {id(one): f"n{k:03d}" for k, one in enumerate(rows) if one["note_id"].startswith("n")}
    taken = [one["note_id"] for one in rows]
    for one in rows:
        if taken.count(one["note_id"]) > 1:
            one["note_id"] = ids[id(one)] + "x"


@pytest.mark.parametrize("seed", [0, 1])
def test_after_any_changes_the_mentions_are_those_of_reading_everything(
    hospital: Hospital, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    mine(hospital)
    for _ in range(N_ROUNDS):
        change(hospital, generator)
        mine(hospital)
        assert hospital.store.read(NOTE_MENTIONS).equals(read_everything(hospital.store))


def test_a_night_without_changes_reads_and_writes_nothing(hospital: Hospital) -> None:
    assert mine(hospital).n_read == 4
    publish(hospital)
    version = hospital.store.manifest().version
    summary = mine_mentions(store=hospital.store, definitions=DEFINITIONS)
    assert (summary.n_read, summary.is_unchanged, summary.n_mentions) == (0, True, 3)
    assert hospital.store.manifest().version == version


def test_only_the_changed_note_is_read(hospital: Hospital) -> None:
    mine(hospital)
    set_text(hospital.rows["notes"][2], "Left clavicle fracture.")
    summary = mine(hospital)
    assert (summary.n_read, summary.is_unchanged, summary.n_mentions) == (1, False, 4)


def test_a_note_without_mentions_is_read_once(hospital: Hospital) -> None:
    mine(hospital)
    hospital.note(5, "Lungs clear.")
    assert [mine(hospital).n_read, mine(hospital).n_read] == [1, 0]


def test_a_moved_note_is_not_read_again_but_its_mentions_move(hospital: Hospital) -> None:
    mine(hospital)
    hospital.rows["notes"][0]["note_datetime"] = STUDY + timedelta(days=3)
    assert mine(hospital).n_read == 0
    rows = hospital.store.read(NOTE_MENTIONS, where={"note_id": "n0"}).to_pylist()
    assert {row["note_datetime"] for row in rows} == {STUDY + timedelta(days=3)}


def test_other_code_reads_everything_again(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine(hospital)
    monkeypatch.setattr(mining, "labelling_code_hash", lambda: "other")
    assert mine(hospital).n_read == 4


def test_other_rules_read_everything_again(hospital: Hospital) -> None:
    mine(hospital)
    other = replace(DEFINITIONS, definition_hash="other")
    assert mine_mentions(store=hospital.store, definitions=other).n_read == 4


def test_fewer_findings_read_everything_again(hospital: Hospital) -> None:
    mine(hospital)
    only = DEFINITIONS.only(["clavicle_fracture"])
    assert mine_mentions(store=hospital.store, definitions=only).n_read == 4
    findings = set(hospital.store.read(NOTE_MENTIONS).column("finding").to_pylist())
    assert findings <= {"clavicle_fracture"}


def test_lost_files_of_the_last_run_cost_a_full_reading_and_no_more(hospital: Hospital) -> None:
    mine(hospital)
    set_text(hospital.rows["notes"][0], "No rib fracture.")
    old = set((hospital.store.home.restricted / "notes").glob("*.parquet"))
    publish(hospital)
    for file in old:
        file.unlink()
    fresh = Store(hospital.store.home)
    assert mine_mentions(store=fresh, definitions=DEFINITIONS).n_read == 4
    assert fresh.read(NOTE_MENTIONS).equals(read_everything(fresh))
