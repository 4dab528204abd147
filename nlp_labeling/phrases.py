"""Many phrases looked for at once: at each word only those that begin with it are tried.

One regular expression over thousands of phrases is tried branch by branch, all over memory; a
dictionary of small ones is faster on text that was not read just before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nlp_labeling.rule import END_MARK, phrase_pattern

_OPENING = re.compile(r"[a-z0-9]+|.", re.DOTALL)


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
        self._numbered = re.compile(phrase_pattern(numbered)) if numbered else None
        self._numbered_openings = tuple(
            {*"0123456789", *(phrase[0] for phrase in numbered)} if numbered else ""
        )
        marks = "".join(re.escape(one) for one in grouped if not one[0].isalnum())
        ideographs = "".join(one for one in grouped if not one.isascii())
        others = f"|[{marks}{ideographs}]" if marks or ideographs else ""
        self._openings = re.compile(f"[a-z0-9]+{others}")

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Matches in a folded text from left to right, without overlap."""
        end = 0
        for opening in self._openings.finditer(text):
            start = opening.start()
            if start < end:
                continue
            word = opening.group()
            pattern = self._by_opening.get(word)
            match = pattern.match(text, start) if pattern is not None else None
            if match is None and word.startswith(self._numbered_openings):
                assert self._numbered is not None
                match = self._numbered.match(text, start)
            if match is not None:
                end = match.end()
                yield match
