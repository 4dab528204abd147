"""Sections and sentences of a folded note.

A single line break is no full stop unless the layout says so: wrapping a text never changes what it
says, yet notes written one statement a line, without full stops, are cut at their lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

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
    r"[.!?。!?;\d](?:(?<!\d)(?:[.!?。!?;]*[\"')\]]*(?=\s|$|[\u3400-\u9fff])|(?<=[。;])|"
    r"(?<=[a-z]{3}\.)(?=[a-z]{2}))|(?<=\s\d)\d?\)\s+(?=[a-z#]))"
)
_LINE_OR_STOP = r"[\n.;。!?](?>(?<=\n)|\s{1,2})"
_PLAIN = frozenset(
    [
        *("finding", "findings", "impression", "indications", "comparison", "comparisons"),
        *("technique", "conclusion", "conclusions", "addendum"),
    ]
)
_CLINICAL = ("history", "indication", "information", "details")
_PLAIN_ENDS = (*_PLAIN, *_CLINICAL, " ", "\t")
_WITHIN_LINE = re.compile(
    rf"(?<=\s)(?:{'|'.join(sorted(_PLAIN))}|indication|"
    rf"clinical\s+(?:{'|'.join(_CLINICAL)}))[ \t]*\Z"
)
_LONGEST_HEADING = 40
_LAST_WORD = re.compile(r"([a-z0-9/.'-]+)[\s]*$")
_FIRST_WORD = re.compile(r"\s*([a-z0-9/'-]+|[\u3000-\u9fff])")
_LONGEST_WORD = 60
_NARROWEST_WRAP = 50
_NARROWEST_WRAP_CJK = 18
_LONGEST_SENTENCE = 1200


class Heading(NamedTuple):
    """A section heading; the body starts at ``end``, or at ``start`` where it names a body part.

    A weak one heads a statement that may end before the next heading: see ``_closings``.
    """

    start: int
    end: int
    section: str
    rule_id: str
    is_weak: bool = False


class Sentence(NamedTuple):
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
        heading = (
            rf"{lead}(?P<phrase>{phrase_pattern(self._by_phrase)})"
            rf"[ \t*=_]*(?:\([^)\n]{{0,30}}\)[ \t]*)?(?::+[*_]*|(?=\n)|\Z)"
        )
        self._heading = re.compile(heading)
        self._before_heading = re.compile(rf"{_LINE_OR_STOP}(?=(?P<whole>{heading}))")
        title = phrase_pattern([*rules.words["title"], *rules.words["view"], *rules.words["side"]])
        view = phrase_pattern(rules.words["view"])
        self._title = re.compile(
            rf"[ \t]*(?=[^\n.:]*{view})(?:{title}|[ \t,/&()-]|\d{{1,2}})+(?:[.:](?=\s)|(?=\n))"
        )
        self._continues_after = frozenset(rules.words["continues_after"])
        self._continues_before = frozenset(rules.words["continues_before"])
        self._abbreviations = frozenset(rules.words["abbreviations"])
        # What a line or a word must end with before the slower patterns are worth a trial.
        self._open_ends = tuple(rules.words["continues_after"])
        self._abbreviated_ends = (*self._abbreviations, "no", *"0123456789", *" \t\n")

    def sentences(self, text: str, hits: Sequence[int] | None = None) -> list[Sentence]:
        """The sentences of a folded note in order; with ``hits`` only those around these places."""
        headings = self._headings(text)
        starts = [heading.start for heading in headings]
        closings = self._closings(text, headings)
        edges = sorted({*starts, *closings})
        sentences: list[Sentence] = []
        for start, end in self._blocks(text, hits):
            inner = edges[bisect_right(edges, start) : bisect_left(edges, end)]
            for low, high in pairwise([start, *inner, end]):
                sentences.extend(self._split(text, (low, high), headings, starts, closings))
        return sentences

    def _split(
        self,
        text: str,
        block: tuple[int, int],
        headings: Sequence[Heading],
        starts: Sequence[int],
        closings: Sequence[int],
    ) -> list[Sentence]:
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
        return [
            Sentence(start, end, section, rule_id, line_start)
            for start, end in self._punctuated(text, low, high)
            if not text[start:end].isspace()
        ]

    def _headings(self, text: str) -> list[Heading]:
        headings: list[Heading] = []
        passed = 0
        for place, end, phrase in self._named_places(text):
            self._append_title(text, headings, passed, place)
            passed = place
            rule = self._by_phrase[phrase_key(phrase)]
            is_alone = not text[place:end].rstrip("*_").endswith(":")
            if is_alone and not (place == 0 or text[place - 1] == "\n"):
                continue
            if rule.section == "region":
                within = headings[-1].section if headings else NO_SECTION
                if is_alone or within in ("history", "family", "plan", "impression", "addendum"):
                    continue
            headings.append(Heading(place, end, rule.section, rule.id, rule.is_weak))
        self._append_title(text, headings, passed, len(text) + 1)
        return headings

    def _named_places(self, text: str) -> list[tuple[int, int, str]]:
        """Start, end and phrase of what looks like a heading.

        It opens the text, a line or a sentence, or, if it is a plain one, stands before a colon.
        """
        named = {
            found.end(): (found.end(), found.end("whole"), found["phrase"])
            for found in self._before_heading.finditer(text)
        }
        opening = self._heading.match(text)
        if opening:
            named[0] = (0, opening.end(), opening["phrase"])
        starts = {end - 1: start for start, end, _ in named.values()}
        colon = text.find(":")
        while colon >= 0:
            if text[starts.get(colon, colon) : colon] not in _PLAIN:
                within = self._plain_heading(text, colon)
                if within:
                    named[within.start()] = (within.start(), within.end(), within["phrase"])
            colon = text.find(":", colon + 1)
        return sorted(named.values())

    def _plain_heading(self, text: str, colon: int) -> re.Match[str] | None:
        """A plain heading within a line, where one ends at ``colon``."""
        low = max(0, colon - _LONGEST_HEADING)
        if not text.endswith(_PLAIN_ENDS, low, colon):
            return None
        name = _WITHIN_LINE.search(text, low, colon)
        return self._heading.match(text, name.start()) if name else None

    def _append_title(self, text: str, headings: list[Heading], passed: int, limit: int) -> None:
        """ "PORTABLE AP CHEST RADIOGRAPH." on a line of its own ends the reason for the exam.

        Titles are looked for behind ``passed``, before the heading at ``limit``.
        """
        if not headings or headings[-1].section not in _CLOSED_BY_TITLE:
            return
        end = headings[-1].end
        place = text.find("\n", passed, limit - 1) + 1
        while place:
            match = self._title.match(text, place)
            if match and text[end:place].strip():
                headings.append(Heading(place, match.end(), "findings", ""))
                return
            place = text.find("\n", place, limit - 1) + 1

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
        if not line or not following or following.isspace():
            return not line.endswith(":")
        return self._is_full(line, following, _paragraph_width(lines, index, widths)) or (
            _BULLET.match(following) is not None
            or _LABEL.match(following) is not None
            or self._heading.match(following) is not None
        )

    def _is_full(self, line: str, following: str, width: int) -> bool:
        """Whether a line was ended though the next word had room, and its words allow an end."""
        first = _FIRST_WORD.match(following)
        word = first.group(1) if first else following.split(maxsplit=1)[0]
        if line[-1] in ",:(/-、&+" or word in self._continues_before:
            return False
        if line.endswith(self._open_ends):
            last = _LAST_WORD.search(line, max(0, len(line) - _LONGEST_WORD))
            if last and last.group(1) in self._continues_after:
                return False
        is_cjk = not word.isascii()
        if len(line) + (0 if is_cjk else 1) + len(word) <= width:
            return True
        return width < (_NARROWEST_WRAP_CJK if is_cjk else _NARROWEST_WRAP)

    def _punctuated(self, text: str, low: int, high: int) -> list[tuple[int, int]]:
        spans = []
        begin = low
        for match in _STOP.finditer(text, low, high):
            stop = match.start()
            mark = text[stop]
            if mark == ".":
                is_inner = self._is_abbreviation(text, begin, stop, match.end())
            elif mark == "?":
                before = text[stop - 1 : stop]
                is_inner = stop <= begin or before.isspace() or before in "(:,"
            else:
                is_inner = mark.isdigit() and _is_inside_brackets(text, begin, stop)
            if not is_inner:
                spans.append((begin, match.end()))
                begin = match.end()
        if begin < high:
            spans.append((begin, high))
        if high - low > _LONGEST_SENTENCE:
            return [piece for start, end in spans for piece in _bounded(text, start, end)]
        return spans

    def _is_abbreviation(self, text: str, begin: int, stop: int, end: int) -> bool:
        """Whether the full stop at ``stop`` belongs to the word before it."""
        if not text.endswith(self._abbreviated_ends, begin, stop):
            return False
        last = _LAST_WORD.search(text, max(begin, stop - 16), stop)
        if last is None:
            return False
        word = last.group(1)
        if word.isdigit():
            return last.start() <= begin + 1 or text[begin : last.start()].strip() == ""
        if word == "no":
            return text[end : end + 4].strip()[:1].isdigit()
        return word in self._abbreviations


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


def _is_inside_brackets(text: str, begin: int, stop: int) -> bool:
    """Whether "5) " closes a bracket: "(ribs 4 and 5) are", not "1) rib 2) clavicle"."""
    return text.count("(", begin, stop) > text.count(")", begin, stop)


def _paragraph_width(lines: Sequence[str], index: int, widths: dict[int, int]) -> int:
    """The longest line of the paragraph around a line: the width it was wrapped to, if it was."""
    if index not in widths:
        first, last = index, index
        while first > 0 and lines[first - 1] and not lines[first - 1].isspace():
            first -= 1
        while last + 1 < len(lines) and lines[last + 1] and not lines[last + 1].isspace():
            last += 1
        widest = max(map(len, map(str.rstrip, lines[first : last + 1])))
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
