"""The labeler on a file: csv, jsonl or parquet with note_id and text in, mentions out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from nlp_labeling.definition import Definitions, load_definitions
from nlp_labeling.mention import Mention
from nlp_labeling.mentions import labeler
from nlp_labeling.note_source import Note, NoteSource
from nlp_labeling.note_summary import NOT_MENTIONED, is_counted, summarize_note
from nlp_labeling.row_writer import RowWriter
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.progress import SILENT, Progress

FORMATS = (".csv", ".jsonl", ".parquet")
_FIELDS = tuple(field.name for field in fields(Mention))
_values = attrgetter(*_FIELDS)

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


def label_notes(
    input_path: Path | str,
    output_path: Path | str,
    summary_path: Path | str | None = None,
    *,
    definitions: Definitions | None = None,
    processes: int = 1,
    progress: Progress = SILENT,
) -> LabelingReport:
    """Label every note of a file; memory does not grow with it.

    ``output_path`` gets one row per mention, ``summary_path`` one per note and finding with the
    assertion present, absent, uncertain or not_mentioned. Formats go by the suffix. Rows that hold
    no note are written to ``OUTPUT.quarantine.csv`` with their reason, and counted. All files
    appear when the last note is read, or none.

    Raises:
        InputError: the input is missing, empty, damaged, of another format, or lacks a column.
        ArgumentError: an output has an unknown suffix, would overwrite the input, or cannot be
            written.
    """
    source, target = Path(input_path), Path(output_path)
    summary = None if summary_path is None else Path(summary_path)
    _check_paths(source, target, summary)
    chosen = load_definitions() if definitions is None else definitions
    labeler(chosen)
    report = LabelingReport()
    quarantine = target.with_name(target.name + ".quarantine.csv")
    with (
        RowWriter(target, MENTION_SCHEMA) as mention_writer,
        RowWriter(summary, SUMMARY_SCHEMA) as summary_writer,
        RowWriter(quarantine, QUARANTINE_SCHEMA, is_lazy=True) as bad_writer,
    ):
        notes_in = NoteSource(source, lambda bad: bad_writer.write(_quarantine_rows(bad)))
        for batch in _labelled_batches(notes_in.batches(), chosen, processes):
            report.n_notes += batch.n_notes
            report.n_keyword_notes += batch.n_keyword_notes
            report.n_mentions += batch.mentions.num_rows
            mention_writer.write(batch.mentions)
            summary_writer.write(batch.verdicts)
            progress.advance(batch.n_notes, mentions=float(report.n_mentions))
        for writer in (mention_writer, summary_writer, bad_writer):
            writer.finish()
    report.quarantined, report.encodings = notes_in.quarantined, notes_in.encodings
    if bad_writer.n_rows:
        report.quarantine_path = quarantine
    else:
        quarantine.unlink(missing_ok=True)
    return report


def label_texts(
    texts: Sequence[str], definitions: Definitions | None = None
) -> list[list[Mention] | None]:
    """The mentions of each text; None where the keyword prefilter already rules the note out."""
    labels = labeler(definitions)
    column = pa.array(texts, pa.large_string())
    hits = pc.match_substring_regex(column, labels.keyword_pattern).to_pylist()
    told = iter(labels.mentions_of([text for text, hit in zip(texts, hits, strict=True) if hit]))
    return [next(told) if hit else None for hit in hits]


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a worker hands back: tables, which pass between processes as they lie in memory."""

    n_notes: int
    n_keyword_notes: int
    mentions: pa.Table
    verdicts: pa.Table


class _Worker:
    """A process of the pool: it is given the definitions once, not with every batch."""

    definitions: ClassVar[Definitions]

    @classmethod
    def start(cls, definitions: Definitions) -> None:
        cls.definitions = definitions

    @classmethod
    def label(cls, notes: Sequence[Note]) -> _Batch:
        return _label_batch(notes, cls.definitions)


def _labelled_batches(
    batches: Iterable[list[Note]], definitions: Definitions, processes: int
) -> Iterator[_Batch]:
    if processes <= 1:
        for notes in batches:
            yield _label_batch(notes, definitions)
        return
    with ProcessPoolExecutor(processes, initializer=_Worker.start, initargs=(definitions,)) as pool:
        pending: deque[Future[_Batch]] = deque()
        for notes in batches:
            pending.append(pool.submit(_Worker.label, notes))
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _label_batch(notes: Sequence[Note], definitions: Definitions) -> _Batch:
    found = label_texts([note.text for note in notes], definitions)
    rows: list[dict[str, Any]] = []
    verdicts: list[dict[str, str]] = []
    for note, mentions in zip(notes, found, strict=True):
        told = [dict(zip(_FIELDS, _values(mention), strict=True)) for mention in mentions or ()]
        rows.extend(_mention_row(note.note_id, mention) for mention in told)
        verdicts.extend(_verdict_rows(note.note_id, told, definitions.findings))
    n_keyword_notes = sum(mentions is not None for mentions in found)
    return _Batch(
        len(notes),
        n_keyword_notes,
        pa.Table.from_pylist(rows, schema=MENTION_SCHEMA),
        pa.Table.from_pylist(verdicts, schema=SUMMARY_SCHEMA),
    )


def _verdict_rows(
    note_id: str, mentions: Sequence[dict[str, Any]], findings: Sequence[str]
) -> Iterator[dict[str, str]]:
    if not mentions:
        for finding in findings:
            yield {
                "note_id": note_id,
                "finding": finding,
                "assertion": NOT_MENTIONED,
                "acuity": "unknown",
            }
        return
    for verdict in summarize_note(mentions, findings):
        yield {
            "note_id": note_id,
            "finding": verdict.finding,
            "assertion": verdict.assertion,
            "acuity": verdict.acuity,
        }


def _mention_row(note_id: str, mention: Mapping[str, Any]) -> dict[str, Any]:
    """A mention as a row of ``MENTION_SCHEMA``; lists become comma-separated strings."""
    row = {name: mention.get(name) for name in MENTION_SCHEMA.names}
    return row | {
        "note_id": note_id,
        "is_counted": is_counted(mention),
        "rib_numbers": ",".join(str(number) for number in mention["rib_numbers"]),
        "rule_ids": ",".join(mention["rule_ids"]),
    }


def _quarantine_rows(notes: Sequence[Note]) -> pa.Table:
    rows = [{"row": one.row, "note_id": one.note_id, "reason": one.reason} for one in notes]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)


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
