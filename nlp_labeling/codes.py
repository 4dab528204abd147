"""Diagnosis codes: normalised, matched against a definition's hierarchies, explained.

The vocabulary is taken row by row, never from the date: both ICD revisions run side by side for
years in real extracts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nlp_labeling.definition import CodeSet, Definition, load_definitions
from nlp_labeling.vocabulary import code_system, is_parsable, normalize_code, normalize_vocabulary

NOT_RELATED = "not_related"
_SEVENTH = {
    **dict.fromkeys("ABC", "initial"),
    **dict.fromkeys("DEFGHJKMNPQR", "subsequent"),
    "S": "sequela",
}
_OPEN = frozenset("BCEFHJMNQR")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVerdict:
    """What one diagnosis row says about one finding.

    ``status``: initial, subsequent, sequela, or "" where it is not the finding; ``reason`` says why
    a code is no evidence for an acute fracture ("" where it is).
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
    code_set = definition.codes.get(system)
    base = {"finding": definition.name, "code": plain, "vocabulary": system or vocabulary}
    if code_set is None or not is_parsable(plain, system):
        return CodeVerdict(**base, status="", reason="unparsable")
    entry = code_set.branch(plain)
    if entry is None:
        return CodeVerdict(**base, status="", reason=NOT_RELATED)
    if entry.reason:
        return CodeVerdict(**base, status="", reason=entry.reason, branch=entry.code)
    status, wound = entry.status, entry.wound
    if status == "seventh_character":
        status, wound = _seventh(plain)
    return CodeVerdict(
        **base,
        status=status,
        reason="sequela" if status == "sequela" else "",
        wound=wound,
        laterality=_laterality(plain, code_set),
        branch=entry.code,
    )


def explain_codes(
    rows: Iterable[tuple[str, str]], definitions: Sequence[Definition] | None = None
) -> list[CodeVerdict]:
    """The verdict of every definition on every (code, vocabulary) row."""
    chosen = load_definitions() if definitions is None else definitions
    return [classify_code(code, name, definition) for code, name in rows for definition in chosen]


def fracture_code_listing(
    rows: Iterable[tuple[str, str]], definitions: Sequence[Definition] | None = None
) -> list[CodeVerdict]:
    """Every ICD-9-CM code in 800-829 (all fractures) with the reason why it is in or out."""
    return explain_codes(
        [
            (code, name)
            for code, name in rows
            if normalize_vocabulary(name) == "ICD9CM"
            and re.match(r"8[0-2]\d", normalize_code(code)) is not None
        ],
        definitions,
    )


def describe_verdict(verdict: CodeVerdict) -> str:
    """A verdict in words, for listings."""
    finding = verdict.finding.replace("_", " ")
    if verdict.is_evidence:
        return f"{verdict.code} means {finding} ({verdict.status} encounter)"
    words = {
        NOT_RELATED: "lies outside every branch of the definition",
        "other_site": f"is a neighbouring branch ({verdict.branch}) of another site",
        "unspecific": f"names no single site (branch {verdict.branch})",
        "unparsable": "is not a code of its vocabulary",
    }
    detail = words.get(verdict.reason, f"is {verdict.reason.replace('_', ' ')} ({verdict.branch})")
    return f"{verdict.code} is no {finding}: it {detail}"


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
