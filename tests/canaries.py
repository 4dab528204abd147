"""200 invented names, numbers, phones and addresses, and a search for them in any file."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

N_PEOPLE = 50
PATTERNS_AT_ONCE = 200


@dataclass(frozen=True)
class Person:
    """One person's four canaries."""

    name: str
    number: str
    phone: str
    address: str

    @property
    def words(self) -> tuple[str, str, str, str]:
        return self.name, self.number, self.phone, self.address


PEOPLE = tuple(
    Person(
        name=f"Quillfeather^Zy{n:03d}" if n % 5 else f"鵲鴿{chr(0x4E00 + 97 * n)}^擬{n:03d}",
        number=f"KZ{7_310_003 + 977 * n}",
        phone=f"+886-9{n:02d}-417-{531 + n}",
        address=f"{n + 11} Canary Wharf Lane, Zzyzx {n:03d}",
    )
    for n in range(N_PEOPLE)
)
CANARIES = tuple(word for person in PEOPLE for word in person.words)


def forms(word: str) -> set[bytes]:
    """How a text may stand in a file."""
    plain = {word, word.replace("^", " "), word.replace("^", ", ")}
    found = {each.encode() for each in plain}
    found |= {word.encode("utf-16-le"), word.encode("utf-16-be")}
    found |= {json.dumps(each)[1:-1].encode() for each in plain}
    found |= {quote(each, safe="").encode() for each in plain}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + word.encode())
        # The ends depend on what stands beside.
        found.add(encoded[4 if shift else 0 : -4])
    return found


class CanarySearch:
    """Finds which canaries stand in files of any kind.

    Args:
        words: What to look for.
    """

    def __init__(self, words: tuple[str, ...] = CANARIES) -> None:
        self._by_form = {form.lower(): word for word in words for form in forms(word)}
        known = sorted(self._by_form)
        self._patterns = [
            b"(?i)" + b"|".join(_escaped(form) for form in known[start : start + PATTERNS_AT_ONCE])
            for start in range(0, len(known), PATTERNS_AT_ONCE)
        ]

    def in_bytes(self, *contents: bytes) -> list[set[str]]:
        """Canaries in each stretch of bytes; letter case does not matter."""
        chunks = pa.array(contents, pa.large_binary())
        is_found = np.zeros(len(contents), dtype=bool)
        for pattern in self._patterns:
            is_found |= pc.match_substring_regex(chunks, pattern).to_numpy(zero_copy_only=False)
        return [
            {word for form, word in self._by_form.items() if form in content.lower()}
            if is_hit
            else set()
            for content, is_hit in zip(contents, is_found, strict=True)
        ]

    def in_tree(self, *roots: Path) -> dict[str, set[str]]:
        """Canaries by file, and in file names, of everything under the folders."""
        paths = [path for root in roots for path in (root, *sorted(root.rglob("*")))]
        found = self.in_bytes(*(_content(path) for path in paths))
        return {str(path): words for path, words in zip(paths, found, strict=True) if words}


def _content(path: Path) -> bytes:
    """A file's name, its bytes and what it unpacks to."""
    name = path.name.encode()
    if not path.is_file():
        return name
    content = path.read_bytes()
    return b"\n".join([name, content, *_unpacked(path, content)])


def _escaped(form: bytes) -> bytes:
    return re.sub(rb"[^0-9A-Za-z]", lambda match: b"\\x%02x" % match[0][0], form)


def _unpacked(path: Path, content: bytes) -> Iterator[bytes]:
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if content[:4] == b"PAR1":
        yield str(pq.read_table(path).to_pylist()).encode()
    if content[:15] == b"SQLite format 3":
        # Reads what still lies in the write-ahead log too.
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            connection.text_factory = bytes
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'"):
                rows = connection.execute(f'SELECT * FROM "{table.decode()}"')
                yield b"\n".join(
                    value if isinstance(value, bytes) else str(value).encode()
                    for row in rows
                    for value in row
                )
        connection.close()
