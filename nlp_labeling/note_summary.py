"""One verdict per note and finding from its mentions.

The functions read mentions as mappings, so that rows of ``note_mentions`` and fresh mentions go
through the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlp_labeling.sections import SILENT_SECTIONS

NOT_MENTIONED = "not_mentioned"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoteSummary:
    """``assertion``: present, absent, uncertain or not_mentioned; ``acuity`` of what is present."""

    finding: str
    assertion: str
    acuity: str


def is_counted(mention: Row) -> bool:
    """Whether a mention speaks of this patient now, as a finding and not as a question."""
    return bool(
        mention["section"] not in SILENT_SECTIONS
        and mention["temporality"] == "recent"
        and mention["experiencer"] == "patient"
        and not mention["is_hypothetical"]
    )


def told_as_history(mention: Row) -> bool:
    """Whether a mention tells that the patient once had the finding."""
    return bool(
        (mention["temporality"] == "historical" or mention["section"] == "history")
        and mention["experiencer"] == "patient"
        and mention["assertion"] == "present"
        and not mention["is_hypothetical"]
    )


def _denied_for_ever(mention: Row) -> bool:
    return bool(
        mention["temporality"] == "historical"
        and mention["experiencer"] == "patient"
        and mention["assertion"] == "absent"
    )


def decisive_mentions(mentions: Sequence[Row]) -> tuple[str, list[Row]]:
    """The assertion of a note about one finding, and the mentions that carry it.

    Only counted mentions speak. Present outweighs uncertain, uncertain outweighs absent; an
    addendum outweighs the report it amends.
    """
    counted = [mention for mention in mentions if is_counted(mention)]
    amended = [mention for mention in counted if mention["section"] == "addendum"]
    for assertion in ("present", "uncertain", "absent"):
        chosen = [m for m in amended or counted if m["assertion"] == assertion]
        if chosen:
            return assertion, chosen
    return NOT_MENTIONED, []


def summarize_note(mentions: Sequence[Row], findings: Sequence[str]) -> list[NoteSummary]:
    """One row per finding, in the order given.

    A finding told only as history is absent with acuity old, one denied for the whole history
    absent; one that no counted sentence speaks of is not_mentioned.
    """
    summaries = []
    for finding in findings:
        own = [mention for mention in mentions if mention["finding"] == finding]
        assertion, chosen = decisive_mentions(own)
        acuity = note_acuity(chosen) if assertion in ("present", "uncertain") else "unknown"
        if assertion == NOT_MENTIONED and any(told_as_history(mention) for mention in own):
            assertion, acuity = "absent", "old"
        elif assertion == NOT_MENTIONED and any(_denied_for_ever(mention) for mention in own):
            assertion = "absent"
        summaries.append(NoteSummary(finding, assertion, acuity))
    return summaries


def note_acuity(mentions: Sequence[Row]) -> str:
    """The youngest fracture decides: acute, healing, unknown, old.

    A mention without acuity that adds neither side nor rib to an old one repeats it.
    """
    for acuity in ("acute", "healing"):
        if any(mention["acuity"] == acuity for mention in mentions):
            return acuity
    old = [mention for mention in mentions if mention["acuity"] == "old"]
    if not old:
        return "unknown"
    others = [mention for mention in mentions if mention["acuity"] != "old"]
    return "unknown" if any(_is_another(mention, old) for mention in others) else "old"


def _is_another(mention: Row, old: Sequence[Row]) -> bool:
    known_sides = {one["laterality"] or "unknown" for one in old}
    known_ribs = {number for one in old for number in one["rib_numbers"] or ()}
    side = mention["laterality"] or "unknown"
    new_side = side != "unknown" and not known_sides & {side, "bilateral", "unknown"}
    ribs = set(mention["rib_numbers"] or ())
    return new_side or bool(ribs and known_ribs and not ribs <= known_ribs)
