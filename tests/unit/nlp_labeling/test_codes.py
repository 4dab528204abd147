"""Diagnosis codes against the real tables and against hand-made rows."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest

from nlp_labeling.code_tables import read_crosswalk, read_titles
from nlp_labeling.codes import classify_code, describe_verdict
from nlp_labeling.crosswalk import find_missteps
from nlp_labeling.definition import Definition, load_definitions
from nlp_labeling.vocabulary import is_parsable, normalize_code, normalize_vocabulary

SHARED = Path(
    os.environ.get("RIBLINE_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
TABLES = SHARED / "icd_tables"
needs_tables = pytest.mark.skipif(
    not TABLES.is_dir(), reason="set RIBLINE_SHARED_DATA to the folder with icd_tables"
)
CLAVICLE, RIB = load_definitions()


@cache
def titles(vocabulary: str) -> dict[str, str]:
    return read_titles(TABLES, vocabulary)


@cache
def crosswalk(vocabulary: str) -> list[tuple[str, str]]:
    return list(read_crosswalk(TABLES, vocabulary))


def evidence_codes(vocabulary: str, definition: Definition) -> dict[str, str]:
    return {
        code: text
        for code, text in titles(vocabulary).items()
        if classify_code(code, vocabulary, definition).status
    }


@needs_tables
def test_icd9_leaves_are_the_finding() -> None:
    ribs = evidence_codes("ICD9CM", RIB)
    assert len(ribs) == 21
    assert all("rib" in text.lower() or "flail" in text.lower() for text in ribs.values())
    clavicles = evidence_codes("ICD9CM", CLAVICLE)
    assert len(clavicles) == 8
    assert all("clavicle" in text for text in clavicles.values())


@needs_tables
def test_icd10_leaves_are_the_finding() -> None:
    ribs = evidence_codes("ICD10CM", RIB)
    assert len(ribs) == 48
    assert all("rib" in text or "Flail" in text for text in ribs.values())
    clavicles = evidence_codes("ICD10CM", CLAVICLE)
    assert all("clavicle" in text for text in clavicles.values())
    assert len(clavicles) > 150


@needs_tables
@pytest.mark.parametrize("vocabulary", ["ICD9CM", "ICD10CM"])
@pytest.mark.parametrize(("definition", "word"), [(RIB, "rib"), (CLAVICLE, "clavicle")])
def test_no_leaf_is_forgotten(definition: Definition, word: str, vocabulary: str) -> None:
    forgotten = [
        code
        for code, text in titles(vocabulary).items()
        if re.search(rf"fracture.*\b{word}|\b{word}.*fracture", text.lower())
        if definition.codes[vocabulary].branch(code) is None
    ]
    assert forgotten == []


@needs_tables
@pytest.mark.parametrize("vocabulary", ["ICD9CM", "ICD10CM"])
def test_every_fracture_of_another_bone_is_told_by_its_category(vocabulary: str) -> None:
    others = r"tooth|dental|penis|without current|late effect|history|aftercare|convalescence"
    untold = [
        code
        for code, text in titles(vocabulary).items()
        if "fracture of" in text.lower()
        and not re.search(others, text.lower())
        and classify_code(code, vocabulary, RIB).reason == "not_related"
    ]
    assert untold == []


@needs_tables
@pytest.mark.parametrize("vocabulary", ["ICD9CM", "ICD10CM"])
@pytest.mark.parametrize("definition", [RIB, CLAVICLE])
def test_every_branch_is_in_the_official_table(vocabulary: str, definition: Definition) -> None:
    leaves = list(titles(vocabulary))
    code_set = definition.codes[vocabulary]
    empty = [
        entry.code
        for entry in (*code_set.include, *code_set.exclude)
        if not any(leaf.startswith(entry.plain) for leaf in leaves)
    ]
    assert empty == []


@needs_tables
@pytest.mark.parametrize(
    ("definition", "vocabulary", "code", "fault", "target"),
    [
        (RIB, "ICD9CM", "8074", "wound", "S225XXB"),
        (RIB, "ICD9CM", "8190", "invented", "S2249XA"),
        (RIB, "ICD9CM", "V5419", "invented", "S2241XD"),
        (RIB, "ICD10CM", "S2241XG", "lost", "V5419"),
        (RIB, "ICD10CM", "S2241XK", "lost", "73382"),
        (CLAVICLE, "ICD9CM", "73381", "invented", "S42009P"),
        (CLAVICLE, "ICD9CM", "V5419", "invented", "S42001D"),
        (CLAVICLE, "ICD10CM", "S42021D", "lost", "V5419"),
    ],
)
def test_the_crosswalk_goes_wrong(
    definition: Definition, vocabulary: str, code: str, fault: str, target: str
) -> None:
    steps = find_missteps(crosswalk(vocabulary), vocabulary, definition)
    (step,) = [step for step in steps if step.source.code == code]
    assert step.fault == fault
    assert target in step.targets


@needs_tables
def test_status_wound_and_side_agree_with_the_official_words() -> None:
    table = titles("ICD10CM")
    checked = 0
    for definition in (RIB, CLAVICLE):
        for code, text in table.items():
            verdict = classify_code(code, "ICD10CM", definition)
            if not verdict.status:
                continue
            checked += 1
            lowered = text.lower()
            assert verdict.status in lowered
            if "open" in lowered:
                assert verdict.wound == "open"
            for side in ("right", "left", "bilateral"):
                assert (verdict.laterality == side) == (
                    f"{side} side" in lowered
                    or f"{side} clavicle" in lowered
                    or (side == "bilateral" and "bilateral" in lowered)
                )
    assert checked > 200


@pytest.mark.parametrize(
    "code", ["S22.41XA", "s2241xa", " S22.41xa ", "S22.41A", "S2241A", "S22-41-XA"]
)
def test_spelling_does_not_matter(code: str) -> None:
    verdict = classify_code(code, "icd-10-cm", RIB)
    assert (verdict.status, verdict.laterality, verdict.is_evidence) == ("initial", "right", True)


@pytest.mark.parametrize(
    ("code", "vocabulary", "status", "reason"),
    [
        ("807.03", "ICD9CM", "initial", ""),
        ("80703", "ICD9CM", "initial", ""),
        ("8074", "ICD9CM", "initial", ""),
        ("8072", "ICD9CM", "", "other_site"),
        ("8075", "ICD9CM", "", "other_site"),
        ("V1551", "ICD9CM", "", "history"),
        ("9051", "ICD9CM", "", "sequela"),
        ("V5419", "ICD9CM", "", "aftercare"),
        ("73319", "ICD9CM", "", "pathological"),
        ("80121", "ICD9CM", "", "other_site"),
        ("V1351", "ICD9CM", "", "history"),
        ("733.81", "ICD9CM", "", "unspecific"),
        ("8190", "ICD9CM", "", "unspecific"),
        ("4280", "ICD9CM", "", "not_related"),
        ("S22.32XD", "ICD10CM", "subsequent", ""),
        ("S22.32XS", "ICD10CM", "sequela", "sequela"),
        ("S22.5XXB", "ICD10CM", "initial", ""),
        ("S22.4", "ICD10CM", "initial", ""),
        ("S22.20XA", "ICD10CM", "", "other_site"),
        ("Z87.81", "ICD10CM", "", "history"),
        ("M84.48XA", "ICD10CM", "", "pathological"),
        ("M96.A3", "ICD10CM", "", "resuscitation"),
        ("S22.3", "ICD10", "initial", ""),
        ("S22.40", "ICD10", "initial", ""),
        ("S22.41XA", "ICD10", "initial", ""),
        ("S22.41XS", "ICD10", "sequela", "sequela"),
        ("S22.2", "ICD10", "", "other_site"),
        ("S12.8", "ICD10", "", "other_site"),
        ("S72.0", "ICD10", "", "other_site"),
        ("T02.1", "ICD10", "", "unspecific"),
        ("T91.2", "ICD10", "", "sequela"),
        ("J18.9", "ICD10", "", "not_related"),
        ("S22.41XA", "ICD9CM", "", "unparsable"),
        ("807.03", "ICD10CM", "", "unparsable"),
        ("", "ICD10CM", "", "unparsable"),
        ("S22.3", "SNOMED", "", "unparsable"),
    ],
)
def test_rib_codes(code: str, vocabulary: str, status: str, reason: str) -> None:
    verdict = classify_code(code, vocabulary, RIB)
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("code", "vocabulary", "status", "reason", "side"),
    [
        ("810.02", "ICD9CM", "initial", "", "unknown"),
        ("8101", "ICD9CM", "initial", "", "unknown"),
        ("767.2", "ICD9CM", "", "birth", "unknown"),
        ("S42.021A", "ICD10CM", "initial", "", "right"),
        ("S42.035G", "ICD10CM", "subsequent", "", "left"),
        ("S42.009S", "ICD10CM", "sequela", "sequela", "unknown"),
        ("P13.4", "ICD10CM", "", "birth", "unknown"),
        ("S42.101A", "ICD10CM", "", "other_site", "unknown"),
        ("S42.0", "ICD10", "initial", "", "unknown"),
        ("S42.00", "ICD10", "initial", "", "unknown"),
    ],
)
def test_clavicle_codes(code: str, vocabulary: str, status: str, reason: str, side: str) -> None:
    verdict = classify_code(code, vocabulary, CLAVICLE)
    assert (verdict.status, verdict.reason, verdict.laterality) == (status, reason, side)


def test_vocabulary_names() -> None:
    assert [normalize_vocabulary(name) for name in ("ICD-9-CM", "icd10cm", "ICD10", "LOINC")] == [
        "ICD9CM",
        "ICD10CM",
        "ICD10",
        "",
    ]
    assert normalize_code("s22.41xa") == "S2241XA"
    assert not is_parsable("n/a", "ICD9CM")


@pytest.mark.parametrize(
    ("code", "vocabulary", "wound", "side"),
    [
        ("807.03", "ICD9CM", "closed", "unknown"),
        ("807.13", "ICD9CM", "open", "unknown"),
        ("807.4", "ICD9CM", "unknown", "unknown"),
        ("S22.31XB", "ICD10CM", "open", "right"),
        ("S22.42XA", "ICD10CM", "closed", "left"),
        ("S22.43XD", "ICD10CM", "closed", "bilateral"),
        ("S22.49XA", "ICD10CM", "closed", "unknown"),
        ("S22.42", "ICD10CM", "unknown", "left"),
        ("S22.3", "ICD10", "unknown", "unknown"),
        ("S22.30", "ICD10", "closed", "unknown"),
        ("S22.41", "ICD10", "open", "unknown"),
    ],
)
def test_wound_and_side(code: str, vocabulary: str, wound: str, side: str) -> None:
    verdict = classify_code(code, vocabulary, RIB)
    assert (verdict.wound, verdict.laterality) == (wound, side)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("80703", "initial encounter (branch 807.0)"),
        ("80121", "another bone: 801 base of skull"),
        ("8052", "another bone: 805 vertebral column without spinal cord injury"),
        ("8072", "another bone: 807.2 ribs, sternum, larynx and trachea"),
        ("8190", "names no single bone: 819 multiple fractures of both upper limbs"),
        ("V1551", "history (V15.51)"),
        ("4280", "no fracture"),
        ("none", "no code of its vocabulary"),
    ],
)
def test_why_a_code_is_out(code: str, words: str) -> None:
    assert describe_verdict(classify_code(code, "ICD9CM", RIB)).startswith(words)
