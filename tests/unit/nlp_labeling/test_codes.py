"""Diagnosis codes against the real tables and against hand-made rows."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest

from nlp_labeling.codes import (
    classify_code,
    describe_verdict,
    explain_codes,
    fracture_code_listing,
    is_parsable,
    normalize_code,
    normalize_vocabulary,
)
from nlp_labeling.definition import Definition, load_definitions

SHARED = Path(
    os.environ.get("RIBLINE_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
TABLES = SHARED / "icd_tables"
MIMIC = SHARED / "mimic_iii_demo"
needs_tables = pytest.mark.skipif(
    not TABLES.is_dir(), reason="set RIBLINE_SHARED_DATA to the folder with icd_tables"
)
needs_mimic = pytest.mark.skipif(
    not MIMIC.is_dir(), reason="set RIBLINE_SHARED_DATA to the folder with mimic_iii_demo"
)
CLAVICLE, RIB = load_definitions()


def words(name: str) -> dict[str, str]:
    with gzip.open(TABLES / name, "rt", encoding="latin-1") as lines:
        return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1].strip() for line in lines}


def evidence_codes(name: str, vocabulary: str, definition: Definition) -> dict[str, str]:
    return {
        code: text
        for code, text in words(name).items()
        if classify_code(code, vocabulary, definition).status
    }


@needs_tables
def test_icd9_leaves_are_the_finding() -> None:
    ribs = evidence_codes("CMS32_DESC_LONG_DX.txt.gz", "ICD9CM", RIB)
    assert len(ribs) == 21
    assert all("rib" in text.lower() or "flail" in text.lower() for text in ribs.values())
    clavicles = evidence_codes("CMS32_DESC_LONG_DX.txt.gz", "ICD9CM", CLAVICLE)
    assert len(clavicles) == 8
    assert all("clavicle" in text for text in clavicles.values())


@needs_tables
def test_icd10_leaves_are_the_finding() -> None:
    ribs = evidence_codes("icd10cm-codes-2024.txt.gz", "ICD10CM", RIB)
    assert len(ribs) == 48
    assert all("rib" in text or "Flail" in text for text in ribs.values())
    clavicles = evidence_codes("icd10cm-codes-2024.txt.gz", "ICD10CM", CLAVICLE)
    assert all("clavicle" in text for text in clavicles.values())
    assert len(clavicles) > 150


@needs_tables
@pytest.mark.parametrize(("definition", "word"), [(RIB, " rib"), (CLAVICLE, "clavicle")])
def test_no_icd10_leaf_is_forgotten(definition: Definition, word: str) -> None:
    forgotten = [
        code
        for code, text in words("icd10cm-codes-2024.txt.gz").items()
        if "racture" in text and word in text.lower()
        if classify_code(code, "ICD10CM", definition).reason == "not_related"
    ]
    assert forgotten == []


@needs_tables
def test_status_wound_and_side_agree_with_the_official_words() -> None:
    table = words("icd10cm-codes-2024.txt.gz")
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
        ("S22.2", "ICD10", "", "other_site"),
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


@needs_mimic
def test_mimic_demo_has_no_rib_or_clavicle_fracture() -> None:
    with (MIMIC / "DIAGNOSES_ICD.csv").open(encoding="utf-8") as lines:
        rows = [(row["ICD9_CODE"], "ICD9CM") for row in csv.DictReader(lines)]
    assert not any(verdict.is_evidence for verdict in explain_codes(rows))
    listing = fracture_code_listing(rows)
    assert len(listing) == 2 * 14
    assert all(verdict.reason in ("not_related", "other_site") for verdict in listing)
    assert all("is no" in describe_verdict(verdict) for verdict in listing)
