"""Sections and sentences of a folded note.

A single line break is no full stop unless the layout says so: wrapping a text never changes what it
says, yet notes written one statement a line, without full stops, are cut at their lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from nlp_labeling.rule import RuleSet, phrase_key, phrase_pattern

# Sections that tell why, before or about whom, but not what is there.
SILENT_SECTIONS = frozenset(["indication", "history", "comparison", "technique", "family"])
NO_SECTION = "none"
_CLOSED_BY_BLANK_LINE = frozenset(["indication", "comparison", "technique"])
_BULLET = re.compile(r"\s*(?:[-*>]+\s|[*>]|\(?\d{1,2}[.)、](?!\d)|\([a-z]\)|[a-z]\)\s)\s*")
_STOP = re.compile(
    r"[.!?。!?;]+[\"')\]]*(?=\s|$|[\u3400-\u9fff])|[。;]|(?<=[a-z]{3})\.(?=[a-z]{2})"
)
_LAST_WORD = re.compile(r"([a-z0-9/.'-]+)[\s]*$")
_FIRST_WORD = re.compile(r"\s*([a-z0-9/'-]+|[\u3000-\u9fff])")
_NARROWEST_WRAP = 50
_NARROWEST_WRAP_CJK = 18
_LONGEST_SENTENCE = 1200


@dataclass(frozen=True, slots=True)
class Heading:
    """A section heading; the body starts at ``end``, or at ``start`` where it names a body part."""

    start: int
    end: int
    section: str
    rule_id: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a folded note and the section it stands in."""

    start: int
    end: int
    section: str
    rule_id: str


class Segmenter:
    """Cuts folded notes with the headings of a rule set."""

    def __init__(self, rules: RuleSet) -> None:
        self._by_phrase = {phrase: rule for rule in rules.of("section") for phrase in rule.phrases}
        phrases = phrase_pattern(self._by_phrase)
        lead = r"[ \t*#=_>]*(?:\(?\d{1,2}[.)]\s*)?"
        self._heading = re.compile(
            rf"(?:\A|(?<=\n)|(?<=[.;。!?]\s)|(?<=[.;。!?]\s\s)){lead}({phrases})"
            rf"[ \t*=_]*(?:\([^)\n]{{0,30}}\)[ \t]*)?(?::+[*_]*|(?=\n)|\Z)"
        )
        self._continues_after = frozenset(rules.words["continues_after"])
        self._continues_before = frozenset(rules.words["continues_before"])
        self._abbreviations = frozenset(rules.words["abbreviations"])

    def sentences(self, text: str) -> list[Sentence]:
        """All sentences of a folded note, in order."""
        headings = self._headings(text)
        starts = [heading.start for heading in headings]
        closings = self._closings(text, headings)
        sentences: list[Sentence] = []
        for start, end in self._blocks(text):
            cuts = [start, *(s for s in starts if start < s < end), end]
            for low, high in zip(cuts, cuts[1:], strict=False):
                self._split(text, low, high, headings, starts, closings, sentences)
        return sentences

    def _split(
        self,
        text: str,
        low: int,
        high: int,
        headings: Sequence[Heading],
        starts: Sequence[int],
        closings: Sequence[int],
        sentences: list[Sentence],
    ) -> None:
        place = bisect_right(starts, low) - 1
        section, rule_id = NO_SECTION, ""
        if place >= 0 and not (closings[place] and closings[place] <= low):
            heading = headings[place]
            section, rule_id = heading.section, heading.rule_id
            if heading.start == low and section != "region":
                low = max(low, min(heading.end, high))
        section = "findings" if section == "region" else section
        for start, end in self._punctuated(text, low, high):
            if text[start:end].strip():
                sentences.append(Sentence(start, end, section, rule_id))

    def _headings(self, text: str) -> list[Heading]:
        headings: list[Heading] = []
        for match in self._heading.finditer(text):
            rule = self._by_phrase[phrase_key(match.group(1))]
            is_alone = not match.group().rstrip("*_").endswith(":")
            start = match.start()
            if is_alone and not (start == 0 or text[start - 1] == "\n"):
                continue
            if rule.section == "region":
                within = headings[-1].section if headings else NO_SECTION
                if is_alone or within in ("history", "family", "plan", "impression", "addendum"):
                    continue
            headings.append(Heading(start, match.end(), rule.section, rule.id))
        return headings

    def _closings(self, text: str, headings: Sequence[Heading]) -> list[int]:
        """Where an indication ends though no heading follows: at the blank line behind it."""
        closings = []
        for index, heading in enumerate(headings):
            is_last = index + 1 == len(headings)
            closing = 0
            if heading.section in _CLOSED_BY_BLANK_LINE:
                limit = len(text) if is_last else headings[index + 1].start
                body = re.compile(r"\s*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*\n[ \t]*\n\s*").match(
                    text, heading.end, limit
                )
                later = {other.section for other in headings[index + 1 :]}
                if body and body.end() < limit and not later & {"findings", "impression", "region"}:
                    closing = body.end()
            closings.append(closing)
        return closings

    def _blocks(self, text: str) -> list[tuple[int, int]]:
        """Runs of lines that belong together as running text."""
        if "\n" not in text:
            return [(0, len(text))]
        lines: list[tuple[int, int]] = []
        place = 0
        for line in text.split("\n"):
            lines.append((place, place + len(line)))
            place += len(line) + 1
        widths = self._paragraph_widths(text, lines)
        blocks: list[tuple[int, int]] = []
        begin = 0
        for index, (start, end) in enumerate(lines[:-1]):
            following = text[lines[index + 1][0] : lines[index + 1][1]]
            if self._is_break(text[start:end], following, widths[index]):
                blocks.append((begin, end))
                begin = lines[index + 1][0]
        blocks.append((begin, len(text)))
        return blocks

    def _paragraph_widths(self, text: str, lines: Sequence[tuple[int, int]]) -> list[int]:
        widths = [0] * len(lines)
        begin = 0
        for index in range(len(lines) + 1):
            if index == len(lines) or not text[slice(*lines[index])].strip():
                widest = max(
                    (len(text[slice(*one)].rstrip()) for one in lines[begin:index]), default=0
                )
                widths[begin:index] = [widest] * (index - begin)
                begin = index + 1
        return widths

    def _is_break(self, line: str, following: str, width: int) -> bool:
        line = line.rstrip()
        if not line or not following.strip():
            return not line.endswith(":")
        if _BULLET.match(following) or self._heading.match(following):
            return True
        if line[-1] in ",:(/-、&+":
            return False
        last, first = _LAST_WORD.search(line), _FIRST_WORD.match(following)
        if last and last.group(1) in self._continues_after:
            return False
        word = first.group(1) if first else ""
        if word in self._continues_before:
            return False
        is_cjk = bool(word) and not word.isascii()
        space = 0 if is_cjk else 1
        if len(line) + space + len(word or following.split(maxsplit=1)[0]) <= width:
            return True
        return width < (_NARROWEST_WRAP_CJK if is_cjk else _NARROWEST_WRAP)

    def _punctuated(self, text: str, low: int, high: int) -> list[tuple[int, int]]:
        spans = []
        begin = low
        for match in _STOP.finditer(text, low, high):
            if self._is_abbreviation(text, begin, match):
                continue
            spans.extend(_bounded(text, begin, match.end()))
            begin = match.end()
        spans.extend(_bounded(text, begin, high))
        return spans

    def _is_abbreviation(self, text: str, begin: int, match: re.Match[str]) -> bool:
        mark = match.group()[0]
        if mark == "?":
            before = text[match.start() - 1 : match.start()]
            return match.start() <= begin or before.isspace() or before in "(:,"
        if mark != ".":
            return False
        last = _LAST_WORD.search(text, max(begin, match.start() - 16), match.start())
        if last is None:
            return False
        word = last.group(1)
        if word.isdigit():
            return last.start() <= begin + 1 or text[begin : last.start()].strip() == ""
        if word == "no":
            return text[match.end() : match.end() + 4].strip()[:1].isdigit()
        return word in self._abbreviations


def _bounded(text: str, low: int, high: int) -> list[tuple[int, int]]:
    """The span, cut into pieces of bounded length so that no text makes the rules slow."""
    spans = []
    while high - low > _LONGEST_SENTENCE:
        cut = text.rfind(" ", low + _LONGEST_SENTENCE // 2, low + _LONGEST_SENTENCE)
        cut = cut if cut > low else low + _LONGEST_SENTENCE
        spans.append((low, cut))
        low = cut
    if high > low:
        spans.append((low, high))
    return spans
