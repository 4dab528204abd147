"""Checklists: complete, filled only with facts, and honest about what is left to the hospital."""

import re

import pytest

from evaluation.checklist import CHECKLISTS, filled_checklist
from evaluation.study_facts import study_facts
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store

RUN_ID = "aals-0-1-bb"


def test_numbers_are_those_of_the_publications() -> None:
    claim, stard = (filled_checklist(name, {}) for name in CHECKLISTS)
    assert [item.number for item in claim.items] == [str(number) for number in range(1, 45)]
    numbers = [int(re.sub(r"\D", "", item.number)) for item in stard.items]
    assert sorted(set(numbers)) == list(range(1, 41))


@pytest.mark.parametrize("name", CHECKLISTS)
def test_without_facts_no_sentence_stands_that_needs_one(name: str) -> None:
    for item in filled_checklist(name, {}).items:
        assert "{" not in item.answer
        assert item.answer or item.hospital
        assert (item.status == "hospital") == (not item.answer)
        assert (item.status == "filled") == (not item.hospital)


@pytest.mark.parametrize("name", CHECKLISTS)
def test_facts_of_a_run_fill_the_items(store: Store, name: str) -> None:
    facts = study_facts(store=store, run_id=RUN_ID)
    filled = filled_checklist(name, facts)
    bare = filled_checklist(name, {})
    assert filled.n_items("hospital") < bare.n_items("hospital")
    assert sum(filled.n_items(status) for status in ("filled", "partly", "hospital")) == len(
        filled.items
    )
    funding = next(item for item in filled.items if item.item.startswith("Funding"))
    assert funding.status == "hospital"


def test_facts_are_those_of_the_warehouse(store: Store) -> None:
    facts = study_facts(store=store, run_id=RUN_ID)
    assert facts["findings"] == "rib fracture and clavicle fracture"
    assert facts["n_films"] == facts["n_patients"] == "96"
    assert facts["years"] == "2012–2016"
    assert facts["flow"].startswith("Kept in this order: all readable films (156)")
    assert "external_sources" not in facts
    assert "performance" not in facts


def test_an_unknown_run_is_refused(store: Store) -> None:
    with pytest.raises(EvaluationError, match="there is no training run nobody"):
        study_facts(store=store, run_id="nobody")
