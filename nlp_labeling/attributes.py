"""Attributes of a mention: side, rib numbers, acuity, displacement; none is an assertion."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from nlp_labeling.anchors import Anchor, Target
from nlp_labeling.phrases import Phrases
from nlp_labeling.rule import ACUITY_CATEGORIES, Rule, RuleSet, phrase_key, phrase_pattern
from nlp_labeling.targets import TargetFinder

_ORDINALS = {
    word: number
    for number, word in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        start=1,
    )
}
_CHINESE = {word: number for number, word in enumerate("一二三四五六七八九十", start=1)}
_ONE = (
    rf"(?:\d{{1,2}}(?:st|nd|rd|th)?(?!\d|[./]\d|\s*(?:mm|cm|years?|yrs?|months?|days?|%|%))|"
    rf"{'|'.join(_ORDINALS)}|(?<=第)[一二三四五六七八九十]{{1,2}}|(?<=[至到、和及與-])[一二三四五六七八九十]{{1,2}}(?=[根支]?肋|[、至到]))"
)
_NUMBERS = re.compile(
    rf"(?=[#\s\dfsetn一-鿿])(?<![a-z0-9.])(#?\s?(?=[\dfsetn一-鿿])(?:{_ONE}))(?:\s*(?:-|~|to|through|thru|至|到)\s*(?:the\s+)?(第?{_ONE}))?"
)
_NUMBERED_BEHIND = re.compile(r"[\s,:(#]*(?:numbers?\s|nos?\.?\s)?(?:(?:\d|and|&|th|-|,)|\s)*")
_LIST_NUMBER = re.compile(r"\d{1,2}[.)](?!\d)")
_QUANTITY = re.compile(r"\s*(?:left|right|rib fractures|old|acute|displaced)?\s*(?:rib|ribs)?\s*$")
_JOINT = re.compile(r"(?<![a-z])(?:and|or|plus|&)(?![a-z])")
_CUT = re.compile(r"[.;:,]|(?<![a-z])(?:no|not|without|and|rib|ribs)(?![a-z])")
_LINKED = re.compile(r",\s*(?=(?:with|now|again|showing|shows|and|可見|併|伴|有|見))(?:and\b)?")
_REFERENCE = re.compile(
    r"\s*(?:it|they|both|all(?: of (?:these|them|which))?|the latter|appearances?|"
    r"(?:this|these|the)(?: (?:findings?|injur(?:y|ies)|deformit(?:y|ies)|lines?|appearances?))?)"
    r"(?![a-z0-9])"
)
# "New since yesterday are fractures", "old is the fracture".
_INVERTED = re.compile(r"[^.;:]{0,60}?(?<![a-z])(?:is|are|was|were)(?![a-z])")
_DENIED = re.compile(
    r"(?:(?<![a-z])(?:no|not|without|lack of|absent|nor|never)(?:\s+(?:yet|significant|interval|"
    r"any|evidence of|definite|obvious|appreciable|further|much|signs? of|visible|"
    r"substantial|bridging|bony|been|fully))*|無|未見?)\s*$"
)
_DENIAL = re.compile(r"(?<![a-z])(?:no|not|without|lack)(?![a-z])|無|未")
_LONGEST_REMARK = 120
_SIDE_REACH = 60
_DISPLACEMENT_REACH = 45
AttributeCue = tuple[int, int, Rule]


class Attributes(NamedTuple):
    """What a mention says beyond its assertion; rule ids are those of acuity and displacement."""

    laterality: str
    rib_numbers: tuple[int, ...]
    acuity: str
    displacement: str
    rule_ids: tuple[str, ...]


class AttributeRules:
    """Reads attributes around targets."""

    def __init__(self, rules: RuleSet, finder: TargetFinder, numbered: frozenset[str]) -> None:
        self._finder = finder
        self._numbered = numbered
        self._by_phrase: dict[str, Rule] = {
            phrase: rule
            for rule in rules.of(*ACUITY_CATEGORIES, "displaced", "nondisplaced")
            for phrase in rule.phrases
        }
        self._cues = Phrases(self._by_phrase)
        filler = phrase_pattern(rules.words["filler"])
        link = rf"\s|[-,(]|{phrase_pattern(rules.words['age_link'])}"
        self._linked = re.compile(rf"(?:{link})*+")
        self._loosely_linked = re.compile(rf"(?:{filler}|{link})*+")
        # A word behind a cue that is none of these is what the cue speaks of: "old granuloma".
        follower = "|".join(re.escape(word) for word in rules.words["age_follower"])
        self._other_noun = re.compile(rf"\s+(?!(?:{follower}|x+)(?![a-z]))[a-z]")
        self._sides = re.compile(
            "|".join(
                rf"(?P<{side}>(?:{phrase_pattern(rules.words[side])})(?!/))"
                for side in ("bilateral", "left", "right")
            )
        )

    def cues(self, sentence: str) -> list[AttributeCue]:
        """Start, end and rule of the words for acuity and displacement in a folded sentence."""
        return [
            (match.start(), match.end(), self._by_phrase[phrase_key(match.group())])
            for match in self._cues.finditer(sentence)
        ]

    def read(
        self, sentence: str, target: Target, anchors: list[Anchor], cues: Sequence[AttributeCue]
    ) -> Attributes:
        """The attributes of one target of a folded sentence; ``cues`` are those of the sentence."""
        acuity, acuity_rule = self._acuity(sentence, target, anchors, cues)
        displacement, displacement_rule = self._displacement(sentence, target, anchors, cues)
        return Attributes(
            laterality=self._laterality(sentence, target, anchors),
            rib_numbers=self._rib_numbers(sentence, target, anchors),
            acuity=acuity,
            displacement=displacement,
            rule_ids=tuple(rule for rule in (acuity_rule, displacement_rule) if rule),
        )

    def age_told(self, sentence: str) -> tuple[str, str]:
        """Acuity and rule of a remark on the sentence before: "This appears old."

        Both are empty where the folded sentence is no such remark.
        """
        if len(sentence) > _LONGEST_REMARK:
            return "", ""
        reference = _REFERENCE.match(sentence)
        for match in self._cues.finditer(sentence):
            rule = self._by_phrase[phrase_key(match.group())]
            if rule.category not in ACUITY_CATEGORIES:
                continue
            is_told = reference and self._linked.fullmatch(sentence, reference.end(), match.start())
            is_sign = rule.is_weak and not _DENIAL.search(sentence)
            if is_told or is_sign:
                if any(anchor.kind == "site" for anchor in self._finder.anchors(sentence)):
                    return "", ""
                return ("unknown" if rule.category == "age_unknown" else rule.category), rule.id
        return "", ""

    def _acuity(
        self,
        sentence: str,
        target: Target,
        anchors: list[Anchor],
        cues: Sequence[AttributeCue],
    ) -> tuple[str, str]:
        found: list[tuple[bool, bool, int, int, str, str]] = []
        for start, end, rule in cues:
            if rule.category not in ACUITY_CATEGORIES or _DENIED.search(
                sentence[max(0, start - _SIDE_REACH) : start]
            ):
                continue
            if end <= target.start:
                applies = self._reaches(sentence, start, end, target.start, anchors)
                distance = target.start - end
            elif start < target.end:
                applies, distance = True, 0
            else:
                applies = self._follows(sentence, target, anchors, start, end)
                distance = start - target.end
            if rule.is_weak and not applies:
                applies = distance <= _SIDE_REACH and not self._is_cut(sentence, target, start, end)
            if applies:
                order = ACUITY_CATEGORIES.index(rule.category)
                is_told_only = "historical" in rule.ignores
                found.append((rule.is_weak, is_told_only, distance, order, rule.category, rule.id))
        if not found:
            return "unknown", ""
        undated = [one for one in found if one[4] == "age_unknown"]
        category, rule_id = min(undated or found)[4:]
        return ("unknown" if undated else category), rule_id

    def _reaches(
        self, sentence: str, start: int, low: int, high: int, anchors: list[Anchor]
    ) -> bool:
        """Whether a word before a target speaks of it: "old left clavicle and rib fractures"."""
        between = [anchor for anchor in anchors if low <= anchor.start and anchor.end <= high]
        if any(anchor.kind == "finding" for anchor in between):
            return self._finder.lists.is_loose_filler(sentence[low:high])
        gap = sentence[low:high]
        opening = _INVERTED.match(sentence, low, high) if not sentence[:start].strip() else None
        if opening:
            return self._finder.lists.is_loose_filler(sentence[opening.end() : high])
        for anchor in reversed(between):
            gap = gap[: anchor.start - low] + " and " + gap[anchor.end - low :]
        return self._finder.lists.is_loose_filler(gap)

    def _is_cut(self, sentence: str, target: Target, start: int, end: int) -> bool:
        low, high = (end, target.start) if end <= target.start else (target.end, start)
        return _CUT.search(_LINKED.sub(" ", sentence[low:high])) is not None

    def _follows(
        self, sentence: str, target: Target, anchors: list[Anchor], start: int, end: int
    ) -> bool:
        gap = sentence[target.end : start]
        if len(gap) > _SIDE_REACH or self._other_noun.match(sentence, end):
            return False
        if self._linked.fullmatch(gap) is None and (
            _JOINT.search(gap) or self._loosely_linked.fullmatch(gap) is None
        ):
            return False
        later = [a for a in anchors if a.start >= end and a.kind in ("finding", "site")]
        return not (later and self._finder.lists.is_filler(sentence[end : later[0].start]))

    def _displacement(
        self,
        sentence: str,
        target: Target,
        anchors: list[Anchor],
        cues: Sequence[AttributeCue],
    ) -> tuple[str, str]:
        low = max(
            (a.end for a in anchors if a.kind == "finding" and a.end <= target.start), default=0
        )
        high = min(
            (a.start for a in anchors if a.kind == "finding" and a.start >= target.end),
            default=len(sentence),
        )
        for start, end, rule in cues:
            if rule.category not in ("displaced", "nondisplaced") or start < low or end > high:
                continue
            is_near = start >= target.start - _DISPLACEMENT_REACH
            if is_near and end <= target.end + _DISPLACEMENT_REACH:
                return rule.category, rule.id
        return "unknown", ""

    def _laterality(self, sentence: str, target: Target, anchors: list[Anchor]) -> str:
        site = target.site
        before = [a.end for a in anchors if a.kind == "site" and a.end <= site.start]
        low = max([*before[-1:], site.start - _SIDE_REACH, 0])
        sides = self._sides_in(sentence, low, site.start)
        if not sides:
            after = [a.start for a in anchors if a.kind == "site" and a.start >= site.end]
            high = min([*after[:1], target.end + 25, len(sentence)])
            sides = self._sides_in(sentence, site.end, high)
        if not sides and before:
            sides = self._sides_in(sentence, max(0, low - _SIDE_REACH), low)
        if not sides:
            return "unknown"
        return "bilateral" if "bilateral" in sides or len(sides) > 1 else sides.pop()

    def _sides_in(self, sentence: str, low: int, high: int) -> set[str]:
        found = self._sides.finditer(sentence, low, max(low, high))
        return {match.lastgroup for match in found if match.lastgroup}

    def _rib_numbers(self, sentence: str, target: Target, anchors: list[Anchor]) -> tuple[int, ...]:
        if target.name not in self._numbered:
            return ()
        site = target.site
        low = max(0, site.start - _SIDE_REACH)
        numbers: set[int] = set()
        for match in _NUMBERS.finditer(sentence, low, min(len(sentence), site.end + 70)):
            if _LIST_NUMBER.match(sentence, match.start()) and _opens_line(sentence, match.start()):
                continue
            if match.end() <= site.start:
                near = self._finder.lists.is_loose_filler(sentence[match.end() : site.start])
            else:
                gap = sentence[site.end : match.start()] if match.start() >= site.end else "x x"
                near = _NUMBERED_BEHIND.fullmatch(gap) is not None
            if near:
                numbers.update(_range(match.group(1), match.group(2)))
        return tuple(sorted(number for number in numbers if 1 <= number <= 12))


def _opens_line(sentence: str, place: int) -> bool:
    """Whether nothing but space stands before a place in its line."""
    return not sentence[:place].rpartition("\n")[2].strip()


def _range(first: str, last: str | None) -> range:
    low = _number(first)
    high = _number(last) if last else low
    return range(min(low, high), max(low, high) + 1) if abs(high - low) < 12 else range(0)


def _number(word: str) -> int:
    word = word.strip().lstrip("#第").strip()
    if word in _ORDINALS:
        return _ORDINALS[word]
    if word and word[0] in _CHINESE:
        return sum(_CHINESE[character] for character in word)
    return int(re.sub(r"\D", "", word) or 0)
