"""What denies a fracture without naming one, or tells of an old one: "ribs are intact"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nlp_labeling.anchors import Anchor, Target
from nlp_labeling.definition import Definition
from nlp_labeling.phrases import Phrases
from nlp_labeling.rule import RuleSet, expand_phrases, phrase_key, phrase_pattern
from nlp_labeling.site_lists import LONGEST_GAP, SiteLists

_VERB = re.compile(r"(?:is|are|appears?|remains?|looks?|seems?)\b")
_CALLED = re.compile(
    r"\s*(?:(?:is|are|appears?|remains?|looks?|seems?)\s+)?(?:(?!not\b|no\b)[a-z-]+,?\s+){0,3}"
    r"(?:and|but)\s+(?:otherwise\s+|grossly\s+)?"
)
_MODIFIED = re.compile(
    r"\s*(?:abutting|adjacent|overlying|underlying|deep|beneath|near|around|surrounding|in|of|on|at|"
    r"along|under|within|seen|included|imaged|that|which|covered)\b[^,;:.]{0,60}"
)
_BARE_WORD = re.compile(
    r"(?<![a-z])(?:normal|negative|unremarkable|nad)(?=\s*(?:[.;,]|$))", re.MULTILINE
)
_BARE_NORMAL = re.compile(r"\A\W*(?:normal|negative|unremarkable|nad)\W*\Z")
_OPENING = re.compile(
    r"(?:^|[:,;(>*-]|\b(?:is|are|shows?|with|demonstrates?))\s*(?:an?\s+|the\s+)?$"
)
_OF = re.compile(
    r"\s*(?:seen\s+|noted\s+|identified\s+)?(?:of|in|involving|to|at|within|about|affecting)\b"
)


class SiteVerdicts:
    """Finds sites called normal, sites free of any injury, and old injuries of a site."""

    def __init__(self, definitions: Sequence[Definition], rules: RuleSet, lists: SiteLists) -> None:
        self._lists = lists
        self._normal = {
            definition.name for definition in definitions if definition.is_normal_site_negative
        }
        neighbours = phrase_pattern(expand_phrases(rules.words["neighbour"]))
        self._beside = re.compile(rf"(?:{lists.joints}|{lists.step}|{neighbours})*+")
        self._neighbour = re.compile(neighbours)
        predicate = phrase_pattern(rules.words["predicate"])
        self._stated = re.compile(rf"(?:{lists.step}|{predicate}|{lists.joints})*+")
        past = expand_phrases(rules.words["past_injury"])
        self._past_injury = re.compile(phrase_pattern(past))
        self._injury = Phrases([*past, *expand_phrases(rules.words["injury"])])
        self._normal_exam = re.compile(phrase_pattern(expand_phrases(rules.words["normal_exam"])))
        normal = rules.of("normal_site")
        self._normal_rule = {phrase_key(p): rule.id for rule in normal for p in rule.phrases}
        normal_phrases = phrase_pattern(p for rule in normal for p in rule.phrases)
        self._normal_phrase = re.compile(rf"(?:{normal_phrases})(?!\s+(?:[a-z]+\s+)?varia)")

    def verdict_places(self, note: str) -> list[int]:
        """Where a note denies any injury or calls the examination normal."""
        patterns = (self._injury, self._normal_exam, _BARE_WORD)
        return [match.start() for one in patterns for match in one.finditer(note)]

    def verdicts(self, sentence: str, names: Sequence[str]) -> list[Target]:
        """ "No bony injury", "normal study": what a report on one bone says of its fracture."""
        targets: list[Target] = []
        patterns = (
            (self._injury, "injury"),
            (self._normal_exam, "normal"),
            (_BARE_NORMAL, "normal"),
        )
        for pattern, relation in patterns:
            for match in pattern.finditer(sentence):
                place = Anchor(
                    match.start(), match.end(), "finding", frozenset(names), match.group()
                )
                targets.extend(Target(name, place, place, relation) for name in names)
        return targets

    def normal_targets(
        self, sentence: str, sites: Sequence[Anchor], anchors: Sequence[Anchor]
    ) -> list[Target]:
        """ "The ribs and clavicles are intact" denies a fracture without naming one."""
        targets: list[Target] = []
        for match in self._normal_phrase.finditer(sentence):
            called = self._called(sentence, match, sites, anchors)
            rule_id = self._normal_rule[phrase_key(match.group())]
            denial = Anchor(
                match.start(), match.end(), "normal", frozenset(), match.group(), rule_id=rule_id
            )
            targets.extend(self._denied(denial, called, "normal"))
        return targets

    def _called(
        self,
        sentence: str,
        match: re.Match[str],
        sites: Sequence[Anchor],
        anchors: Sequence[Anchor],
    ) -> list[Anchor]:
        """The sites that a "normal" before or behind them speaks of."""
        before = [site for site in sites if site.end <= match.start()]
        if before and not any(before[-1].end <= a.start < match.start() for a in anchors):
            if self._is_called(sentence, before[-1], match, anchors):
                return self._lists.expand_left(sentence, before, ())
            return []
        after = [site for site in sites if site.start >= match.end()]
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        if not after or _OPENING.search(sentence[: match.start()]) is None:
            return []
        gap = sentence[match.end() : after[0].start]
        if len(gap) > LONGEST_GAP or self._beside.fullmatch(gap) is None:
            return []
        if self._lists.is_claimed(sentence, after[0], findings) or ":" in gap:
            return []
        return self._lists.expand_right(sentence, after, findings)

    def injury_targets(
        self, sentence: str, sites: Sequence[Anchor], anchors: Sequence[Anchor]
    ) -> list[Target]:
        """ "No abnormality of the ribs" denies a fracture, "old rib trauma" tells of one."""
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        targets: list[Target] = []
        for match in self._injury.finditer(sentence):
            injury = Anchor(match.start(), match.end(), "finding", frozenset(), match.group())
            left = [site for site in sites if site.end <= match.start()]
            right = [site for site in sites if site.start >= match.end()]
            if any(left and left[-1].end <= one.start < match.start() for one in findings):
                left = []
            if left and self._stated.fullmatch(sentence, left[-1].end, match.start()):
                chosen = self._lists.expand_left(sentence, left, findings)
            elif right and _OF.match(sentence, match.end()):
                gap = sentence[match.end() : right[0].start]
                is_near = self._lists.is_loose_filler(gap) or self._beside.fullmatch(gap)
                chosen = self._lists.expand_right(sentence, right, findings) if is_near else []
            else:
                continue
            is_trauma = self._past_injury.fullmatch(match.group()) is not None
            targets.extend(self._denied(injury, chosen, "trauma" if is_trauma else "injury"))
        return targets

    def _denied(self, denial: Anchor, sites: Sequence[Anchor], relation: str) -> list[Target]:
        return [
            Target(name, denial, site, relation)
            for site in sites
            for name in sorted(site.names & self._normal)
            if not site.is_weak
        ]

    def _is_called(
        self, sentence: str, site: Anchor, match: re.Match[str], anchors: Sequence[Anchor]
    ) -> bool:
        """Whether a "normal" behind a site speaks of it, or of its neighbours and of it."""
        gap = sentence[site.end : match.start()]
        if self._lists.is_filler(gap) or _CALLED.fullmatch(gap):
            return True
        if _VERB.match(match.group()) and (gap.strip() == "," or _MODIFIED.fullmatch(gap)):
            return True
        findings = [anchor for anchor in anchors if anchor.kind == "finding"]
        return (
            len(gap) <= LONGEST_GAP
            and self._lists.is_joined(gap)
            and self._neighbour.search(gap) is not None
            and self._beside.fullmatch(gap) is not None
            and not self._lists.is_taken(sentence, site, findings)
        )
