"""The code systems of diagnoses: their names in extracts, and what a code of each looks like."""

from __future__ import annotations

import re

VOCABULARIES = ("ICD9CM", "ICD10CM", "ICD10")
_NAMES = {
    "ICD9": "ICD9CM",
    "ICD9CM": "ICD9CM",
    "ICD9CMDX": "ICD9CM",
    "9": "ICD9CM",
    "ICD10CM": "ICD10CM",
    "ICD10CMDX": "ICD10CM",
    "10": "ICD10CM",
    "ICD10": "ICD10",
    "ICD10WHO": "ICD10",
    "WHOICD10": "ICD10",
}
_SHAPES = {
    "ICD9CM": re.compile(r"(?:\d{3}|V\d{2}|E\d{3})\d{0,2}"),
    "ICD10CM": re.compile(r"[A-Z]\d[0-9A-Z][0-9A-Z]{0,4}"),
    "ICD10": re.compile(r"[A-Z]\d{2}\d{0,3}"),
}
_ONLY_CLINICAL_MODIFICATION = re.compile(r"[A-Z]\d[0-9A-Z][0-9A-Z]{0,3}[A-Z]")


def normalize_code(code: str) -> str:
    """Upper case, without dots, blanks and dashes: ``" s22.41xa "`` to ``"S2241XA"``."""
    return re.sub(r"[\s.\-_]", "", code).upper()


def normalize_vocabulary(name: str) -> str:
    """A site's name for a code system to ICD9CM, ICD10CM or ICD10; "" if it is none of them."""
    return _NAMES.get(re.sub(r"[^A-Z0-9]", "", name.upper()), "")


def code_system(code: str, vocabulary: str) -> str:
    """The system whose code set decides on a row; "" for an unknown vocabulary.

    It is the row's own, but for codes of a row in ICD10 that end in a letter: only ICD-10-CM has a
    seventh character, so these are ICD-10-CM codes under the international name.
    """
    system = normalize_vocabulary(vocabulary)
    if system == "ICD10" and _ONLY_CLINICAL_MODIFICATION.fullmatch(normalize_code(code)):
        return "ICD10CM"
    return system


def is_parsable(code: str, vocabulary: str) -> bool:
    """Whether a row holds a code of its vocabulary at all."""
    shape = _SHAPES.get(code_system(code, vocabulary))
    return shape is not None and shape.fullmatch(normalize_code(code)) is not None
