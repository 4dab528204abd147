"""Sections and sentences of a folded note.

A single line break is no full stop unless the layout says so: wrapping a text never changes what it
says, yet notes written one statement a line, without full stops, are cut at their lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from nlp_labeling.rule import RuleSet, phrase_key, phrase_pattern

# Sections that tell why, before or about whom, but not what is there.
SILENT_SECTIONS = frozenset(["indication", "history", "comparison", "technique", "family"])
NO_SECTION = "none"
_ONE_SENTENCE = frozenset(["comparison", "technique"])
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
_CLOSED_BY_TITLE = frozenset(["indication", "history"])
_BULLET = re.compile(r"\s*(?:[-*>]+\s|[*>]|\(?\d{1,2}[.)、](?!\d)|\([a-z]\)|[a-z]\)\s)\s*")
_LABEL = re.compile(r"\s*[a-z][a-z/&-]*(?: [a-z/&-]+){0,3}[ \t]?:(?=\s)")
# Both begin with a class of characters, at which the engine finds them quickest.
_STOP = re.compile(
    r"[.!?。!?;\d](?:(?<!\d)[.!?。!?;]*[\"')\]]*(?=\s|$|[\u3400-\u9fff])|(?<=[。;])|"
    r"(?<=[a-z]{3}\.)(?=[a-z]{2})|(?<=\s\d)\d?\)\s+(?=[a-z#]))"
)
_LINE_OR_STOP = re.compile(r"[\n.;。!?](?:(?<=\n)|\s{1,2})")
_WITHIN_LINE = re.compile(
    r"(?<=\s)(?:findings?|impression|indications?|comparisons?|technique|conclusions?|addendum|"
    r"clinical\s+(?:history|indication|information|details))[ \t]*\Z"
)
_LONGEST_HEADING = 40
_LAST_WORD = re.compile(r"([a-z0-9/.'-]+)[\s]*$")
_FIRST_WORD = re.compile(r"\s*([a-z0-9/'-]+|[\u3000-\u9fff])")
_LONGEST_WORD = 60
_NARROWEST_WRAP = 50
_NARROWEST_WRAP_CJK = 18
_LONGEST_SENTENCE = 1200


@dataclass(frozen=True, slots=True)
class Heading:
    """A section heading; the body starts at ``end``, or at ``start`` where it names a body part.

    A weak one heads a statement that may end before the next heading: see ``_closings``.
    """

    start: int
    end: int
    section: str
    rule_id: str
    is_weak: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a folded note and the section it stands in.

    ``line_start`` is where its line begins, a wrapped paragraph being one line.
    """

    start: int
    end: int
    section: str
    rule_id: str
    line_start: int = 0


class Segmenter:
    """Cuts folded notes with the headings of a rule set."""

    def __init__(self, rules: RuleSet) -> None:
        self._by_phrase = {phrase: rule for rule in rules.of("section") for phrase in rule.phrases}
        lead = r"[ \t*#=_>]*(?:\(?\d{1,2}[.)]\s*)?"
        self._heading = re.compile(
            rf"{lead}({phrase_pattern(self._by_phrase)})"
            rf"[ \t*=_]*(?:\([^)\n]{{0,30}}\)[ \t]*)?(?::+[*_]*|(?=\n)|\Z)"
        )
        title = phrase_pattern([*rules.words["title"], *rules.words["view"], *rules.words["side"]])
        view = phrase_pattern(rules.words["view"])
        self._title = re.compile(
            rf"[ \t]*(?=[^\n.:]*{view})(?:{title}|[ \t,/&()-]|\d{{1,2}})+(?:[.:](?=\s)|(?=\n))"
        )
        self._continues_after = frozenset(rules.words["continues_after"])
        self._continues_before = frozenset(rules.words["continues_before"])
        self._abbreviations = frozenset(rules.words["abbreviations"])

    def sentences(self, text: str, hits: Sequence[int] | None = None) -> list[Sentence]:
        """The sentences of a folded note in order; with ``hits`` only those around these places."""
        headings = self._headings(text)
        starts = [heading.start for heading in headings]
        closings = self._closings(text, headings)
        sentences: list[Sentence] = []
        for start, end in self._blocks(text, hits):
            cuts = [start, *sorted(s for s in {*starts, *closings} if start < s < end), end]
            for low, high in pairwise(cuts):
                sentences.extend(self._split(text, (low, high), headings, starts, closings))
        return sentences

    def _split(
        self,
        text: str,
        block: tuple[int, int],
        headings: Sequence[Heading],
        starts: Sequence[int],
        closings: Sequence[int],
    ) -> Iterator[Sentence]:
        low, high = block
        line_start = low
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
                yield Sentence(start, end, section, rule_id, line_start)

    def _headings(self, text: str) -> list[Heading]:
        headings: list[Heading] = []
        for place in _heading_places(text):
            match = self._heading.match(text, place)
            if match is None:
                opened = self._title_heading(text, place, headings)
                headings.extend([opened] if opened else [])
                continue
            rule = self._by_phrase[phrase_key(match.group(1))]
            is_alone = not match.group().rstrip("*_").endswith(":")
            start = match.start()
            if is_alone and not (start == 0 or text[start - 1] == "\n"):
                continue
            if rule.section == "region":
                within = headings[-1].section if headings else NO_SECTION
                if is_alone or within in ("history", "family", "plan", "impression", "addendum"):
                    continue
            headings.append(Heading(start, match.end(), rule.section, rule.id, rule.is_weak))
        return headings

    def _title_heading(self, text: str, place: int, headings: Sequence[Heading]) -> Heading | None:
        """ "PORTABLE AP CHEST RADIOGRAPH." on a line of its own ends the reason for the exam."""
        if not headings or headings[-1].section not in _CLOSED_BY_TITLE:
            return None
        if not (text[place - 1] == "\n" and text[headings[-1].end : place].strip()):
            return None
        match = self._title.match(text, place)
        return Heading(place, match.end(), "findings", "") if match else None

    def _closings(self, text: str, headings: Sequence[Heading]) -> list[int]:
        """Where an indication or a comparison ends though no heading follows; 0: at the next one.

        A report may have no heading for its findings: they begin behind the last heading of this
        kind, after a blank line, else on the next line; "Comparison: none." is one sentence long.
        """
        closings = [0] * len(headings)
        is_told = False
        for index in reversed(range(len(headings))):
            heading = headings[index]
            limit = headings[index + 1].start if index + 1 < len(headings) else len(text)
            is_last = index + 1 == len(headings) or not headings[index + 1].is_weak
            if heading.is_weak and is_last and not is_told:
                closings[index] = _end_of_first_statement(text, heading, limit, self._is_break)
            is_told |= heading.section == "findings"
        return closings

    def _blocks(self, text: str, hits: Sequence[int] | None) -> list[tuple[int, int]]:
        """Runs of lines that belong together as running text."""
        if "\n" not in text:
            return [(0, len(text))]
        lines = text.split("\n")
        starts = [0, *accumulate(len(line) + 1 for line in lines)][:-1]
        wanted = (
            range(len(lines))
            if hits is None
            else sorted({bisect_right(starts, hit) - 1 for hit in hits})
        )
        widths: dict[int, int] = {}
        blocks: list[tuple[int, int]] = []
        done = -1
        for index in wanted:
            if index <= done:
                continue
            first, last = index, index
            while first > done + 1 and not self._is_break(lines, first - 1, widths):
                first -= 1
            while last + 1 < len(lines) and not self._is_break(lines, last, widths):
                last += 1
            blocks.append((starts[first], starts[last] + len(lines[last])))
            done = last
        return blocks

    def _is_break(self, lines: Sequence[str], index: int, widths: dict[int, int]) -> bool:
        """Whether the line break behind ``lines[index]`` ends a statement."""
        line, following = lines[index].rstrip(), lines[index + 1]
        if not line or not following.strip():
            return not line.endswith(":")
        is_entry = _BULLET.match(following) or _LABEL.match(following)
        if is_entry or self._heading.match(following):
            return True
        last, first = (
            _LAST_WORD.search(line, max(0, len(line) - _LONGEST_WORD)),
            _FIRST_WORD.match(following),
        )
        word = first.group(1) if first else following.split()[0]
        if line[-1] in ",:(/-、&+" or (last and last.group(1) in self._continues_after):
            return False
        if word in self._continues_before:
            return False
        is_cjk = not word.isascii()
        width = _paragraph_width(lines, index, widths)
        if len(line) + (0 if is_cjk else 1) + len(word) <= width:
            return True
        return width < (_NARROWEST_WRAP_CJK if is_cjk else _NARROWEST_WRAP)

    def _punctuated(self, text: str, low: int, high: int) -> list[tuple[int, int]]:
        spans = []
        begin = low
        for match in _STOP.finditer(text, low, high):
            if _is_inside_brackets(text, begin, match) or self._is_abbreviation(text, begin, match):
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


def _heading_places(text: str) -> list[int]:
    """Where a heading may begin: a line, a sentence, or a plain heading's name before a colon."""
    places = {0, *(found.end() for found in _LINE_OR_STOP.finditer(text))}
    colon = text.find(":")
    while colon >= 0:
        name = _WITHIN_LINE.search(text, max(0, colon - _LONGEST_HEADING), colon)
        if name:
            places.add(name.start())
        colon = text.find(":", colon + 1)
    return sorted(places)


def _end_of_first_statement(
    text: str, heading: Heading, limit: int, is_break: Callable[..., bool]
) -> int:
    """Where what a heading says ends: at a blank line, a line that is full, or a sentence; or 0."""
    begin = heading.end + len(text[heading.end : limit]) - len(text[heading.end : limit].lstrip())
    blank = _PARAGRAPH_END.search(text, begin, limit)
    closing = blank.end() if blank and blank.end() < limit else 0
    if "\n" in text[heading.end : begin]:
        return closing
    lines = text[begin:limit].rstrip().split("\n")
    widths: dict[int, int] = {}
    place = begin
    for index in range(len(lines) - 1):
        place += len(lines[index]) + 1
        if is_break(lines, index, widths):
            return _later_if_longer(place, closing, limit)
    if heading.section in _ONE_SENTENCE:
        stop = _STOP.search(text, begin, limit)
        if stop and text[stop.end() : limit].strip():
            return _later_if_longer(stop.end(), closing, limit)
    return closing


def _later_if_longer(place: int, later: int, limit: int) -> int:
    """The later of two ends where more follows it than stands between them."""
    return later if later and later - place < limit - later else place


def _is_inside_brackets(text: str, begin: int, match: re.Match[str]) -> bool:
    """Whether "5) " closes a bracket: "(ribs 4 and 5) are", not "1) rib 2) clavicle"."""
    if not match.group()[0].isdigit():
        return False
    return text.count("(", begin, match.start()) > text.count(")", begin, match.start())


def _paragraph_width(lines: Sequence[str], index: int, widths: dict[int, int]) -> int:
    """The longest line of the paragraph around a line: the width it was wrapped to, if it was."""
    if index not in widths:
        first, last = index, index
        while first > 0 and lines[first - 1].strip():
            first -= 1
        while last + 1 < len(lines) and lines[last + 1].strip():
            last += 1
        widest = max(len(line.rstrip()) for line in lines[first : last + 1])
        widths.update(dict.fromkeys(range(first, last + 1), widest))
    return widths[index]


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
