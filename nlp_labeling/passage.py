"""The passage of a note around a mention, cut where target, cue and scope begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

MARGIN_CHARS = 80
_SPANS = {"scope": "scope_", "cue": "cue_", "target": ""}


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text and what it belongs to: some of scope, cue and target."""

    text: str
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """Segments that follow each other; the note goes on before or after."""

    segments: tuple[Segment, ...]
    is_cut_before: bool
    is_cut_after: bool

    @property
    def text(self) -> str:
        """The passage as it stands in the note."""
        return "".join(segment.text for segment in self.segments)


def cut_passage(text: str, mention: Mapping[str, Any]) -> Passage:
    """The passage around a row of ``note_mentions``, ``MARGIN_CHARS`` wider than all its spans."""
    spans = {
        name: (mention[f"{prefix}start_char"], mention[f"{prefix}end_char"])
        for name, prefix in _SPANS.items()
        if mention[f"{prefix}start_char"] is not None
    }
    low = max(0, min(start for start, _ in spans.values()) - MARGIN_CHARS)
    high = min(len(text), max(end for _, end in spans.values()) + MARGIN_CHARS)
    edges = {low, high, *(edge for span in spans.values() for edge in span)}
    cuts = sorted(edge for edge in edges if low <= edge <= high)
    segments = tuple(
        Segment(
            text[start:end],
            tuple(name for name, span in spans.items() if span[0] <= start and end <= span[1]),
        )
        for start, end in pairwise(cuts)
    )
    return Passage(segments, is_cut_before=low > 0, is_cut_after=high < len(text))
