"""From a note to its mentions, sentence by sentence; no spaCy, so that millions of notes pass."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from nlp_labeling.attributes import AttributeRules
from nlp_labeling.context import ContextRules, Cue
from nlp_labeling.definition import Definition, load_definitions
from nlp_labeling.note_text import NoteText, fold_note
from nlp_labeling.rule import RuleSet, load_rules
from nlp_labeling.sections import Segmenter, Sentence
from nlp_labeling.targets import Anchor, Target, TargetFinder, describe_edit

CACHE_SIZE = 20_000
_DEFINITE = re.compile(
    r"(?:^|\s)(?:the|these|this|those|that|both|all)(?:\s+[a-z-]+){0,2}\s+$|該|此"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One finding at one site as a note tells it.

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


class Labeler:
    """Finds mentions of some definitions; holds compiled rules and a bounded cache of sentences."""

    def __init__(self, definitions: Sequence[Definition], rules: RuleSet) -> None:
        self.definitions = tuple(definitions)
        self.rules = rules
        self.context = ContextRules(rules)
        self.segmenter = Segmenter(rules)
        self.finder = TargetFinder(definitions, rules)
        numbered = frozenset(d.name for d in definitions if d.is_numbered)
        self._attributes = AttributeRules(rules, self.finder, numbered)
        self._cache: OrderedDict[tuple[str, tuple[str, ...]], tuple[Mention, ...]] = OrderedDict()

    def mentions(self, text: str) -> list[Mention]:
        """All mentions of a note, in order, with positions in the note as given."""
        note = fold_note(text)
        hits = self.finder.hits(note.folded)
        if not hits:
            return []
        found: list[Mention] = []
        inherited: tuple[str, ...] = ()
        for sentence in self.segmenter.sentences(note.folded, hits):
            place = bisect_left(hits, sentence.start)
            if place == len(hits) or hits[place] >= sentence.end:
                continue
            mentions = self._of_sentence(note.folded[sentence.start : sentence.end], inherited)
            if mentions:
                inherited = tuple(sorted({m.finding for m in mentions if not m.is_hypothetical}))
                found.extend(_placed(mention, sentence, note) for mention in mentions)
        return found

    def _of_sentence(self, sentence: str, inherited: tuple[str, ...]) -> tuple[Mention, ...]:
        key = (sentence, inherited)
        known = self._cache.get(key)
        if known is None:
            known = self.read_sentence(sentence, inherited)
            self._cache[key] = known
            if len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return known

    def read_sentence(self, sentence: str, inherited: tuple[str, ...] = ()) -> tuple[Mention, ...]:
        """The mentions of one folded sentence, positions relative to it.

        ``inherited`` are findings of the sentence before, for "the fracture is displaced".
        """
        anchors = self.finder.anchors(sentence)
        targets = self.finder.find(sentence, anchors)
        if not targets and inherited:
            targets = self._inherited_targets(sentence, inherited, anchors)
        if not targets:
            return ()
        cues = self.context.cues(sentence)
        mentions = []
        for target in targets:
            mention = self._mention(sentence, target, anchors, cues)
            if mention is not None:
                mentions.append((target, mention))
        return tuple(mention for target, mention in mentions if _is_kept(target, mention, mentions))

    def _inherited_targets(
        self, sentence: str, inherited: tuple[str, ...], anchors: Sequence[Anchor]
    ) -> list[Target]:
        findings = [a for a in anchors if a.kind == "finding" and not a.is_weak]
        if not findings or any(a.kind != "finding" for a in anchors):
            return []
        first = findings[0]
        if not _DEFINITE.search(sentence[: first.start]):
            return []
        return [Target(name, first, first, "inherited") for name in inherited]

    def _mention(
        self, sentence: str, target: Target, anchors: list[Anchor], cues: Sequence[Cue]
    ) -> Mention | None:
        finding, site = target.finding, target.site
        attributes = self._attributes.read(sentence, target, anchors)
        if target.relation == "normal":
            assertion, rule_ids = "absent", [finding.rule_id]
            context = self.context.assess(sentence, site.start, finding.end, cues)
            if context.assertion == "absent":
                return None
            rule_ids.extend(r for r in context.rule_ids if not r.startswith(("neg", "unc")))
        else:
            context = self.context.assess(
                sentence,
                finding.start,
                finding.end,
                cues,
                mark_end=max(site.end, finding.end),
            )
            assertion, rule_ids = context.assertion, list(context.rule_ids)
        if finding.is_weak:
            if assertion == "absent":
                return None
            assertion = "uncertain"
        return Mention(
            finding=target.name,
            start=target.start,
            end=target.end,
            assertion=assertion,
            temporality=context.temporality,
            experiencer=context.experiencer,
            is_hypothetical=context.is_hypothetical,
            acuity=attributes.acuity,
            laterality=attributes.laterality,
            rib_numbers=attributes.rib_numbers,
            displacement=attributes.displacement,
            section="",
            site_start=site.start,
            site_end=site.end,
            cue_start=finding.start if target.relation == "normal" else context.cue_start,
            cue_end=finding.end if target.relation == "normal" else context.cue_end,
            scope_start=context.scope_start,
            scope_end=context.scope_end,
            edit=";".join(
                describe_edit(anchor.edit, anchor.term)
                for anchor in dict.fromkeys((finding, site))
                if anchor.edit
            ),
            rule_id=f"{target.name}.{target.relation}",
            cue_rule_id=finding.rule_id if target.relation == "normal" else context.cue_rule_id,
            rule_ids=tuple(dict.fromkeys([*rule_ids, *attributes.rule_ids])),
        )


@cache
def labeler(findings: tuple[str, ...] | None = None) -> Labeler:
    """The labeler over the shipped definitions and rules, compiled once per process."""
    return Labeler(load_definitions(findings), load_rules())


def _is_kept(target: Target, mention: Mention, mentions: Sequence[tuple[Target, Mention]]) -> bool:
    """A bare second "fracture" borrows a site only if it adds no positive of its own."""
    if target.relation != "borrowed" or mention.assertion != "present":
        return True
    return any(
        other.finding == mention.finding and other.assertion == "present"
        for pair, other in mentions
        if pair is not target and pair.relation != "borrowed"
    )


def _placed(mention: Mention, sentence: Sentence, note: NoteText) -> Mention:
    def place(start: int, end: int) -> tuple[int, int]:
        if start < 0:
            return -1, -1
        return note.source_span(start + sentence.start, end + sentence.start)

    start, end = place(mention.start, mention.end)
    site_start, site_end = place(mention.site_start, mention.site_end)
    cue_start, cue_end = place(mention.cue_start, mention.cue_end)
    scope_start, scope_end = place(mention.scope_start, mention.scope_end)
    rule_ids = (*mention.rule_ids, sentence.rule_id) if sentence.rule_id else mention.rule_ids
    return replace(
        mention,
        start=start,
        end=end,
        site_start=site_start,
        site_end=site_end,
        cue_start=cue_start,
        cue_end=cue_end,
        scope_start=scope_start,
        scope_end=scope_end,
        section=sentence.section,
        rule_ids=rule_ids,
    )
