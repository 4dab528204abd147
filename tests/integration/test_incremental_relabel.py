"""Night after night, links, mentions, evidence and labels are those of a full relabelling."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_hospital import DEFINITIONS, NOW, STUDY, Hospital, blank

from etl.cohorts.linkage import LinkRule, link_images
from nlp_labeling.image_labels import LabelSummary, label_images
from nlp_labeling.mining import mine_mentions
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import (
    IMAGE_LABELS,
    LABEL_CHANGES,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES, NOTES

RULE = LinkRule(hours_before=48, hours_after=72)
INPUTS = (IMAGES, ENCOUNTERS, DIAGNOSES, NOTES)
OUTPUTS = (IMAGE_LINKS, NOTE_MENTIONS, LABEL_EVIDENCE, IMAGE_LABELS)
TEXTS = (
    "Left 5th rib fracture.",
    "No rib fracture.",
    "Possible clavicle fracture.",
    "Old healed right rib fractures.",
    "Lungs clear.",
)
CODES = ("807.01", "S42.001A", "S22.41XS", "428.0")
N_PATIENTS = 5
N_NIGHTS = 7

Rows = dict[str, list[dict[str, Any]]]


class Night:
    """One night's changes to a hospital's rows, drawn from a seed."""

    def __init__(self, hospital: Hospital, generator: np.random.Generator) -> None:
        self._hospital = hospital
        self._rows = hospital.rows
        self._generator = generator
        # The hospital numbers rows by place; rows that leave would pass their ids on.
        self._ids: dict[int, str] = {}
        self._dropped: list[dict[str, Any]] = []

    def change(self) -> None:
        changes: tuple[Callable[[], object], ...] = (
            lambda: self._hospital.note(self._number(), self._one_of(TEXTS), hours=self._hours()),
            lambda: self._hospital.code(
                self._number(), self._one_of(CODES), hours=self._hours(), position=self._number()
            ),
            lambda: self._amend("notes", note_datetime=STUDY + timedelta(hours=self._hours())),
            lambda: self._amend("notes", status=self._one_of(("retracted", "final"))),
            lambda: self._amend("encounters", end_datetime=self._end()),
            lambda: self._amend("images", acquired_datetime=STUDY + timedelta(hours=self._hours())),
            lambda: self._amend("images", is_frontal_chest=bool(self._number() % 2)),
            lambda: self._amend("images", manufacturer=f"maker {self._number()}"),
            lambda: self._drop("notes"),
            lambda: self._drop("diagnoses"),
            lambda: self._drop("images"),
            lambda: self._drop("encounters"),
            self._new_patient,
        )
        changes[self._generator.integers(len(changes))]()
        for name, key in (("notes", "note_id"), ("diagnoses", "diagnosis_id")):
            for row in self._rows[name]:
                row[key] = self._ids.setdefault(id(row), f"{key}-{len(self._ids)}")

    def _number(self) -> int:
        return int(self._generator.integers(N_PATIENTS))

    def _hours(self) -> float:
        return float(self._generator.integers(-60, 90))

    def _end(self) -> datetime | None:
        return None if self._number() == 0 else STUDY + timedelta(days=self._number())

    def _one_of(self, values: tuple[str, ...]) -> str:
        return values[self._generator.integers(len(values))]

    def _row(self, name: str) -> dict[str, Any] | None:
        rows = self._rows[name]
        return rows[self._generator.integers(len(rows))] if rows else None

    def _amend(self, name: str, **values: Any) -> None:
        row = self._row(name)
        if row is not None:
            row |= values

    def _drop(self, name: str) -> None:
        row = self._row(name)
        if row is not None:
            self._rows[name].remove(row)
            self._dropped.append(row)

    def _new_patient(self) -> None:
        known = {row["patient_id"] for row in (*self._rows["images"], *self._rows["encounters"])}
        number = next((n for n in range(N_PATIENTS) if f"p{n}" not in known), None)
        if number is not None:
            self._hospital.patient(number, end=self._end())


def publish(store: Store, rows: Rows) -> None:
    with store.commit(stage="extract") as commit:
        for table in INPUTS:
            commit.replace(table, pa.Table.from_pylist(rows[table.name], schema=table.schema))


def publish_once(store: Store) -> None:
    """Date shifts, and a public film that keeps its label."""
    shifts = [
        {
            "kind": "patient",
            "pseudonym": f"p{number}",
            "source": "site",
            "source_identifier": f"MRN {number}",
            "date_shift_days": -10 * number,
        }
        for number in range(N_PATIENTS)
    ]
    label = blank(IMAGE_LABELS, image_id="public", finding="Pneumonia", label="positive")
    with store.commit(stage="import-public") as commit:
        commit.replace(IDENTITIES, pa.Table.from_pylist(shifts, schema=IDENTITIES.schema))
        commit.replace(IMAGE_LABELS, pa.Table.from_pylist([label], schema=IMAGE_LABELS.schema))


class Replay:
    """Labels as ``label_changes`` alone tells them."""

    def __init__(self) -> None:
        self.labels: dict[tuple[str, str], str] = {}
        self._seen: set[str] = set()

    def apply(self, store: Store) -> None:
        rows = store.read(LABEL_CHANGES).to_pylist()
        for row in rows:
            if row["labelling_id"] not in self._seen:
                key = row["image_id"], row["finding"]
                assert self.labels.pop(key, None) == row["old_label"]
                if row["new_label"] is not None:
                    self.labels[key] = row["new_label"]
        self._seen.update(row["labelling_id"] for row in rows)


def relabel(store: Store, now: datetime) -> LabelSummary:
    link_images(store=store, rule=RULE)
    mine_mentions(store=store, definitions=DEFINITIONS)
    return label_images(store=store, definitions=DEFINITIONS, as_of_datetime=now)


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    hospital = Hospital(tmp_path / "home")
    for number in range(3):
        hospital.patient(number)
    public = blank(IMAGES, image_id="public", patient_id="q", source="nih", is_frontal_chest=True)
    hospital.rows["images"].append(public)
    publish_once(hospital.store)
    return hospital


@pytest.mark.parametrize("seed", range(3))
def test_every_night_equals_a_full_relabelling(
    hospital: Hospital, tmp_path: Path, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    night = Night(hospital, generator)
    n_labelled = n_images = 0
    replay = Replay()
    for number in range(N_NIGHTS):
        for _ in range(generator.integers(0, 4)):
            night.change()
        now = STUDY + timedelta(days=int(generator.integers(0, 60)))
        publish(hospital.store, hospital.rows)
        summary = relabel(hospital.store, now)
        fresh = Store(Home(tmp_path / f"fresh{number}"))
        publish_once(fresh)
        publish(fresh, hospital.rows)
        full = relabel(fresh, now)
        for table in OUTPUTS:
            assert hospital.store.read(table).equals(fresh.read(table)), table.name
        assert (summary.n_images, summary.n_labels) == (full.n_images, full.n_labels)
        replay.apply(hospital.store)
        if number:
            n_labelled += summary.n_labelled
            n_images += summary.n_images
        labels = hospital.store.read(IMAGE_LABELS).to_pylist()
        assert replay.labels == {
            (row["image_id"], row["finding"]): row["label"]
            for row in labels
            if row["image_id"] != "public"
        }
    assert n_labelled < 0.8 * n_images


def test_a_night_without_changes_labels_and_writes_nothing(hospital: Hospital) -> None:
    hospital.note(1, TEXTS[0])
    publish(hospital.store, hospital.rows)
    relabel(hospital.store, NOW)
    version = hospital.store.manifest().version
    publish(hospital.store, hospital.rows)
    summary = relabel(hospital.store, NOW + timedelta(days=1))
    assert (summary.n_images, summary.n_labelled, summary.n_changes) == (3, 0, 0)
    assert hospital.store.manifest().version == version


def test_one_changed_note_labels_one_patient(hospital: Hospital) -> None:
    publish(hospital.store, hospital.rows)
    relabel(hospital.store, NOW)
    hospital.note(1, TEXTS[0])
    publish(hospital.store, hospital.rows)
    assert relabel(hospital.store, NOW).n_labelled == 1


def test_a_closing_encounter_is_labelled_by_the_clock_alone(hospital: Hospital) -> None:
    publish(hospital.store, hospital.rows)
    relabel(hospital.store, STUDY)
    assert hospital.label(0)["reason"] == "encounter_not_closed"
    summary = relabel(hospital.store, STUDY + timedelta(days=16))
    assert (summary.n_labelled, hospital.label(0)["label"]) == (1, "negative")
    changes = hospital.store.read(LABEL_CHANGES, where={"cause": "time"}).to_pylist()
    assert {row["image_id"] for row in changes} == {"i0"}
