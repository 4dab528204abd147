"""What an examination is of, where its title says so: "XR CLAVICLE LT", "LEFT RIB SERIES".

In such a report "no fracture" and "fracture of the midshaft" speak of that site without naming it.
A film of the chest is not a film of the ribs, so its title gives no site.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from nlp_labeling.rule import RuleSet, phrase_pattern
from nlp_labeling.targets import TargetFinder

_LONGEST_TITLE = 120
_HEAD = 1500
_TITLE_END = re.compile(r"[.:;](?=\s|$)")
_NEXT_HEADING = re.compile(
    r"\s+(?:(?:clinical|brief)\s+(?:history|indication|information|details|notes)|history|"
    r"indications?|"
    r"findings?|comparison|technique|impression|report|reason(?: for (?:exam|examination|study))?)$"
)
_HEADING_ENDS = (
    *("history", "indication", "indications", "information", "details", "notes", "finding"),
    *("findings", "comparison", "technique", "impression", "report", "reason", "exam"),
    *("examination", "study"),
)
_HEADING = re.compile(
    r"[ \t*#_]*(?:exam(?:ination)?|study|procedure|technique|views?|exam type|"
    r"type of exam(?:ination)?|"
    r"exam(?:ination)? description|study description|exam performed|檢查項目|檢查名稱|檢查部位)"
    r"[ \t]*:[ \t]*"
)


class ExamTitles:
    """Reads titles with the site terms of a finder and the title words of a rule set."""

    def __init__(self, finder: TargetFinder, rules: RuleSet) -> None:
        self._finder = finder
        words = phrase_pattern([*rules.words["title"], *rules.words["filler"]])
        view = phrase_pattern(rules.words["view"])
        site = phrase_pattern(finder.site_terms())
        self._site = re.compile(site)
        self._view = re.compile(view)
        self._plain = re.compile(
            rf"(?:\s+|{view}|{words}|{site}|\d+|(?<=\d):(?=\d)|\([^()\n]*\)|[-,/&+()*#_]|x{{4,}})*+"
        )

    def findings(self, note: str, hits: Sequence[int]) -> tuple[tuple[str, ...], bool]:
        """The findings at the sites a folded note's title names; whether it names others too.

        ``hits`` are the places of ``TargetFinder.hits``, sites among them. Titles are looked for in
        the note's first 1,500 characters.
        """
        names: set[str] = set()
        is_shared = False
        seen = -1
        first = len(note) - len(note.lstrip())
        for place in hits[: bisect_left(hits, first + _HEAD)]:
            start = note.rfind("\n", 0, place) + 1
            if start <= seen or self._site.match(note, place, first + _HEAD) is None:
                continue
            seen = start
            title = self._title(note, start, is_first=start <= first)
            if title:
                anchors = self._finder.title_sites(title)
                names.update(name for anchor in anchors for name in anchor.names)
                is_shared |= any(not anchor.names for anchor in anchors)
        return tuple(sorted(names)), is_shared

    def _title(self, note: str, start: int, *, is_first: bool) -> str:
        """The title in the line at ``start``, empty where it holds none."""
        end = min(start + _LONGEST_TITLE, len(note))
        heading = _HEADING.match(note, start, end)
        begin = heading.end() if heading else start
        line_end = note.find("\n", begin, end)
        stop = _TITLE_END.search(note, begin, end if line_end < 0 else line_end)
        if stop is not None:
            text = note[begin : stop.start()]
        elif line_end < 0 and end < len(note) and note[end] != "\n":
            return ""
        else:
            text = note[begin : end if line_end < 0 else line_end]
        if text.endswith(_HEADING_ENDS):
            text = _NEXT_HEADING.sub("", text)
        if heading is not None:
            return "" if self._finder.hits_finding(text) else text
        is_plain = self._plain.fullmatch(text) is not None
        return text if is_plain and (is_first or self._view.search(text)) else ""
