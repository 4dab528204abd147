"""The rows of a file of notes: csv, jsonl or parquet, read in batches, each row checked."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nlp_labeling.note_text import decode_bytes
from warehouse_schema.errors import InputError

BATCH_ROWS = 5_000
_BATCH_CHARACTERS = 64_000_000
_PARQUET_ROWS = 2_000
_COLUMNS = ("note_id", "text")
_LARGE_CELL = 1 << 30


@dataclass(frozen=True, slots=True)
class Note:
    """One row; ``reason`` says why it is no note."""

    row: int
    note_id: str
    text: str
    reason: str = ""


class _SeenIds:
    """The ids met so far, eight bytes each: digests in a sorted array, the newest in a set."""

    _NEWEST = 20_000

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._newest: set[int] = set()

    def is_known(self, digest: int) -> bool:
        """Whether an id was added before."""
        if digest in self._newest:
            return True
        if not len(self._sorted):
            return False
        place = int(np.searchsorted(self._sorted, np.uint64(digest)))
        return place < len(self._sorted) and int(self._sorted[place]) == digest

    def add(self, digest: int) -> None:
        """Remember an id."""
        self._newest.add(digest)
        if len(self._newest) >= self._NEWEST:
            fresh = np.fromiter(self._newest, np.uint64, len(self._newest))
            self._sorted = np.sort(np.concatenate([self._sorted, fresh]))
            self._newest.clear()

    @staticmethod
    def digest(name: str) -> int:
        """What stands for an id here."""
        raw = name.encode("utf-8", errors="surrogatepass")
        return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


@dataclass(slots=True)
class NoteSource:
    """The notes of a file, and counts of what was read so far.

    ``set_aside`` is called with every batch of rows that are no notes.
    """

    path: Path
    set_aside: Callable[[Sequence[Note]], None]
    quarantined: Counter[str] = field(default_factory=Counter)
    encodings: Counter[str] = field(default_factory=Counter)
    _seen: _SeenIds = field(default_factory=_SeenIds)

    def batches(self) -> Iterator[list[Note]]:
        """Notes in the order of the file, at most ``BATCH_ROWS`` at a time.

        Raises:
            InputError: the file lacks a column or is damaged.
        """
        batch: list[Note] = []
        bad: list[Note] = []
        size = 0
        for row, note_id, value in read_rows(self.path):
            note = self._note(row, note_id, value)
            if note.reason:
                self.quarantined[note.reason] += 1
                bad.append(note)
            else:
                batch.append(note)
                size += len(note.text)
            if len(batch) + len(bad) >= BATCH_ROWS or size > _BATCH_CHARACTERS:
                self.set_aside(bad)
                yield batch
                batch, bad, size = [], [], 0
        self.set_aside(bad)
        if batch:
            yield batch

    def _note(self, row: int, note_id: Any, value: Any) -> Note:
        name = "" if note_id is None else str(note_id)
        if not name.strip():
            return Note(row, name, "", "note_id is missing")
        digest = self._seen.digest(name)
        if self._seen.is_known(digest):
            return Note(row, name, "", "note_id occurs twice")
        if value is None:
            return Note(row, name, "", "text is missing")
        if isinstance(value, bytes):
            value, encoding = decode_bytes(value)
        elif isinstance(value, str):
            value, encoding = _repaired(value)
        else:
            kind = "not JSON" if isinstance(value, _Malformed) else type(value).__name__
            return Note(row, name, "", f"text is {kind}, not text")
        if "\0" in value[:1000] and value[:1000].count("\0") > len(value[:1000]) // 8:
            return Note(row, name, "", "text is binary data")
        self._seen.add(digest)
        self.encodings[encoding] += 1
        return Note(row, name, value)


def _repaired(value: str) -> tuple[str, str]:
    """Undo the escapes that stand for bytes which were not UTF-8."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return decode_bytes(value.encode("utf-8", errors="surrogateescape"))
    return value, "utf-8"


def read_rows(source: Path) -> Iterator[tuple[int, Any, Any]]:
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    return readers[source.suffix.lower()](source)


def _read_csv(source: Path) -> Iterator[tuple[int, Any, Any]]:
    csv.field_size_limit(_LARGE_CELL)
    with source.open("rb") as raw:
        mark = raw.read(3)
    encoding = "utf-16" if mark[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with source.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
        reader = csv.DictReader(line.replace("\0", "") for line in lines)
        _require_columns(source, reader.fieldnames or ())
        names = {name.strip().lower(): name for name in reader.fieldnames or ()}
        try:
            for row, record in enumerate(reader, start=1):
                yield row, record[names["note_id"]], record[names["text"]]
        except csv.Error as error:
            raise InputError(
                f"IN: {source.name} is not valid CSV at line {reader.line_num}: {error}."
            ) from error


def _read_jsonl(source: Path) -> Iterator[tuple[int, Any, Any]]:
    with source.open("rb") as lines:
        for row, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig", errors="surrogateescape"))
            except (json.JSONDecodeError, RecursionError):
                yield row, f"row {row}", _Malformed()
                continue
            if not isinstance(record, dict):
                yield row, f"row {row}", _Malformed()
                continue
            if row == 1:
                _require_columns(source, tuple(record))
            yield row, record.get("note_id"), record.get("text")


class _Malformed:
    """Stands for a line that is no JSON object."""


def _read_parquet(source: Path) -> Iterator[tuple[int, Any, Any]]:
    try:
        file = pq.ParquetFile(source, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"IN: {source.name} is not a Parquet file: {type(error).__name__}."
        ) from error
    with file:
        _require_columns(source, tuple(file.schema_arrow.names))
        row = 0
        for batch in _parquet_batches(source, file):
            ids, texts = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            if batch.schema.names[0] != "note_id":
                ids, texts = texts, ids
            for note_id, text in zip(ids, texts, strict=True):
                row += 1
                yield row, note_id, text


def _parquet_batches(source: Path, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=_PARQUET_ROWS, columns=list(_COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"IN: {source.name} is damaged: {type(error).__name__}.") from error


def _require_columns(source: Path, present: Sequence[str]) -> None:
    known = {name.strip().lower() for name in present if name}
    missing = [name for name in _COLUMNS if name not in known]
    if missing:
        raise InputError(
            f"IN: {source.name} lacks the column {' and '.join(missing)}; it has "
            f"{len(known)} columns. Rename them so that note_id and text are there."
        )
