"""A hospital's own findings and rules: files in a folder, the package untouched."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from small_hospital import DEFINITIONS, NOW, Hospital

from nlp_labeling import keyword_pattern, label_notes
from nlp_labeling.data_file import SHIPPED
from nlp_labeling.definition import load_definitions
from nlp_labeling.image_labels import label_images
from nlp_labeling.label_diff import preview_diff
from nlp_labeling.mentions import labeler
from nlp_labeling.mining import mine_mentions
from warehouse_schema.errors import ConfigurationError
from warehouse_schema.tables.labels import IMAGE_LABELS

FOLDER = Path(__file__).parents[2] / "own_rules"
OWN = load_definitions(folder=FOLDER)

NOTE_CASES = [
    ("Acute fracture of the sternum.", {"sternum_fracture": "present"}),
    ("Breastbone fx.", {"sternum_fracture": "present"}),
    ("Keinerlei sternum fracture.", {"sternum_fracture": "absent"}),
    ("No sternal fracture. Left 5th rib fracture.", {"sternum_fracture": "absent"}),
    ("Sternal wires are fractured.", {}),
    ("胸骨骨折", {"sternum_fracture": "present"}),
    ("Rib and sternum fractures.", {"sternum_fracture": "present", "rib_fracture": "present"}),
]


@pytest.mark.parametrize(("text", "expected"), NOTE_CASES)
def test_one_file_adds_a_finding(text: str, expected: dict[str, str]) -> None:
    found = {mention.finding: mention.assertion for mention in labeler(OWN).mentions(text)}
    assert expected.items() <= found.items()
    assert ("sternum_fracture" in found) == ("sternum_fracture" in expected)


@pytest.mark.parametrize("processes", [1, 2])
def test_label_notes_reads_for_it(tmp_path: Path, processes: int) -> None:
    source, summary = tmp_path / "in.csv", tmp_path / "summary.csv"
    with source.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows(
            [("note_id", "text"), *((str(i), text) for i, (text, _) in enumerate(NOTE_CASES))]
        )
    label_notes(source, tmp_path / "out.csv", summary, definitions=OWN, processes=processes)
    with summary.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["finding"] == "sternum_fracture"]
    assert [row["assertion"] for row in rows] == [
        expected.get("sternum_fracture", "not_mentioned") for _, expected in NOTE_CASES
    ]


def test_films_are_labelled_for_it_and_the_others_stay(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    for number in (1, 2, 3):
        hospital.patient(number)
    hospital.note(1, "Acute fracture of the sternum.")
    hospital.code(2, "807.2")
    hospital.code(3, "807.03")
    hospital.run()
    diff = preview_diff(store=hospital.store, definitions=OWN, as_of_datetime=NOW)
    flips = {(one.flip.image_id, one.flip.finding): one.flip.new_label for one in diff.flips}
    assert flips == {
        ("i1", "sternum_fracture"): "positive",
        ("i2", "sternum_fracture"): "positive",
        ("i3", "sternum_fracture"): "negative",
    }
    mine_mentions(store=hospital.store, definitions=OWN)
    label_images(store=hospital.store, definitions=OWN, as_of_datetime=NOW)
    assert hospital.store.read(IMAGE_LABELS).num_rows == 9
    assert hospital.label(1, "sternum_fracture")["label"] == "positive"
    assert hospital.label(3)["label"] == "positive"


def test_a_changed_rule_file_shows_what_would_flip(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path / "home")
    hospital.patient(1)
    hospital.note(1, "Keinerlei rib fracture.")
    hospital.run()
    assert hospital.label(1)["label"] == "positive"
    rules = tmp_path / "own" / "rules"
    rules.mkdir(parents=True)
    shutil.copy(FOLDER / "rules" / "house_style.toml", rules)
    body = (rules / "house_style.toml").read_text(encoding="utf-8").replace("sternum", "ribs")
    (rules / "house_style.toml").write_text(body.replace("Sternum", "Rib"), encoding="utf-8")
    own = load_definitions(folder=tmp_path / "own")
    (told,) = preview_diff(store=hospital.store, definitions=own, as_of_datetime=NOW).flips
    assert (told.flip.old_label, told.flip.new_label, told.flip.cause) == (
        "positive",
        "negative",
        "definition",
    )
    assert told.sources[0].new_rule_id == "house-no-sign"


def test_extraction_keeps_its_notes() -> None:
    assert "breastbone" in keyword_pattern(OWN)
    assert "breastbone" not in keyword_pattern(DEFINITIONS)


def test_a_file_of_the_same_name_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    body = (SHIPPED / "definitions" / "rib_fracture.toml").read_text(encoding="utf-8")
    (folder / "rib_fracture.toml").write_text(
        body.replace("closed_days_before_negative = 14", "closed_days_before_negative = 3"), "utf-8"
    )
    own = load_definitions(["rib_fracture"], folder=tmp_path)
    assert [one.linkage.closed_days_before_negative for one in own] == [3]
    assert own.definition_hash != DEFINITIONS.definition_hash
    assert load_definitions(folder=tmp_path).findings == DEFINITIONS.findings


def test_an_own_rule_whose_example_fails_is_refused(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    body = (FOLDER / "rules" / "house_style.toml").read_text(encoding="utf-8")
    (rules / "house.toml").write_text(body.replace('"Keinerlei', '"Ein'), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        labeler(load_definitions(folder=tmp_path))
    assert str(caught.value) == (
        "rules/house.toml, line 5, column 13: rule 'house-no-sign' does not fire in its positive "
        "example."
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "must hold a folder definitions or rules"),
        (lambda folder: folder.rmdir(), "there is no folder"),
        (lambda folder: (folder / "x.toml").write_text(""), "x.toml lies beside them"),
    ],
)
def test_a_folder_that_is_none(tmp_path: Path, make: object, message: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    make(folder)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match=message):
        load_definitions(folder=folder)
