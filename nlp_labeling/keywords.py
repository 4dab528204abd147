"""The keyword pattern that decides which notes are read at all.

It is one RE2 expression (what Arrow and DuckDB run over whole columns) that also is a Python one.
Every mention needs a site or a complete term, so these alone are looked for, misspellings included:
a note without them cannot hold a mention, and a test proves that none is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nlp_labeling.anchors import MINIMUM_EDIT_LENGTH
from nlp_labeling.definition import Definition, load_definitions

# What folding turns into letters: such notes are read whatever they say.
_FOLDED = "[\uff03\uff21-\uff3a\uff41-\uff5a\ufb00-\ufb06\u00ad\u0300-\u036f\u0130]"
_MARKUP = r"\{\\rtf|&#"
_SPACE = "[\\s\u3000\u00a0\u2007\u2009\u202f\u200b\u200c\u200d\ufeff\u2028\u2029\u0085]+"


def keyword_pattern(definitions: Sequence[Definition] | None = None) -> str:
    """The RE2-compatible pattern of some definitions (all shipped ones for None).

    Flows hand it to etl; matching is case-insensitive by a flag inside the pattern.
    """
    chosen = load_definitions() if definitions is None else tuple(definitions)
    words: dict[str, None] = {}
    for definition in chosen:
        for term in (*definition.site, *definition.site_weak, *definition.complete):
            words[term] = None
    alternatives = [_alternative(word) for word in _minimal(list(words))]
    return f"(?i)(?:{'|'.join(dict.fromkeys(alternatives))}|{_FOLDED}|{_MARKUP})"


def compiled_keywords(definitions: Sequence[Definition]) -> re.Pattern[str]:
    """The same pattern for one note at a time."""
    return re.compile(keyword_pattern(definitions), re.ASCII)


def _minimal(words: Sequence[str]) -> list[str]:
    """Words without those that another one already finds inside them."""
    return [
        word
        for word in words
        if not any(
            other != word
            and (
                re.search(rf"(?<![a-z0-9]){re.escape(other)}(?![a-z0-9])", word)
                if other.isascii()
                else other in word
            )
            for other in words
        )
    ]


def _alternative(word: str) -> str:
    body = _SPACE.join(re.escape(part).replace(r"\ ", " ") for part in word.split())
    if not word.isascii():
        return body
    if len(word) >= MINIMUM_EDIT_LENGTH and word.isalpha():
        body = f"(?:{'|'.join(_edits(word))})"
    return f"(?:^|[^a-z0-9]){body}(?:[^a-z0-9]|$)"


def _edits(word: str) -> list[str]:
    """Patterns for the word and all words one edit away, a letter for the odd one out."""
    patterns = [re.escape(word), f"{re.escape(word)}[a-z]"]
    for place in range(len(word)):
        head, tail = re.escape(word[:place]), re.escape(word[place + 1 :])
        patterns.append(f"{head}[a-z]?{tail}")
        patterns.append(f"{head}[a-z]{re.escape(word[place:])}")
    patterns.extend(
        re.escape(word[:place] + word[place + 1] + word[place] + word[place + 2 :])
        for place in range(len(word) - 1)
    )
    return patterns
