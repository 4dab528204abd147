"""Diagnosis codes: normalised, matched against a definition's hierarchies, explained.

The vocabulary is taken row by row, never from the date: both ICD revisions run side by side for
years in real extracts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from nlp_labeling.data_file import SHIPPED, read_file
from nlp_labeling.definition import CodeSet, Definition
from nlp_labeling.vocabulary import code_system, is_parsable, normalize_code

NOT_RELATED, OTHER_SITE = "not_related", "other_site"
_SEVENTH = {
    **dict.fromkeys("ABC", "initial"),
    **dict.fromkeys("DEFGHJKMNPQR", "subsequent"),
    "S": "sequela",
}
_OPEN = frozenset("BCEFHJMNQR")
_FIFTH = {"0": "closed", "1": "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVerdict:
    """What one diagnosis row says about one finding.

    ``status``: initial, subsequent, sequela, or "" where it is not the finding; ``reason`` says why
    a code is no evidence for an acute fracture ("" where it is); ``branch`` is the definition's
    branch that decided, or the category of the fracture that a code outside all of them tells.
    """

    finding: str
    code: str
    vocabulary: str
    status: str
    reason: str
    wound: str = "unknown"
    laterality: str = "unknown"
    branch: str = ""

    @property
    def is_evidence(self) -> bool:
        """Whether the code speaks for a current fracture."""
        return self.status in ("initial", "subsequent") and not self.reason


def classify_code(code: str, vocabulary: str, definition: Definition) -> CodeVerdict:
    """What a code says about a finding.

    Shortened codes count with the branch they stand in (``S22.4`` without side or encounter),
    missing X padding is no obstacle (``S22.31A``), nor are dots and case.
    """
    plain, system = normalize_code(code), code_system(code, vocabulary)
    base = {"finding": definition.name, "code": plain, "vocabulary": system or vocabulary}
    if not is_parsable(plain, system):
        return CodeVerdict(**base, status="", reason="unparsable")
    code_set = definition.codes.get(system)
    entry = None if code_set is None else code_set.branch(plain)
    if code_set is None or entry is None:
        category = fracture_category(plain, system)
        reason = OTHER_SITE if category else NOT_RELATED
        return CodeVerdict(**base, status="", reason=reason, branch=category)
    if entry.reason:
        return CodeVerdict(**base, status="", reason=entry.reason, branch=entry.code)
    status, wound = entry.status, entry.wound
    if status == "seventh_character":
        status, wound = _seventh(plain)
    elif wound == "fifth_character":
        wound = _FIFTH.get(plain[4:5], "unknown")
    return CodeVerdict(
        **base,
        status=status,
        reason="sequela" if status == "sequela" else "",
        wound=wound,
        laterality=_laterality(plain, code_set),
        branch=entry.code,
    )


@cache
def fracture_categories() -> Mapping[str, Mapping[str, str]]:
    """The bone of every category of fractures, by vocabulary and normalised category."""
    values = read_file(SHIPPED / "fracture_categories.toml").values
    return {
        system: {normalize_code(category): bone for category, bone in bones.items()}
        for system, bones in values.items()
    }


def fracture_category(plain: str, system: str) -> str:
    """The longest category of fractures that a normalised code stands in; "" for no fracture."""
    bones = fracture_categories().get(system, {})
    heads = (plain[:length] for length in range(len(plain), 2, -1))
    return next((head for head in heads if head in bones), "")


def describe_verdict(verdict: CodeVerdict) -> str:
    """Why a code is in or out, in words, for listings."""
    if verdict.is_evidence:
        return f"{verdict.status} encounter (branch {verdict.branch})"
    plain = normalize_code(verdict.branch)
    category = fracture_category(plain, verdict.vocabulary)
    bone = fracture_categories().get(verdict.vocabulary, {}).get(category, "")
    words = {
        NOT_RELATED: "no fracture",
        OTHER_SITE: f"another bone: {verdict.branch} {bone}".rstrip(),
        "unspecific": f"names no single bone: {verdict.branch} {bone}".rstrip(),
        "unparsable": "no code of its vocabulary",
    }
    return words.get(verdict.reason, f"{verdict.reason.replace('_', ' ')} ({verdict.branch})")


def _seventh(plain: str) -> tuple[str, str]:
    """Encounter and wound from an ICD-10-CM fracture code's last letter, padded or not."""
    letter = plain[-1] if len(plain) > 4 and plain[-1].isalpha() and plain[-1] != "X" else ""
    status = _SEVENTH.get(letter, "initial")
    if not letter:
        return status, "unknown"
    return status, "open" if letter in _OPEN else "closed"


def _laterality(plain: str, code_set: CodeSet) -> str:
    for side, pattern in code_set.sides.items():
        if re.match(pattern, plain):
            return side
    return "unknown"
