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

    def in_bytes(self, content: bytes) -> set[str]:
        """Canaries in a stretch of bytes; letter case does not matter."""
        chunk = pa.array([content], pa.large_binary())
        if not any(
            pc.match_substring_regex(chunk, pattern)[0].as_py() for pattern in self._patterns
        ):
            return set()
        lowered = content.lower()
        return {word for form, word in self._by_form.items() if form in lowered}

    def in_file(self, path: Path) -> set[str]:
        """Canaries in a file, and in what it unpacks to."""
        content = path.read_bytes()
        return self.in_bytes(b"\n".join([content, *_unpacked(path, content)]))

    def in_tree(self, *roots: Path) -> dict[str, set[str]]:
        """Canaries by file, and in file names, of everything under the folders."""
        found = {}
        for root in roots:
            for path in sorted(root.rglob("*")):
                words = self.in_bytes(str(path.relative_to(root)).encode())
                if path.is_file():
                    words |= self.in_file(path)
                if words:
                    found[str(path)] = words
        return found


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
