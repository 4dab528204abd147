"""The labeler on a file: csv, jsonl or parquet with note_id and text in, mentions out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nlp_labeling.definition import Definitions, load_definitions
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mentions import Mention, labeler
from nlp_labeling.note_summary import NOT_MENTIONED, is_counted, summarize_note
from nlp_labeling.note_text import decode_bytes
from warehouse_schema.errors import ArgumentError, InputError

FORMATS = (".csv", ".jsonl", ".parquet")
BATCH_ROWS = 20_000
_COLUMNS = ("note_id", "text")
_LARGE_CELL = 1 << 30

MENTION_SCHEMA = pa.schema(
    [
        ("note_id", pa.string()),
        ("finding", pa.string()),
        ("assertion", pa.string()),
        ("acuity", pa.string()),
        ("temporality", pa.string()),
        ("experiencer", pa.string()),
        ("is_hypothetical", pa.bool_()),
        ("is_counted", pa.bool_()),
        ("section", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("laterality", pa.string()),
        ("rib_numbers", pa.string()),
        ("displacement", pa.string()),
        ("cue_start", pa.int64()),
        ("cue_end", pa.int64()),
        ("scope_start", pa.int64()),
        ("scope_end", pa.int64()),
        ("edit", pa.string()),
        ("rule_ids", pa.string()),
    ]
)
SUMMARY_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("note_id", "finding", "assertion", "acuity")]
)
QUARANTINE_SCHEMA = pa.schema(
    [("row", pa.int64()), ("note_id", pa.string()), ("reason", pa.string())]
)


@dataclass(kw_only=True)
class LabelingReport:
    """Counts of one run; ``quarantined`` maps a reason to its number of rows."""

    n_notes: int = 0
    n_keyword_notes: int = 0
    n_mentions: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    encodings: Counter[str] = field(default_factory=Counter)
    quarantine_path: Path | None = None


@dataclass(frozen=True, slots=True)
class _Note:
    row: int
    note_id: str
    text: str
    reason: str = ""


def label_notes(
    input_path: Path | str,
    output_path: Path | str,
    summary_path: Path | str | None = None,
    *,
    definitions: Definitions | None = None,
    processes: int = 1,
) -> LabelingReport:
    """Label every note of a file.

    ``output_path`` gets one row per mention, ``summary_path`` one per note and finding with the
    assertion present, absent, uncertain or not_mentioned. Formats go by the suffix. Rows that hold
    no note are written to ``OUTPUT.quarantine.csv`` with their reason, and counted.

    Raises:
        InputError: the input is missing, empty, of another format, or lacks a column.
        ArgumentError: an output has an unknown suffix or would overwrite the input.
    """
    source, target = Path(input_path), Path(output_path)
    summary = None if summary_path is None else Path(summary_path)
    _check_paths(source, target, summary)
    chosen = load_definitions() if definitions is None else definitions
    labeler(chosen)
    names = chosen.findings
    report = LabelingReport()
    quarantined: list[_Note] = []
    seen: set[str] = set()
    with (
        _Writer(target, MENTION_SCHEMA) as mention_writer,
        _Writer(summary, SUMMARY_SCHEMA) as summary_writer,
    ):
        batches = _checked_batches(source, report, quarantined, seen)
        for notes, found in _label_batches(batches, chosen, processes):
            report.n_notes += len(notes)
            report.n_keyword_notes += sum(mentions is not None for mentions in found)
            rows, verdicts = _rows(notes, found, names)
            report.n_mentions += len(rows)
            mention_writer.write(rows)
            summary_writer.write(verdicts)
    if quarantined:
        report.quarantine_path = target.with_name(target.name + ".quarantine.csv")
        with _Writer(report.quarantine_path, QUARANTINE_SCHEMA) as writer:
            writer.write(
                [{"row": n.row, "note_id": n.note_id, "reason": n.reason} for n in quarantined]
            )
    return report


def label_texts(
    texts: Sequence[str], definitions: Definitions | None = None
) -> list[list[Mention] | None]:
    """The mentions of each text; None where the keyword prefilter already rules the note out."""
    labels = labeler(definitions)
    pattern = keyword_pattern(labels.definitions)
    column = pa.array(texts, pa.large_string())
    hits = pc.match_substring_regex(column, pattern).to_pylist()
    return [labels.mentions(text) if hit else None for text, hit in zip(texts, hits, strict=True)]


def _label_batches(
    batches: Iterable[list[_Note]], definitions: Definitions, processes: int
) -> Iterator[tuple[list[_Note], list[list[Mention] | None]]]:
    if processes <= 1:
        for notes in batches:
            yield notes, label_texts([note.text for note in notes], definitions)
        return
    with ProcessPoolExecutor(processes) as pool:
        pending: list[tuple[list[_Note], Any]] = []
        for notes in batches:
            pending.append((notes, pool.submit(label_texts, [n.text for n in notes], definitions)))
            if len(pending) > 2 * processes:
                first, future = pending.pop(0)
                yield first, future.result()
        for notes, future in pending:
            yield notes, future.result()


def _rows(
    notes: Sequence[_Note], found: Sequence[list[Mention] | None], findings: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    rows: list[dict[str, Any]] = []
    verdicts: list[dict[str, str]] = []
    for note, mentions in zip(notes, found, strict=True):
        rows.extend(mention_row(note.note_id, mention) for mention in mentions or ())
        if not mentions:
            verdicts.extend(
                {
                    "note_id": note.note_id,
                    "finding": finding,
                    "assertion": NOT_MENTIONED,
                    "acuity": "unknown",
                }
                for finding in findings
            )
            continue
        verdicts.extend(
            {
                "note_id": note.note_id,
                "finding": verdict.finding,
                "assertion": verdict.assertion,
                "acuity": verdict.acuity,
            }
            for verdict in summarize_note([asdict(mention) for mention in mentions], findings)
        )
    return rows, verdicts


def mention_row(note_id: str, mention: Mention) -> dict[str, Any]:
    """A mention as a row of ``MENTION_SCHEMA``; lists become comma-separated strings."""
    return {
        "note_id": note_id,
        "finding": mention.finding,
        "assertion": mention.assertion,
        "acuity": mention.acuity,
        "temporality": mention.temporality,
        "experiencer": mention.experiencer,
        "is_hypothetical": mention.is_hypothetical,
        "is_counted": is_counted(asdict(mention)),
        "section": mention.section,
        "start": mention.start,
        "end": mention.end,
        "laterality": mention.laterality,
        "rib_numbers": ",".join(str(number) for number in mention.rib_numbers),
        "displacement": mention.displacement,
        "cue_start": mention.cue_start,
        "cue_end": mention.cue_end,
        "scope_start": mention.scope_start,
        "scope_end": mention.scope_end,
        "edit": mention.edit,
        "rule_ids": ",".join(mention.rule_ids),
    }


def _check_paths(source: Path, target: Path, summary: Path | None) -> None:
    allowed = ", ".join(FORMATS)
    if not source.is_file():
        raise InputError(f"IN: there is no file {source.name}; give a {allowed} file of notes.")
    if source.suffix.lower() not in FORMATS:
        raise InputError(
            f"IN: {source.suffix or source.name!r} is not a known format; use {allowed}."
        )
    for name, path in (("OUT", target), ("--summary", summary)):
        if path is None:
            continue
        if path.suffix.lower() not in FORMATS:
            raise ArgumentError(f"{name}: {path.suffix!r} is not a known format; use {allowed}.")
        if path.resolve() == source.resolve():
            raise ArgumentError(f"{name} would overwrite IN; choose another file.")
        if not path.parent.is_dir():
            raise ArgumentError(
                f"{name}: its folder {path.parent.name!r} does not exist; make it first."
            )
    if summary is not None and summary.resolve() == target.resolve():
        raise ArgumentError("--summary and OUT are the same file; choose another for one of them.")


def _checked_batches(
    source: Path, report: LabelingReport, quarantined: list[_Note], seen: set[str]
) -> Iterator[list[_Note]]:
    batch: list[_Note] = []
    size = 0
    for row, note_id, value in _read(source):
        note = _note(row, note_id, value, report, seen)
        if note.reason:
            report.quarantined[note.reason] += 1
            quarantined.append(note)
            continue
        seen.add(note.note_id)
        batch.append(note)
        size += len(note.text)
        if len(batch) >= BATCH_ROWS or size > 64_000_000:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _note(row: int, note_id: Any, value: Any, report: LabelingReport, seen: set[str]) -> _Note:
    name = "" if note_id is None else str(note_id)
    if not name.strip():
        return _Note(row, name, "", "note_id is missing")
    if name in seen:
        return _Note(row, name, "", "note_id occurs twice")
    if value is None:
        return _Note(row, name, "", "text is missing")
    if isinstance(value, bytes):
        value, encoding = decode_bytes(value)
    elif isinstance(value, str):
        value, encoding = _repaired(value)
    else:
        return _Note(row, name, "", f"text is {type(value).__name__}, not text")
    report.encodings[encoding] += 1
    if "\0" in value[:1000] and value[:1000].count("\0") > len(value[:1000]) // 8:
        return _Note(row, name, "", "text is binary data")
    return _Note(row, name, value)


def _repaired(value: str) -> tuple[str, str]:
    """Undo the escapes that stand for bytes which were not UTF-8."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return decode_bytes(value.encode("utf-8", errors="surrogateescape"))
    return value, "utf-8"


def _read(source: Path) -> Iterator[tuple[int, Any, Any]]:
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
        file = pq.ParquetFile(source)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"IN: {source.name} is not a Parquet file: {type(error).__name__}."
        ) from error
    with file:
        _require_columns(source, tuple(file.schema_arrow.names))
        row = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(_COLUMNS)):
            ids, texts = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            if batch.schema.names[0] != "note_id":
                ids, texts = texts, ids
            for note_id, text in zip(ids, texts, strict=True):
                row += 1
                yield row, note_id, text


def _require_columns(source: Path, present: Sequence[str]) -> None:
    known = {name.strip().lower() for name in present if name}
    missing = [name for name in _COLUMNS if name not in known]
    if missing:
        raise InputError(
            f"IN: {source.name} lacks the column {' and '.join(missing)}; it has "
            f"{len(known)} columns. Rename them so that note_id and text are there."
        )


class _Writer:
    """Writes rows to csv, jsonl or parquet; the file appears under its name when complete."""

    def __init__(self, path: Path | None, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._partial = None if path is None else path.with_name(path.name + ".partial")
        self._sink: Any = None

    def __enter__(self) -> _Writer:
        if self._path is None or self._partial is None:
            return self
        suffix = self._path.suffix.lower()
        if suffix == ".csv":
            self._sink = pa_csv.CSVWriter(str(self._partial), self._schema)
        elif suffix == ".parquet":
            self._sink = pq.ParquetWriter(str(self._partial), self._schema)
        else:
            self._sink = self._partial.open("w", encoding="utf-8")
        return self

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows."""
        if self._sink is None or not rows:
            return
        if isinstance(self._sink, io.TextIOBase):
            self._sink.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            self._sink.write_table(pa.Table.from_pylist(list(rows), schema=self._schema))

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._sink is None or self._partial is None or self._path is None:
            return
        self._sink.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)
