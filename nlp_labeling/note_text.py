"""A note as given, and a folded copy of it in which rules can be matched.

The folded copy is decoded, stripped of RTF and HTML, lower-cased, half-width; ``source_span`` leads
every position in it back to the note as given.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from nlp_labeling.rtf_text import strip_rtf

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_ONE_TO_ONE: dict[int, int | str] = {
    **_FULL_WIDTH,
    0x3000: " ",
    0x00A0: " ",
    0x2007: " ",
    0x2009: " ",
    0x202F: " ",
    0x200B: " ",
    0x200C: " ",
    0x200D: " ",
    0xFEFF: " ",
    0x2028: "\n",
    0x2029: "\n",
    0x0085: "\n",
    0x000B: "\n",
    0x000C: "\n",
    0x0009: " ",
    0x2010: "-",
    0x2011: "-",
    0x2012: "-",
    0x2013: "-",
    0x2014: "-",
    0x2015: "-",
    0x2212: "-",
    0xFE63: "-",
    0x223C: "~",
    0x301C: "~",
    0x2018: "'",
    0x2019: "'",
    0x201C: '"',
    0x201D: '"',
    0x0130: "i",
    0xFF61: "。",
    0xFF64: "、",
    0x2022: "*",
    0x25CF: "*",
    0x25CB: "*",
    0x25A0: "*",
    0x25C6: "*",
    0x2023: "*",
    0x2500: "-",
}
_ENCODINGS = ("utf-8", "cp950", "big5hkscs")
_COMPATIBILITY = re.compile(r"[\uFB00-\uFB06\u00AD\u0300-\u036F\u2460-\u249B]")
_RTF = re.compile(r"^\s*\{\\rtf\d?", re.ASCII)
_HTML = re.compile(
    r"<\s*/?\s*(?:!doctype|html|head|body|p|br|div|span|table|tr|td|b|i|u|pre|font|strong|em|ul|ol|li|"
    r"h[1-6])\b[^<>]{0,400}>|&(?:nbsp|amp|lt|gt|quot|#\d{1,7}|#x[0-9a-f]{1,6});",
    re.IGNORECASE,
)
_HTML_TOKEN = re.compile(
    r"<!--.*?-->|<(?:script|style)\b.*?</(?:script|style)\s*>|"
    r"<\s*/?\s*([a-zA-Z][a-zA-Z0-9]*|!doctype)\b[^<>]{0,4000}>|&(?:[a-zA-Z]{2,31}|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});",
    re.DOTALL | re.IGNORECASE,
)
_HTML_BLOCKS = frozenset(
    ["p", "br", "div", "tr", "table", "li", "ul", "ol", "pre", "h1", "h2", "h3", "h4", "h5", "h6"]
)
_TOKEN_AT = re.compile(
    r"(?:\\'[0-9a-fA-F]{2}){1,2}|\\[a-z]{1,32}-?\d{0,10}\??|&(?:[a-zA-Z]{2,31}|#[xX]?[0-9a-fA-F]{1,7});"
)
_DEIDENTIFIED = re.compile(r"\[\*\*[^\]\n]{0,200}\*\*\]|\*\*[A-Z]+\[[^\]\n]{0,100}\]")


@dataclass(frozen=True, slots=True)
class NoteText:
    """``source`` as given; ``folded`` for matching; ``offsets`` maps folded to source positions.

    ``offsets`` is None where both have the same positions, else of length ``len(folded) + 1``.
    """

    source: str
    folded: str
    offsets: Sequence[int] | None = None

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """Folded positions to positions in the note as given."""
        if self.offsets is None:
            return start, end
        if end <= start:
            return self.offsets[start], self.offsets[start]
        last = self.offsets[end - 1]
        token = _TOKEN_AT.match(self.source, last)
        return self.offsets[start], token.end() if token else last + 1


def fold_note(text: str) -> NoteText:
    """Strip markup, unify width, dashes, quotes and case, and keep the way back to ``text``."""
    plain, offsets = text, None
    if _RTF.match(text):
        plain, offsets = strip_rtf(text)
    elif ("<" in text or "&" in text) and _HTML.search(text):
        plain, offsets = _strip_html(text)
    if not plain.isascii():
        plain, offsets = _fold_unicode(plain, offsets)
    elif "\t" in plain or "\f" in plain or "\v" in plain:
        plain = plain.translate(_ONE_TO_ONE)
    if "\r" in plain:
        plain = plain.replace("\r\n", " \n").replace("\r", "\n")
    if "**" in plain:
        plain = _DEIDENTIFIED.sub(lambda match: "x" * len(match.group()), plain)
    return NoteText(text, plain.lower(), offsets)


def decode_bytes(data: bytes) -> tuple[str, str]:
    """Text and encoding name of a note: UTF-8, UTF-16 with its mark, CP950 / Big5, else CP1252.

    The last resort never fails, but replaces what CP1252 leaves undefined; its name then ends with
    ``(damaged)``.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), "utf-16"
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return data.decode("utf-8", errors="replace"), "utf-8 (damaged)"


def _fold_unicode(plain: str, offsets: list[int] | None) -> tuple[str, list[int] | None]:
    plain = plain.translate(_ONE_TO_ONE)
    if not _COMPATIBILITY.search(plain):
        return plain, offsets
    pieces: list[str] = []
    places: list[int] = []
    for index, character in enumerate(plain):
        folded = "" if character == "\u00ad" else unicodedata.normalize("NFKD", character)
        folded = "".join(part for part in folded if not unicodedata.combining(part))
        pieces.append(folded)
        places.extend([offsets[index] if offsets else index] * len(folded))
    places.append(offsets[-1] if offsets else len(plain))
    return "".join(pieces), places


def _strip_html(text: str) -> tuple[str, list[int]]:
    pieces: list[str] = []
    places: list[int] = []

    def put(characters: str, start: int, step: int) -> None:
        pieces.append(characters)
        places.extend(start + step * index for index in range(len(characters)))

    position = 0
    for match in _HTML_TOKEN.finditer(text):
        put(text[position : match.start()], position, 1)
        token = match.group()
        if token.startswith("&"):
            put(html.unescape(token), match.start(), 0)
        else:
            tag = (match.group(1) or "").lower()
            put("\n" if tag in _HTML_BLOCKS else " ", match.start(), 0)
        position = match.end()
    put(text[position:], position, 1)
    places.append(len(text))
    return "".join(pieces), places
