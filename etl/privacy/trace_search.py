"""Byte search for a patient's traces in everything that a home holds.

Parquet files are compressed, so their values are searched; of every other file the bytes. Texts
count where no letter, digit or point stands beside them, so that 1.2.3 is not found in 1.2.34.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# A shorter number, say 42, stands by chance anywhere, so that finding it proves nothing.
MIN_BYTES = 6
TOKENS_PER_PATTERN = 400
CHUNK_BYTES = 16 * 2**20
OVERLAP_BYTES = 1024
# Files whose bare numbers are sizes and offsets: a number counts there only within a text.
NUMBERED_SUFFIXES = frozenset({".json", ".safetensors"})


class TraceSearch:
    """Searches files and tables for texts.

    Args:
        tokens: Texts to look for.

    Attributes:
        n_too_short: How many of them are shorter than MIN_BYTES and therefore not looked for.
    """

    def __init__(self, tokens: Collection[str]) -> None:
        long = sorted(each for each in tokens if len(each.encode()) >= MIN_BYTES)
        self._patterns = _patterns(long)
        self.n_too_short = len(set(tokens)) - len(long)
        self._patterns_beside_numbers = _patterns(long, is_number_quoted=True)

    def is_in(self, path: Path) -> bool:
        """True where a file holds one of the texts."""
        if path.suffix == ".parquet":
            return bool(self.columns_with(pq.read_table(path)))
        is_numbered = path.suffix in NUMBERED_SUFFIXES
        patterns = self._patterns_beside_numbers if is_numbered else self._patterns
        return any(_is_matching(chunk, patterns) for chunk in _chunks(path))

    def is_named(self, path: Path) -> bool:
        """True where a file's own name holds one of the texts."""
        return _is_matching(path.name.encode(), self._patterns)

    def columns_with(self, rows: pa.Table) -> list[str]:
        """Columns in which one of the texts stands."""
        return [name for name in rows.column_names if self._is_in_column(rows[name])]

    def n_rows_with(self, rows: pa.Table) -> int:
        """How many rows hold one of the texts, in a column of plain strings."""
        is_found = pa.array(np.zeros(rows.num_rows, dtype=bool))
        for column in rows.columns:
            if pa.types.is_string(column.type):
                for pattern in self._patterns:
                    matches = pc.match_substring_regex(column, pattern).fill_null(False)
                    is_found = pc.or_(is_found, matches.combine_chunks())
        return int(pc.sum(is_found).as_py() or 0)

    def _is_in_column(self, column: pa.ChunkedArray) -> bool:
        while pa.types.is_list(column.type) or pa.types.is_struct(column.type):
            if pa.types.is_struct(column.type):
                return any(self._is_in_column(each) for each in column.flatten())
            column = pc.list_flatten(column)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return False
        values = column.unique().cast(pa.large_string())
        return any(
            pc.any(pc.match_substring_regex(values, pattern), min_count=0).as_py()
            for pattern in self._patterns
        )


def _patterns(tokens: list[str], *, is_number_quoted: bool = False) -> list[str]:
    """RE2 patterns that match where one of the texts stands apart from its surroundings."""
    numbers = [each for each in tokens if each.isdigit()] if is_number_quoted else []
    others = [each for each in tokens if each not in set(numbers)]
    patterns = [
        rf"(?:^|[^0-9A-Za-z.])(?:{_either(part)})(?:$|[^0-9A-Za-z])" for part in _parts(others)
    ]
    return patterns + [
        rf"[\"'/_=](?:{_either(part)})(?:$|[^0-9A-Za-z])" for part in _parts(numbers)
    ]


def _parts(tokens: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(tokens), TOKENS_PER_PATTERN):
        yield tokens[start : start + TOKENS_PER_PATTERN]


def _either(tokens: list[str]) -> str:
    # Letters of other scripts stand for their bytes; RE2 gives no meaning to them.
    return "|".join(
        re.sub(r"[^\w\x80-\U0010ffff]|_", lambda sign: f"\\x{ord(sign[0]):02x}", each)
        for each in tokens
    )


def _is_matching(chunk: bytes, patterns: list[str]) -> bool:
    values = pa.array([chunk], pa.large_binary())
    return any(pc.match_substring_regex(values, pattern)[0].as_py() for pattern in patterns)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        tail = b""
        while block := file.read(CHUNK_BYTES):
            yield tail + block
            tail = block[-OVERLAP_BYTES:]
