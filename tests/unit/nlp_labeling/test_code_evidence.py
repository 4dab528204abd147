"""What a diagnosis row does to a film's evidence: status, position, date, and the code's system."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from small_hospital import DEFINITIONS, STUDY

from nlp_labeling.evidence import Gathered, Records, gather_evidence

RIB = next(one for one in DEFINITIONS if one.name == "rib_fracture")
BEFORE, AFTER = -RIB.linkage.hours_before_study, RIB.linkage.hours_after_study
PRINCIPAL, SECONDARY = RIB.weights["code_principal"], RIB.weights["code_secondary"]


def gather(*rows: dict[str, Any]) -> Gathered:
    image = {"image_id": "i", "patient_id": "p", "accession_id": None, "acquired_datetime": STUDY}
    return gather_evidence(image, "e", RIB, Records.group(rows, ()), "h")


def row(
    code: str, *, hours: float | None = 1, position: int | None = 1, **more: Any
) -> dict[str, Any]:
    return {
        "diagnosis_id": code,
        "encounter_id": "e",
        "vocabulary": "ICD9CM" if code[0].isdigit() or code[0] == "V" else "ICD10CM",
        "diagnosis_code": code,
        "position": position,
        "recorded_datetime": None if hours is None else STUDY + timedelta(hours=hours),
        **more,
    }


CASES = [
    # code, hours after the film, position: polarity, weight, voice of the codes
    ("807.01", 1, 1, "positive", PRINCIPAL, "initial"),
    ("807.01", 1, 2, "positive", SECONDARY, "initial"),
    ("807.01", 1, None, "positive", SECONDARY, "initial"),
    ("807.01", None, 1, "positive", PRINCIPAL, "initial"),
    ("807.01", BEFORE, 1, "positive", PRINCIPAL, "initial"),
    ("807.01", BEFORE - 1, 1, "ignored", PRINCIPAL, "none"),
    ("807.01", AFTER, 1, "positive", PRINCIPAL, "initial"),
    ("807.01", AFTER + 1, 1, "ignored", PRINCIPAL, "none"),
    ("S22.41XD", 1, 1, "positive", PRINCIPAL, "subsequent"),
    ("S22.41XS", 1, 1, "old", PRINCIPAL, "past"),
    ("S22.41XS", AFTER + 1, 1, "ignored", PRINCIPAL, "none"),
    ("V15.51", 1, 1, "ignored", PRINCIPAL, "none"),
    ("V54.19", 1, 3, "ignored", SECONDARY, "none"),
    ("733.19", 1, 1, "ignored", PRINCIPAL, "none"),
    ("819.0", 1, 1, "ignored", PRINCIPAL, "none"),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]} at {c[1]} h, {c[2]}" for c in CASES])
def test_one_row(case: tuple[Any, ...]) -> None:
    code, hours, position, *expected = case
    gathered = gather(row(code, hours=hours, position=position))
    (evidence,) = gathered.rows
    assert [evidence["polarity"], evidence["weight"], gathered.code] == expected


@pytest.mark.parametrize("code", ["807.2", "S22.20XA", "810.01", "428.0", "8O7.01", ""])
def test_codes_of_other_things_leave_no_row(code: str) -> None:
    assert gather(row(code or "0", diagnosis_code=code)).rows == []


def test_codes_of_other_encounters_are_not_asked() -> None:
    assert gather(row("807.01", encounter_id="f")).rows == []


def test_the_most_acute_row_speaks() -> None:
    assert gather(row("S22.41XS"), row("S22.41XD"), row("S22.41XA")).code == "initial"
    assert gather(row("S22.41XS"), row("S22.41XD")).code == "subsequent"
