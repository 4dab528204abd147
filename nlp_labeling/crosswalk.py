"""What the general crosswalk between ICD-9-CM and ICD-10-CM would get wrong about a finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nlp_labeling.codes import CodeVerdict, classify_code
from nlp_labeling.definition import Definition

OTHER_SYSTEM = {"ICD9CM": "ICD10CM", "ICD10CM": "ICD9CM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Misstep:
    """One code whose crosswalk says something else about the finding than the code itself.

    ``fault``: invented (no evidence becomes evidence), lost (evidence becomes none) or wound (open
    or closed is made up); ``targets`` are the crosswalk's codes that do so.
    """

    source: CodeVerdict
    fault: str
    targets: tuple[str, ...]


def find_missteps(
    pairs: Iterable[tuple[str, str]], vocabulary: str, definition: Definition
) -> list[Misstep]:
    """Faults of a crosswalk's pairs from ``vocabulary`` to the other one, by code."""
    found: dict[tuple[str, str], list[str]] = {}
    here, there = definition.codes[vocabulary], definition.codes[OTHER_SYSTEM[vocabulary]]
    for code, target in pairs:
        if here.branch(code) is None and there.branch(target) is None:
            continue
        before = classify_code(code, vocabulary, definition)
        after = classify_code(target, OTHER_SYSTEM[vocabulary], definition)
        fault = _fault(before, after)
        if fault:
            found.setdefault((code, fault), []).append(target)
    return [
        Misstep(
            source=classify_code(code, vocabulary, definition),
            fault=fault,
            targets=tuple(targets),
        )
        for (code, fault), targets in sorted(found.items())
    ]


def _fault(before: CodeVerdict, after: CodeVerdict) -> str:
    if before.is_evidence != after.is_evidence:
        return "lost" if before.is_evidence else "invented"
    is_made_up = before.wound == "unknown" and after.wound == "open"
    return "wound" if before.is_evidence and is_made_up else ""
