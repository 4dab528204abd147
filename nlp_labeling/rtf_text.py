"""RTF to text with the source position of every character, which striprtf does not give.

Which words hide a destination follows the RTF 1.9 specification; striprtf is the oracle of the
tests.
"""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"\\([a-z]{1,32})(-?\d{1,10})?[ ]?|\\'([0-9a-fA-F]{2})|\\([^a-z])|([{}])|[\r\n]+|(.)",
    re.IGNORECASE | re.DOTALL,
)
_CODEPAGES = frozenset(["950", "936", "932", "1252", "1250"])
_BREAKS = {"par": "\n", "line": "\n", "sect": "\n\n", "page": "\n\n", "row": "\n"}
_SYMBOLS = {"tab": " ", "cell": " ", "emdash": "-", "endash": "-", "bullet": "*"}
_QUOTES = {"lquote": "'", "rquote": "'", "ldblquote": '"', "rdblquote": '"'}
_WRITTEN = {**_BREAKS, **_SYMBOLS, **_QUOTES}
_ESCAPED = {"~": " ", "_": "-", "-": ""}
_HIDDEN = frozenset(
    [
        "fonttbl",
        "colortbl",
        "stylesheet",
        "info",
        "pict",
        "object",
        "header",
        "footer",
        "headerl",
        "headerr",
        "headerf",
        "footerl",
        "footerr",
        "footerf",
        "generator",
        "themedata",
        "colorschememapping",
        "datastore",
        "latentstyles",
        "listtable",
        "listoverridetable",
        "rsidtbl",
        "xmlnstbl",
        "filetbl",
        "revtbl",
        "fldinst",
        "bkmkstart",
        "bkmkend",
        "author",
        "title",
    ]
)


def strip_rtf(text: str) -> tuple[str, list[int]]:
    """Plain text, and for each of its characters (and its end) the position in ``text``."""
    return _Reader().read(text)


class _Reader:
    """State of one pass: open groups, the codepage, and bytes waiting for their second half."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._places: list[int] = []
        self._groups: list[tuple[bool, int]] = []
        self._is_hidden, self._skip_width, self._to_skip = False, 1, 0
        self._codepage = "cp1252"
        self._pending: list[tuple[int, int]] = []

    def read(self, text: str) -> tuple[str, list[int]]:
        for match in TOKEN.finditer(text):
            word, number, byte, escaped, brace, character = match.groups()
            place = match.start()
            if byte is not None:
                self._byte(int(byte, 16), place)
                continue
            self._flush()
            if brace is not None:
                self._group(brace)
            elif escaped == "*":
                self._is_hidden = True
            elif escaped is not None:
                self._put(_ESCAPED.get(escaped, escaped), place)
            elif word is not None:
                self._word(word.lower(), number, place)
            elif character is not None:
                self._character(character, place)
        self._flush()
        self._places.append(len(text))
        return "".join(self._pieces), self._places

    def _put(self, characters: str, place: int) -> None:
        if not self._is_hidden:
            self._pieces.append(characters)
            self._places.extend([place] * len(characters))

    def _character(self, character: str, place: int) -> None:
        if self._to_skip:
            self._to_skip -= 1
        else:
            self._put(character, place)

    def _byte(self, value: int, place: int) -> None:
        if self._to_skip:
            self._to_skip -= 1
        else:
            self._pending.append((value, place))

    def _flush(self) -> None:
        if self._pending:
            data = bytes(value for value, _ in self._pending)
            self._put(data.decode(self._codepage, errors="replace"), self._pending[0][1])
            self._pending.clear()

    def _group(self, brace: str) -> None:
        if brace == "{":
            self._groups.append((self._is_hidden, self._skip_width))
        else:
            self._is_hidden, self._skip_width = self._groups.pop() if self._groups else (False, 1)

    def _word(self, word: str, number: str | None, place: int) -> None:
        if word == "ansicpg" and number in _CODEPAGES:
            self._codepage = f"cp{number}"
        elif word == "uc":
            self._skip_width = int(number or 1)
        elif word == "u" and number:
            self._put(chr(int(number) % 0x10000), place)
            self._to_skip = self._skip_width
        elif word in _HIDDEN:
            self._is_hidden = True
        elif word in _WRITTEN:
            self._put(_WRITTEN[word], place)
