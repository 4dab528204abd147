"""One verdict per note and finding from its mentions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nlp_labeling.mentions import Mention

NOT_MENTIONED = "not_mentioned"


@dataclass(frozen=True, slots=True)
class NoteSummary:
    """``assertion``: present, absent, uncertain or not_mentioned; ``acuity`` of what is present."""

    finding: str
    assertion: str
    acuity: str


def summarize_note(mentions: Sequence[Mention], findings: Sequence[str]) -> list[NoteSummary]:
    """One row per finding, in the order given.

    Only counted mentions speak: not those of an indication, a comparison, a history, of a relative
    or under an "if". Present outweighs uncertain, uncertain outweighs absent; an addendum outweighs
    the report it amends. A finding told only as history is absent with acuity old, and one that no
    counted sentence speaks of is not_mentioned.
    """
    return [_summarize(finding, [m for m in mentions if m.finding == finding]) for finding in findings]


def _summarize(finding: str, mentions: Sequence[Mention]) -> NoteSummary:
    counted = [mention for mention in mentions if mention.is_counted]
    amended = [mention for mention in counted if mention.section == "addendum"]
    for assertion in ("present", "uncertain", "absent"):
        chosen = [m for m in amended or counted if m.assertion == assertion]
        if chosen:
            return NoteSummary(finding, assertion, note_acuity(chosen))
    if any(_is_history(mention) for mention in mentions):
        return NoteSummary(finding, "absent", "old")
    return NoteSummary(finding, NOT_MENTIONED, "unknown")


def _is_history(mention: Mention) -> bool:
    is_told = mention.temporality == "historical" or mention.section == "history"
    return is_told and mention.experiencer == "patient" and mention.assertion == "present"


def note_acuity(mentions: Sequence[Mention]) -> str:
    """The youngest fracture decides: acute, healing, unknown, old.

    A mention without acuity that adds neither side nor rib to an old one repeats it.
    """
    for acuity in ("acute", "healing"):
        if any(mention.acuity == acuity for mention in mentions):
            return acuity
    old = [mention for mention in mentions if mention.acuity == "old"]
    if not old:
        return "unknown"
    return "unknown" if any(_is_another(m, old) for m in mentions if m.acuity != "old") else "old"


def _is_another(mention: Mention, old: Sequence[Mention]) -> bool:
    known_sides = {one.laterality for one in old}
    known_ribs = {number for one in old for number in one.rib_numbers}
    new_side = mention.laterality != "unknown" and not known_sides & {
        mention.laterality,
        "bilateral",
        "unknown",
    }
    new_ribs = bool(mention.rib_numbers and known_ribs and not set(mention.rib_numbers) <= known_ribs)
    return new_side or new_ribs
