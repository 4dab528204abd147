"""What a sentence takes from the note around it: a title, a heading, a list's first line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nlp_labeling.anchors import Anchor, Target
from nlp_labeling.sections import Sentence
from nlp_labeling.targets import TargetFinder

_LONGEST_LIST_GAP = 300
_DENIES = re.compile(r"\b(?:no|not|without|negative|nil)\b")
_DOUBTS = re.compile(
    r"\b(?:cannot|not\s+(?:\w+\s+)?(?:excluded|ruled\s+out)|difficult\s+to\s+exclude)\b"
)
_OF_NUMBERS = re.compile(
    r"\s+of\s+(?:the\s+)?(?:left\s+|right\s+)?(?:\d{1,2}(?:st|nd|rd|th)|first|second|third|fourth|"
    r"fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth)\b"
)
_LIMITED = ("limit", "obscur", "suboptimal", "nondiagnostic", "degrad", "poorly")
_IS_LIMITED = re.compile(rf"\b(?:{'|'.join(_LIMITED)})")
DEFINITE = re.compile(
    r"(?:^|\s)(?:the|these|this|those|that|both|all)(?:\s+[a-z-]+){0,2}\s+$|該|此"
)


@dataclass(frozen=True, slots=True)
class Lead:
    """The line a list hangs on, and where the list has come to; no text where there is none."""

    text: str = ""
    end: int = 0

    def reaches(self, note: str, sentence: Sentence) -> bool:
        """Whether nothing but further items stands between the list and a sentence."""
        is_near = sentence.start - self.end <= _LONGEST_LIST_GAP
        return is_near and "\n\n" not in note[self.end : sentence.start].replace(" ", "")


class Topic(NamedTuple):
    """Findings at the bones a line is headed with ("Ribs:"); whether others are named too."""

    names: tuple[str, ...] = ()
    is_shared: bool = False
    line_start: int = -1


class Carried(NamedTuple):
    """What a sentence may take from the note around it.

    ``names``: findings of the sentence before, for "the fracture is displaced"; ``is_doubtful``
    where that sentence saw only a lucency or a step-off. ``exam_names``: findings at the site the
    examination is of; ``is_shared_exam`` where its title names another bone too. ``lead`` is the
    line a list hangs on: "Fractures:".
    """

    names: tuple[str, ...] = ()
    is_doubtful: bool = False
    exam_names: tuple[str, ...] = ()
    is_shared_exam: bool = False
    lead: str = ""


NOTHING = Carried()
NO_LEAD = Lead()
NO_TOPIC = Topic()


class Surroundings:
    """Finds the targets of sentences that name no site, with the terms of a finder."""

    def __init__(self, finder: TargetFinder, numbered: frozenset[str]) -> None:
        self._finder = finder
        self._numbered = numbered

    def is_lead(self, text: str) -> bool:
        """Whether a sentence announces a list of fractures and names no site itself."""
        return text.rstrip().endswith(":") and self._finder.is_silent_on_sites(
            self._finder.anchors(text)
        )

    def topic(self, text: str, sentence: Sentence, topic: Topic) -> Topic:
        """The bones the line is about: those it is headed with, or of which it sees little."""
        sites = self._finder.heading_sites(text)
        is_shared = not sites
        if not sites and _tells_limits(text):
            anchors = self._finder.anchors(text)
            sites = anchors if all(one.kind == "site" for one in anchors) else []
        if sites:
            names = {name for site in sites for name in site.names}
            is_shared = is_shared or any(not site.names for site in sites)
            return Topic(tuple(sorted(names)), is_shared, sentence.line_start)
        return topic if topic.line_start == sentence.line_start else NO_TOPIC

    def targets(self, sentence: str, carried: Carried, anchors: Sequence[Anchor]) -> list[Target]:
        """The targets of a folded sentence whose findings have no site beside them."""
        if not anchors and carried.exam_names and not carried.is_shared_exam:
            return self._finder.site_verdicts.verdicts(sentence, carried.exam_names)
        if not self._finder.is_silent_on_sites(anchors):
            return []
        first = next(a for a in anchors if not a.is_weak)
        inherited = self._inherited(sentence, carried, first)
        if inherited:
            return [Target(name, first, first, "inherited") for name in inherited]
        named = self._finder.exam_names(sentence, first)
        if named:
            return [Target(name, first, first, "exam") for name in named]
        is_told = _DENIES.search(sentence[: first.start]) or _DOUBTS.search(sentence)
        if carried.is_shared_exam and not is_told:
            return []
        return [
            Target(name, finding, finding, "exam")
            for finding in anchors
            if not finding.is_weak
            for name in carried.exam_names
            if name in finding.names
        ]

    def _inherited(self, sentence: str, carried: Carried, first: Anchor) -> Sequence[str]:
        """Findings of the sentence before that a bare "the fracture" goes on about."""
        if carried.is_doubtful or DEFINITE.search(sentence[: first.start]):
            return carried.names
        if _OF_NUMBERS.match(sentence, first.end):
            return [name for name in carried.names if name in self._numbered]
        return ()


def _tells_limits(text: str) -> bool:
    """Whether a sentence says that little is seen; most hold none of the words, told quickly."""
    for word in _LIMITED:
        if word in text:
            return _IS_LIMITED.search(text) is not None
    return False
