"""From a note to its mentions, sentence by sentence; no spaCy, so that millions of notes pass."""

from __future__ import annotations

import gc
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import NamedTuple

from nlp_labeling.anchors import Anchor, Target, describe_edit
from nlp_labeling.attributes import AttributeRules, Attributes
from nlp_labeling.context import Context, ContextRules, Cue
from nlp_labeling.definition import Definition, Definitions, load_definitions
from nlp_labeling.exam_titles import ExamTitles
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mention import Mention, in_item, placed
from nlp_labeling.note_text import NoteText, fold_note
from nlp_labeling.rule import RuleSet
from nlp_labeling.rule_examples import check_own_examples
from nlp_labeling.sections import SILENT_SECTIONS, Segmenter, Sentence
from nlp_labeling.surroundings import (
    DEFINITE,
    NO_LEAD,
    NO_TOPIC,
    NOTHING,
    Carried,
    Lead,
    Surroundings,
)
from nlp_labeling.targets import TargetFinder

CACHE_SIZE = 5_000
_NOTES_AT_ONCE = 128
# No rule asks how large, how old or how many hundreds: sentences that differ in that alone are read
# once. A number of three digits is read as one that no rib has.
_MEASURED = re.compile(
    r"\d(?<!\d\d)(?:\d{0,2}(?=(?:\s|-)?(?:mm|cm)\b|-year-old\b)|"
    r"(?<=[1-9])(?<!\S[1-9])\d\d(?=[,;.]?(?:\s|\Z)))"
)


class _Outline(NamedTuple):
    """A note before its sentences are read: those around its hits, and what its title names."""

    note: NoteText
    hits: list[int]
    exam_names: tuple[str, ...]
    is_shared: bool
    sentences: list[Sentence]


class Labeler:
    """Finds mentions of some definitions; holds compiled rules and a bounded cache of sentences."""

    def __init__(self, definitions: Sequence[Definition], rules: RuleSet) -> None:
        self.definitions = tuple(definitions)
        self.rules = rules
        self.keyword_pattern = keyword_pattern(definitions)
        self.context = ContextRules(rules)
        self.segmenter = Segmenter(rules)
        self.finder = TargetFinder(definitions, rules)
        numbered = frozenset(d.name for d in definitions if d.is_numbered)
        self.exam_titles = ExamTitles(self.finder, rules)
        self._attributes = AttributeRules(rules, self.finder, numbered)
        self.surroundings = Surroundings(self.finder, numbered)
        self._weak_doubts = {rule.id for rule in rules.of("uncertain") if rule.is_weak}
        self._explanations = {
            rule.id for rule in rules.of("negated") if "uncertain" in rule.ignores
        }
        self._past = {rule.id for rule in rules.of("historical")}
        self._operations = {rule.id for rule in rules.of("historical") if rule.is_weak}
        remember = lru_cache(maxsize=CACHE_SIZE)
        self._alone: Callable[[str], tuple[Mention, ...] | None] = remember(self._read_alone)
        self._within: Callable[[str, Carried], tuple[Mention, ...]] = remember(self.read_sentence)

    def mentions(self, text: str) -> list[Mention]:
        """All mentions of a note, in order, with positions in the note as given."""
        return self._read(self._outline(text))

    @contextmanager
    def without_memory(self) -> Iterator[None]:
        """Read every sentence anew within the block: what a benchmark compares with."""
        remembered = self._alone, self._within
        self._alone, self._within = (lambda text: None), self.read_sentence
        try:
            yield
        finally:
            self._alone, self._within = remembered

    def mentions_of(self, texts: Sequence[str]) -> list[list[Mention]]:
        """The mentions of many notes.

        Some are cut into sentences before the first is read: either work finds its own rules still
        in the processor's cache.
        """
        found: list[list[Mention]] = []
        with _collector_at_rest():
            for first in range(0, len(texts), _NOTES_AT_ONCE):
                outlines = [self._outline(text) for text in texts[first : first + _NOTES_AT_ONCE]]
                found.extend(self._read(outline) for outline in outlines)
        return found

    def _outline(self, text: str) -> _Outline:
        note = fold_note(text)
        hits = self.finder.hits(note.folded)
        if not hits:
            return _Outline(note, hits, (), False, [])
        exam_names, is_shared = self.exam_titles.findings(note.folded, hits)
        if exam_names and not is_shared:
            hits = sorted([*hits, *self.finder.site_verdicts.verdict_places(note.folded)])
        sentences = self.segmenter.sentences(note.folded, hits)
        return _Outline(note, hits, exam_names, is_shared, sentences)

    def _read(self, outline: _Outline) -> list[Mention]:
        note, hits, exam_names, is_shared, sentences = outline
        found: list[Mention] = []
        carried = NOTHING
        lead, topic = NO_LEAD, NO_TOPIC
        latest = 0
        for sentence in sentences:
            place = bisect_left(hits, sentence.start)
            is_silent = place == len(hits) or hits[place] >= sentence.end
            if is_silent and not latest:
                continue
            text = _MEASURED.sub(_blanked, note.folded[sentence.start : sentence.end])
            if is_silent:
                latest = self._aged(found, latest, text)
                continue
            if lead.text and not lead.reaches(note.folded, sentence):
                lead = NO_LEAD
            topic = self.surroundings.topic(text, sentence, topic)
            is_told = sentence.section not in SILENT_SECTIONS
            carried = Carried(
                carried.names,
                carried.is_doubtful,
                (topic.names or exam_names) if is_told else (),
                topic.is_shared if topic.names else is_shared,
                lead.text,
            )
            alone = None if carried.lead else self._alone(text)
            mentions = self._within(text, carried) if alone is None else alone
            if mentions:
                carried = Carried(
                    names=tuple(sorted({m.finding for m in mentions if not m.is_hypothetical})),
                    is_doubtful=all(m.rule_id.endswith(".sign") for m in mentions),
                )
                found.extend(placed(mention, sentence, note) for mention in mentions)
                latest = len(mentions)
            else:
                latest = self._aged(found, latest, text)
            if mentions and mentions[0].rule_id.endswith(".listed"):
                lead = Lead(lead.text, sentence.end)
            elif self.surroundings.is_lead(text):
                lead = Lead(text, sentence.end)
        return found

    def _aged(self, found: list[Mention], latest: int, text: str) -> int:
        """Date the ``latest`` mentions by a remark right behind their sentence.

        Returns how many mentions a further remark may speak of.
        """
        if not latest:
            return 0
        acuity, rule_id = self._attributes.age_told(text)
        if not rule_id:
            return 0
        for index in range(len(found) - latest, len(found)):
            if found[index].acuity == "unknown" and found[index].assertion != "absent":
                rule_ids = (*found[index].rule_ids, rule_id)
                found[index].acuity, found[index].rule_ids = acuity, rule_ids
        return latest

    def _read_alone(self, sentence: str) -> tuple[Mention, ...] | None:
        """As ``read_sentence`` with nothing carried; None where the note around it decides."""
        anchors = self.finder.anchors(sentence)
        targets = self.finder.find(sentence, anchors)
        return self._assessed(sentence, targets, anchors) if targets else None

    def read_sentence(self, sentence: str, carried: Carried = NOTHING) -> tuple[Mention, ...]:
        """The mentions of one folded sentence, positions relative to it."""
        anchors = self.finder.anchors(sentence)
        if carried.lead and anchors and all(anchor.kind == "site" for anchor in anchors):
            return self._listed(sentence, carried.lead)
        targets = self.finder.find(sentence, anchors)
        if not targets:
            targets = self.surroundings.targets(sentence, carried, anchors)
        return self._assessed(sentence, targets, anchors)

    def _assessed(
        self, sentence: str, targets: Sequence[Target], anchors: list[Anchor]
    ) -> tuple[Mention, ...]:
        if not targets:
            return ()
        cues = self.context.cues(sentence)
        attribute_cues = self._attributes.cues(sentence)
        mentions = []
        for target in targets:
            attributes = self._attributes.read(sentence, target, anchors, attribute_cues)
            mention = self._mention(sentence, target, attributes, cues)
            if mention is not None:
                mentions.append((target, mention))
        return tuple(
            mention
            for target, mention in mentions
            if _is_kept(sentence, target, mention, mentions)
            and not self._is_settled(target, mention, mentions)
        )

    def _temporality(self, context: Context, attributes: Attributes) -> str:
        """A fracture that was operated on is seen, as old, wherever the operation stands."""
        past = set(context.rule_ids) & self._past
        is_told = attributes.acuity in ("old", "healing")
        return "recent" if is_told and past <= self._operations else context.temporality

    def _is_settled(
        self, target: Target, mention: Mention, mentions: Sequence[tuple[Target, Mention]]
    ) -> bool:
        """Whether a suspicion of once is denied in the same sentence."""
        return mention.cue_rule_id in self._weak_doubts and any(
            pair.relation == "borrowed" and other.assertion == "absent"
            for pair, other in mentions
            if pair is not target and other.finding == mention.finding
        )

    def _listed(self, item: str, lead: str) -> tuple[Mention, ...]:
        """The mentions of a list's item: its sites are those of the finding in the line above."""
        joint = f"{lead} {item}"
        shift = len(joint) - len(item)
        anchors = self.finder.anchors(joint)
        finding = [a for a in anchors if a.kind == "finding" and not a.is_weak][-1]
        targets = [
            Target(name, finding, site, "listed")
            for site in anchors
            if site.start >= shift
            for name in sorted(site.names & finding.names)
        ]
        return tuple(in_item(one, shift) for one in self._assessed(joint, targets, anchors))

    def _mention(
        self, sentence: str, target: Target, attributes: Attributes, cues: Sequence[Cue]
    ) -> Mention | None:
        finding, site = target.finding, target.site
        if target.relation == "normal":
            assertion, rule_ids = "absent", [finding.rule_id]
            context = self.context.assess(sentence, site.start, finding.end, cues)
            before = sentence[context.cue_end : site.start]
            if context.assertion == "absent" and not (
                0 <= context.cue_end <= site.start and "," in before
            ):
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
        if target.relation in ("injury", "trauma") and assertion != "absent":
            is_past = target.relation == "trauma" and attributes.acuity == "old"
            if not is_past or assertion == "uncertain":
                return None
        if finding.is_weak:
            if assertion == "absent" and context.cue_rule_id not in self._explanations:
                return None
            if assertion == "present" and attributes.acuity not in ("old", "healing"):
                assertion = "uncertain"
        return Mention(
            finding=target.name,
            start=target.start,
            end=target.end,
            assertion=assertion,
            temporality=self._temporality(context, attributes),
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
            rule_id=f"{target.name}.{'sign' if finding.is_weak else target.relation}",
            cue_rule_id=finding.rule_id if target.relation == "normal" else context.cue_rule_id,
            rule_ids=tuple(dict.fromkeys([*rule_ids, *attributes.rule_ids])),
        )


def labeler(definitions: Definitions | None = None) -> Labeler:
    """The labeler over some definitions (the shipped ones for None), compiled once per process.

    Raises:
        ConfigurationError: an example of a hospital's own rule is not read as it says.
    """
    return _compiled(load_definitions() if definitions is None else definitions)


@cache
def _compiled(definitions: Definitions) -> Labeler:
    labels = Labeler(definitions, definitions.rules)
    check_own_examples(labels)
    return labels


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Reading makes no reference cycles: the collector would only walk the rules, at each turn."""
    is_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_at_work:
            gc.enable()


def _blanked(match: re.Match[str]) -> str:
    return "999" if match.end() - match.start() == 3 else "0" * len(match.group())


def _is_kept(
    sentence: str, target: Target, mention: Mention, mentions: Sequence[tuple[Target, Mention]]
) -> bool:
    """Drop what another mention of the sentence has already settled.

    A sign ("deformity") at a site whose fracture is told or denied; a bare second "fracture" that
    borrows its site and adds a positive, or speaks of "the" fracture, on its own.
    """
    others = [
        (pair, other)
        for pair, other in mentions
        if pair is not target and other.finding == mention.finding
    ]
    if target.finding.is_weak:
        return not any(
            not pair.finding.is_weak
            and pair.relation not in ("normal", "injury", "trauma")
            and (
                pair.site == target.site
                or (other.assertion == "present" and _is_of(mention, other))
            )
            for pair, other in others
        )
    if target.relation != "borrowed" or mention.assertion == "absent":
        return True
    is_definite = DEFINITE.search(sentence[: target.finding.start]) is not None
    if mention.assertion == "uncertain" and not is_definite:
        return True
    return any(
        other.assertion == mention.assertion and pair.relation != "borrowed"
        for pair, other in others
    )


def _is_of(mention: Mention, other: Mention) -> bool:
    """Whether a mention adds neither a side nor a rib to another one."""
    is_side_known = mention.laterality in ("unknown", other.laterality)
    return is_side_known and set(mention.rib_numbers) <= set(other.rib_numbers)
