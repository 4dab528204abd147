"""Finding and site words found in a sentence, their pairs, and words that are one edit away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MINIMUM_EDIT_LENGTH = 8
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Anchor(NamedTuple):
    """A finding or site word in a sentence; ``names`` are the definitions it serves."""

    start: int
    end: int
    kind: str
    names: frozenset[str]
    term: str
    is_weak: bool = False
    edit: str = ""
    rule_id: str = ""


class Target(NamedTuple):
    """One finding at one site: the pair of anchors and how they were joined."""

    name: str
    finding: Anchor
    site: Anchor
    relation: str

    @property
    def start(self) -> int:
        """First character of the pair."""
        return min(self.finding.start, self.site.start)

    @property
    def end(self) -> int:
        """One past the last character of the pair."""
        return max(self.finding.end, self.site.end)


def edit_variants(terms: Sequence[str] | dict[str, Anchor]) -> dict[str, str]:
    """Every word one edit (insert, delete, replace, swap neighbours) away from a long term.

    A word that is itself a term is left out, and so is one that two terms share.
    """
    variants: dict[str, str] = {}
    for term in terms:
        entry = terms[term] if isinstance(terms, dict) else None
        if len(term) < MINIMUM_EDIT_LENGTH or not (term.isascii() and term.isalpha()):
            continue
        if entry is not None and (entry.kind == "excluded" or not entry.names or entry.is_weak):
            continue
        for variant in _one_edit(term):
            variants.setdefault(variant, term)
    for term in terms:
        variants.pop(term, None)
    return variants


def describe_edit(found: str, term: str) -> str:
    """The one edit that leads from a term to what was written, as ``kind@offset``."""
    place = next(
        (i for i, (a, b) in enumerate(zip(found, term, strict=False)) if a != b),
        min(len(found), len(term)),
    )
    if len(found) > len(term):
        return f"insert@{place}"
    if len(found) < len(term):
        return f"delete@{place}"
    is_swap = found[place : place + 2] == term[place : place + 2][::-1]
    return f"swap@{place}" if is_swap else f"replace@{place}"


def _one_edit(word: str) -> set[str]:
    splits = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    deleted = {head + tail[1:] for head, tail in splits if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    replaced = {head + c + tail[1:] for head, tail in splits if tail for c in _LETTERS}
    inserted = {head + c + tail for head, tail in splits for c in _LETTERS}
    return (deleted | swapped | replaced | inserted) - {word}
