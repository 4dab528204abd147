"""A mention, and its way from the positions of a sentence to those of the note."""

from __future__ import annotations

from dataclasses import dataclass

from nlp_labeling.note_text import NoteText
from nlp_labeling.sections import Sentence


@dataclass(slots=True, kw_only=True)
class Mention:
    """One finding at one site as a note tells it; the caller's own, who may change it.

    All positions are characters of the note as given; -1 where there is no cue.
    """

    finding: str
    start: int
    end: int
    assertion: str
    temporality: str
    experiencer: str
    is_hypothetical: bool
    acuity: str
    laterality: str
    rib_numbers: tuple[int, ...]
    displacement: str
    section: str
    site_start: int
    site_end: int
    cue_start: int
    cue_end: int
    scope_start: int
    scope_end: int
    edit: str
    rule_id: str
    cue_rule_id: str
    rule_ids: tuple[str, ...]


def in_item(mention: Mention, shift: int) -> Mention:
    """A mention read behind its list's first line, moved to the item's own positions.

    It spans the site; a cue that stands in the first line has no place in the item.
    """
    start, end = mention.site_start - shift, mention.site_end - shift
    mention.start, mention.end = mention.site_start, mention.site_end = start, end
    if mention.cue_start >= shift:
        mention.cue_start -= shift
        mention.cue_end -= shift
        mention.scope_start = min(start, mention.cue_start)
        mention.scope_end = max(end, mention.cue_end)
    else:
        mention.cue_start = mention.cue_end = mention.scope_start = mention.scope_end = -1
    return mention


def placed(mention: Mention, sentence: Sentence, note: NoteText) -> Mention:
    """A copy of a sentence's mention, in the positions of the note as given."""

    def place(start: int, end: int) -> tuple[int, int]:
        if start < 0:
            return -1, -1
        return note.source_span(start + sentence.start, end + sentence.start)

    start, end = place(mention.start, mention.end)
    site_start, site_end = place(mention.site_start, mention.site_end)
    cue_start, cue_end = place(mention.cue_start, mention.cue_end)
    scope_start, scope_end = place(mention.scope_start, mention.scope_end)
    return Mention(
        finding=mention.finding,
        start=start,
        end=end,
        assertion=mention.assertion,
        temporality=mention.temporality,
        experiencer=mention.experiencer,
        is_hypothetical=mention.is_hypothetical,
        acuity=mention.acuity,
        laterality=mention.laterality,
        rib_numbers=mention.rib_numbers,
        displacement=mention.displacement,
        section=sentence.section,
        site_start=site_start,
        site_end=site_end,
        cue_start=cue_start,
        cue_end=cue_end,
        scope_start=scope_start,
        scope_end=scope_end,
        edit=mention.edit,
        rule_id=mention.rule_id,
        cue_rule_id=mention.cue_rule_id,
        rule_ids=(*mention.rule_ids, sentence.rule_id) if sentence.rule_id else mention.rule_ids,
    )
