"""Records in, labels and changes out, over a real store."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nlp_labeling.definition import load_definitions
from nlp_labeling.explanation import explain_image
from nlp_labeling.image_labels import LabelSummary, label_images
from nlp_labeling.mining import mine_mentions
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import (
    IMAGE_LABELS,
    LABEL_CHANGES,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, NOTES

STUDY = datetime(2014, 5, 1, 12, tzinfo=UTC)
NOW = datetime(2015, 1, 1, tzinfo=UTC)
DEFINITIONS = load_definitions()


def blank(table: Table, **values: Any) -> dict[str, Any]:
    defaults: dict[pa.DataType, Any] = {
        pa.string(): "x",
        pa.int64(): 1,
        pa.float64(): 1.0,
        pa.bool_(): False,
    }
    row = {
        column.name: None if column.null_meaning else defaults.get(column.type, STUDY)
        for column in table.columns
    }
    for column in table.columns:
        if column.allowed:
            row[column.name] = column.allowed[0]
    return {**row, "source": "site", **values} if "source" in row else {**row, **values}


class Hospital:
    """A few patients p1, p2 ... each with a film i1, an encounter e1 and an accession a1."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(Home(folder))
        self.rows: dict[str, list[dict[str, Any]]] = {
            table.name: [] for table in (IMAGES, IMAGE_LINKS, ENCOUNTERS, DIAGNOSES, NOTES)
        }

    def patient(self, number: int, *, end: datetime | None = STUDY + timedelta(days=2)) -> None:
        n = str(number)
        self.rows["images"].append(
            blank(
                IMAGES,
                image_id="i" + n,
                patient_id="p" + n,
                accession_id="a" + n,
                acquired_datetime=STUDY,
                is_frontal_chest=True,
            )
        )
        self.rows["encounters"].append(
            blank(
                ENCOUNTERS,
                encounter_id="e" + n,
                patient_id="p" + n,
                start_datetime=STUDY - timedelta(hours=2),
                end_datetime=end,
            )
        )
        self.rows["image_links"].append(
            blank(
                IMAGE_LINKS,
                image_id="i" + n,
                encounter_id="e" + n,
                rank=1,
                is_chosen=True,
                reason="contains",
                distance_hours=0.0,
            )
        )

    def code(self, number: int, code: str, *, hours: float = 40, position: int = 1) -> None:
        self.rows["diagnoses"].append(
            blank(
                DIAGNOSES,
                diagnosis_id=f"d{len(self.rows['diagnoses'])}",
                patient_id=f"p{number}",
                encounter_id=f"e{number}",
                vocabulary="ICD9CM" if code[0].isdigit() else "ICD10CM",
                diagnosis_code=code,
                position=position,
                recorded_datetime=STUDY + timedelta(hours=hours),
            )
        )

    def note(
        self,
        number: int,
        text: str,
        *,
        kind: str = "chest_film_report",
        hours: float = 1,
        accession: str | None = None,
        series: str | None = None,
        version: int = 1,
        status: str = "final",
    ) -> None:
        index = len(self.rows["notes"])
        if kind == "chest_film_report" and accession is None:
            accession = f"a{number}"
        self.rows["notes"].append(
            blank(
                NOTES,
                note_id=f"n{index}",
                patient_id=f"p{number}",
                encounter_id=f"e{number}",
                note_type=kind,
                note_series_id=series or f"s{index}",
                note_version=version,
                status=status,
                accession_id=accession,
                note_datetime=STUDY + timedelta(hours=hours),
                text=text,
                text_sha256=hashlib.sha256(text.encode()).hexdigest(),
            )
        )

    def run(self, now: datetime = NOW) -> LabelSummary:
        tables = {t.name: t for t in (IMAGES, IMAGE_LINKS, ENCOUNTERS, DIAGNOSES, NOTES)}
        with self.store.commit(stage="extract") as commit:
            for name, rows in self.rows.items():
                table = tables[name]
                commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))
        mine_mentions(store=self.store, definitions=DEFINITIONS)
        return label_images(store=self.store, definitions=DEFINITIONS, as_of_datetime=now)

    def label(self, number: int, finding: str = "rib_fracture") -> dict[str, Any]:
        rows = self.store.read(IMAGE_LABELS, where={"image_id": f"i{number}", "finding": finding})
        return dict(rows.to_pylist()[0])


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


CASES = [
    (
        "film and code",
        ["Acute left 5th rib fracture."],
        ["807.01"],
        "positive",
        "film_and_code_agree",
    ),
    ("film alone", ["Left rib fracture."], [], "positive", "film_report"),
    ("code alone", ["Lungs clear. Ribs not assessed."], ["S22.41XA"], "positive", "code_alone"),
    ("denied", ["No rib fracture."], [], "negative", "denied_by_report"),
    ("nothing", [], ["428.0"], "negative", "nothing_found"),
    ("only old", ["Old healed left rib fractures."], [], "excluded", "only_old"),
    ("conflict", ["No rib fracture."], ["807.01"], "uncertain", "code_against_report"),
    ("doubt", ["Possible rib fracture."], [], "uncertain", "only_uncertain"),
    (
        "indication only",
        ["INDICATION: r/o rib fracture\nFINDINGS: Normal."],
        [],
        "negative",
        "nothing_found",
    ),
    ("history only", ["History of rib fracture. Lungs clear."], [], "excluded", "only_historical"),
    ("sequela", [], ["S22.41XS"], "excluded", "only_historical"),
    ("subsequent", [], ["S22.41XD"], "uncertain", "subsequent_code_alone"),
    ("pathological", [], ["M84.48XA"], "negative", "nothing_found"),
]


def test_labels_of_typical_patients(hospital: Hospital) -> None:
    for number, (_, texts, codes, _, _) in enumerate(CASES):
        hospital.patient(number)
        for text in texts:
            hospital.note(number, text)
        for code in codes:
            hospital.code(number, code)
    summary = hospital.run()
    found = [(hospital.label(n)["label"], hospital.label(n)["reason"]) for n in range(len(CASES))]
    assert found == [(label, reason) for *_, label, reason in CASES]
    assert summary.n_images == len(CASES)
    assert summary.n_conflicts == 1
    assert hospital.label(0)["acuity"] == "acute"
    assert hospital.label(0)["visibility_tier"] == "chest_film_report"
    assert hospital.label(2)["visibility_tier"] == "code_only"


def test_other_imaging_and_later_notes_count(hospital: Hospital) -> None:
    hospital.patient(1)
    hospital.note(1, "No displaced rib fracture.")
    hospital.note(1, "CT: right 6th rib fracture.", kind="other_imaging_report", accession="ct1")
    hospital.patient(2)
    hospital.note(2, "Triage: no rib fracture suspected, chest wall pain", kind="triage", hours=-1)
    hospital.note(2, "Dx: left rib fracture", kind="discharge_summary", hours=30)
    hospital.run()
    assert (hospital.label(1)["label"], hospital.label(1)["visibility_tier"]) == (
        "positive",
        "other_imaging",
    )
    assert hospital.label(1)["is_conflict"]
    assert hospital.label(2)["reason"] == "clinician_alone"


def test_window_and_closing(hospital: Hospital) -> None:
    hospital.patient(1)
    hospital.code(1, "807.01", hours=24 * 60)
    hospital.patient(2, end=None)
    hospital.patient(3)
    hospital.run()
    assert hospital.label(1)["label"] == "negative"
    evidence = hospital.store.read(LABEL_EVIDENCE, where={"image_id": "i1"}).to_pylist()
    assert [row["polarity"] for row in evidence] == ["ignored"]
    assert (hospital.label(2)["label"], hospital.label(2)["reason"]) == (
        "uncertain",
        "encounter_not_closed",
    )
    hospital.run(now=STUDY + timedelta(days=5))
    assert hospital.label(3)["reason"] == "encounter_not_closed"


def test_latest_version_wins_and_retracted_is_silent(hospital: Hospital) -> None:
    hospital.patient(1)
    hospital.note(1, "Left rib fracture.", series="doc", version=1, status="preliminary")
    hospital.note(1, "No rib fracture.", series="doc", version=2)
    hospital.patient(2)
    hospital.note(2, "Left rib fracture.", series="other", version=1, status="retracted")
    hospital.run()
    assert hospital.label(1)["label"] == "negative"
    assert hospital.label(2)["reason"] == "nothing_found"


def test_changes_name_their_cause(hospital: Hospital) -> None:
    for number in (1, 2, 3):
        hospital.patient(number)
    hospital.run()
    first = hospital.store.read(LABEL_CHANGES).to_pylist()
    assert {row["cause"] for row in first} == {"new_image"}
    assert hospital.run().n_changes == 0
    hospital.code(1, "807.01")
    hospital.note(2, "Left clavicle fracture.")
    hospital.rows["image_links"] = [
        r for r in hospital.rows["image_links"] if r["image_id"] != "i3"
    ]
    hospital.run()
    later = hospital.store.read(LABEL_CHANGES).to_pylist()
    causes = {
        (row["image_id"], row["finding"]): row["cause"]
        for row in later
        if row["cause"] != "new_image"
    }
    assert causes == {
        ("i1", "rib_fracture"): "code",
        ("i2", "clavicle_fracture"): "note",
        ("i3", "rib_fracture"): "link",
        ("i3", "clavicle_fracture"): "link",
    }


def test_mentions_hold_no_text_and_a_rerun_is_identical(hospital: Hospital) -> None:
    hospital.patient(1)
    hospital.note(1, "Zanzibar Canary has a left rib fractrue.")
    hospital.run()
    first = hospital.store.read(NOTE_MENTIONS)
    assert "Canary" not in str(first.to_pylist())
    assert first.column("edit").to_pylist() == ["swap@5"]
    hospital.run()
    assert hospital.store.read(NOTE_MENTIONS).equals(first)


def test_public_labels_are_left_alone(hospital: Hospital) -> None:
    hospital.patient(1)
    hospital.rows["images"].append(
        blank(IMAGES, image_id="nih", patient_id="q", source="nih", is_frontal_chest=True)
    )
    public = blank(IMAGE_LABELS, image_id="nih", finding="Pneumonia", label="positive")
    with hospital.store.commit(stage="import-public") as commit:
        commit.replace(IMAGE_LABELS, pa.Table.from_pylist([public], schema=IMAGE_LABELS.schema))
    hospital.run()
    labels = hospital.store.read(IMAGE_LABELS).to_pylist()
    assert {row["image_id"] for row in labels} == {"i1", "nih"}


def test_explanation_tells_codes_mentions_and_links(hospital: Hospital) -> None:
    hospital.patient(1)
    hospital.note(1, "No pneumothorax. Left 5th rib fracture cannot be excluded.")
    hospital.code(1, "807.01")
    hospital.run()
    told = explain_image(store=hospital.store, image_id="i1", with_text=True)
    rib = next(one for one in told.findings if one.finding == "rib_fracture")
    assert rib.label["label"] == "positive"
    assert [row["diagnosis_code"] for row in rib.codes] == ["807.01"]
    assert rib.mentions[0].passage is not None
    assert "rib fracture" in rib.mentions[0].passage
    assert told.links[0]["encounter_id"] == "e1"
    bare = explain_image(store=hospital.store, image_id="i1", with_text=False)
    assert all(m.passage is None for one in bare.findings for m in one.mentions)
