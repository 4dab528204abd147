"""Records in, labels and changes out, over a real store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from small_hospital import DEFINITIONS, STUDY, Hospital, blank

from nlp_labeling.explanation import explain_image
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import (
    IMAGE_LABELS,
    LABEL_CHANGES,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)


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
    told = explain_image(
        store=hospital.store, image_id="i1", definitions=DEFINITIONS, with_text=True
    )
    rib = next(one for one in told.findings if one.finding == "rib_fracture")
    assert rib.label["label"] == "positive"
    assert [row["diagnosis_code"] for row in rib.codes] == ["807.01"]
    assert rib.mentions[0].passage is not None
    assert "rib fracture" in rib.mentions[0].passage.text
    assert told.links[0]["encounter_id"] == "e1"
    bare = explain_image(
        store=hospital.store, image_id="i1", definitions=DEFINITIONS, with_text=False
    )
    assert all(m.passage is None for one in bare.findings for m in one.mentions)
