"""Two versions of the labels compared: direction, cause, and the evidence that changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from small_hospital import DEFINITIONS, NOW, STUDY, Hospital

from nlp_labeling.label_diff import diff_labels, preview_diff
from warehouse_schema.errors import WarehouseError
from warehouse_schema.tables.records import ENCOUNTERS


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    hospital = Hospital(tmp_path)
    for number in (1, 2, 3):
        hospital.patient(number)
    hospital.note(2, "No rib fracture.", series="doc", version=1)
    return hospital


def test_a_flip_names_its_code_or_note(hospital: Hospital) -> None:
    hospital.run()
    before = hospital.store.manifest().version
    hospital.code(1, "807.01")
    hospital.note(2, "Left 5th rib fracture.", series="doc", version=2)
    hospital.run()
    diff = diff_labels(store=hospital.store, before=before, after=None)
    assert diff.n_compared == 6
    code, note = diff.flips
    assert (code.flip.image_id, code.flip.old_label, code.flip.new_label) == (
        "i1",
        "negative",
        "positive",
    )
    assert [(one.change, one.source, one.new_polarity) for one in code.sources] == [
        ("added", "ICD9CM 807.01", "positive")
    ]
    assert note.flip.cause == "note"
    assert {(one.change, one.source.split(",")[0]) for one in note.sources} == {
        ("removed", "chest_film_report n0"),
        ("added", "chest_film_report n1"),
    }
    rows = diff.table().to_pylist()
    assert len(rows) == 3
    assert rows[0]["old_reason"] == "nothing_found"
    # The same the other way round.
    back = diff_labels(store=hospital.store, before=hospital.store.manifest().version, after=before)
    assert [told.flip.new_label for told in back.flips] == ["negative", "negative"]
    assert back.flips[0].sources[0].change == "removed"


def test_equal_versions_do_not_differ(hospital: Hospital) -> None:
    hospital.run()
    version = hospital.store.manifest().version
    assert diff_labels(store=hospital.store, before=version, after=version).flips == ()
    with pytest.raises(WarehouseError, match="no warehouse version"):
        diff_labels(store=hospital.store, before=99, after=None)


def test_a_dry_run_shows_changed_rules_and_writes_nothing(hospital: Hospital) -> None:
    hospital.run()
    version = hospital.store.manifest().version
    # Other rules deny nothing any more: the report's denial becomes an affirmation.
    rules = tuple(rule for rule in DEFINITIONS.rules.rules if rule.category != "negated")
    other = replace(
        DEFINITIONS, rules=replace(DEFINITIONS.rules, rules=rules), definition_hash="other rules"
    )
    diff = preview_diff(store=hospital.store, definitions=other, as_of_datetime=NOW)
    assert hospital.store.manifest().version == version
    assert [(told.flip.image_id, told.flip.cause) for told in diff.flips] == [("i2", "definition")]
    (source,) = diff.flips[0].sources
    assert (source.change, source.old_polarity, source.new_polarity) == (
        "changed",
        "negative",
        "positive",
    )


def test_a_dry_run_of_the_same_rules_shows_nothing_but_time(hospital: Hospital) -> None:
    hospital.run(now=STUDY + timedelta(days=3))
    assert hospital.store.read(ENCOUNTERS).num_rows == 3
    same = preview_diff(
        store=hospital.store, definitions=DEFINITIONS, as_of_datetime=STUDY + timedelta(days=3)
    )
    later = preview_diff(store=hospital.store, definitions=DEFINITIONS, as_of_datetime=NOW)
    assert same.flips == ()
    assert {told.flip.cause for told in later.flips} == {"time"}
