"""Many phrases looked for at once: at each word only those that begin with it are tried.

One regular expression over thousands of phrases is tried branch by branch, all over memory; a
dictionary of small ones is faster on text that was not read just before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from nlp_labeling.rule import END_MARK, phrase_pattern

_OPENING = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


class _Words(NamedTuple):
    """What phrases of a text may open with: words and other characters, with their places."""

    different: frozenset[str]
    places: tuple[tuple[int, str], ...]
    first_characters: frozenset[str]


@lru_cache(maxsize=64)
def _words(text: str) -> _Words:
    """The words of a text; those of a few texts are kept, as several phrase sets read each."""
    places = tuple((match.start(), match.group()) for match in _OPENING.finditer(text))
    different = frozenset(word for _, word in places)
    return _Words(different, places, frozenset(word[0] for word in different))


class Phrases:
    """Finds the longest of many phrases, words bounded, spaces free, as ``phrase_pattern`` does."""

    def __init__(self, phrases: Iterable[str]) -> None:
        grouped: dict[str, list[str]] = {}
        numbered: list[str] = []
        for phrase in phrases:
            opening = _OPENING.findall(phrase)[0]
            rest = phrase.removesuffix(END_MARK)
            if "<" in (rest[:1], rest[len(opening) : len(opening) + 1]):
                numbered.append(phrase)
            else:
                grouped.setdefault(opening, []).append(phrase)
        self._by_opening = {
            opening: re.compile(phrase_pattern(group)) for opening, group in grouped.items()
        }
        self._numbered = re.compile(phrase_pattern(numbered))
        self._numbered_openings = frozenset(
            "".join(["0123456789", *(one[0] for one in numbered)]) if numbered else ""
        )

    def finditer(self, text: str) -> list[re.Match[str]]:
        """Matches in a folded text from left to right, without overlap."""
        words = _words(text)
        may_be_numbered = not self._numbered_openings.isdisjoint(words.first_characters)
        if not may_be_numbered and self._by_opening.keys().isdisjoint(words.different):
            return []
        found: list[re.Match[str]] = []
        end = 0
        for start, word in words.places:
            if start < end:
                continue
            pattern = self._by_opening.get(word)
            match = pattern.match(text, start) if pattern is not None else None
            if match is None and may_be_numbered and word[0] in self._numbered_openings:
                match = self._numbered.match(text, start)
            if match is not None:
                end = match.end()
                found.append(match)
        return found
