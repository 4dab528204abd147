"""Notes to mentions: the only stage that reads note text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nlp_labeling.definition import Definition, Definitions
from nlp_labeling.mentions import Mention
from nlp_labeling.note_files import label_texts
from nlp_labeling.rule import definition_hash
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.records import NOTES

BATCH_NOTES = 5_000
_STATUS_ORDER = {"preliminary": 0, "final": 1, "amended": 2}
_NOTE_COLUMNS = ["note_id", "patient_id", "encounter_id", "accession_id", "note_type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSummary:
    """Counts of one run; a superseded note is an older version of a document."""

    n_notes: int
    n_superseded: int
    n_mentions: int
    is_unchanged: bool = False


def mine_mentions(
    *, store: Store, definitions: Definitions, progress: Progress = SILENT
) -> MiningSummary:
    """Read the latest version of every note and replace ``note_mentions``."""
    manifest = store.manifest()
    notes = store.read(NOTES)
    latest = latest_notes(notes)
    progress.start("mine", latest.num_rows)
    batches = [
        mention_rows(batch, definitions, progress)
        for batch in latest.to_batches(max_chunksize=BATCH_NOTES)
    ]
    progress.finish()
    rows = pa.Table.from_pylist(
        [row for batch in batches for row in batch], schema=NOTE_MENTIONS.schema
    )
    configuration = {"definition_hash": definition_hash(), "findings": _names(definitions)}
    with store.commit(stage="mine", configuration=configuration) as commit:
        commit.uses(NOTES, at=manifest.version)
        commit.replace(NOTE_MENTIONS, rows)
    return MiningSummary(
        n_notes=latest.num_rows,
        n_superseded=notes.num_rows - latest.num_rows,
        n_mentions=rows.num_rows,
    )


def latest_notes(notes: pa.Table) -> pa.Table:
    """The version of each document that counts: the highest, signed before preliminary.

    A document whose latest version is retracted says nothing.
    """
    best: dict[tuple[str, str], tuple[tuple[int, int, str], int]] = {}
    columns = ["source", "note_series_id", "note_version", "status", "note_id"]
    rows = zip(*(notes.column(name).to_pylist() for name in columns), strict=True)
    retracted: set[int] = set()
    for index, (source, series, version, status, note_id) in enumerate(rows):
        if status == "retracted":
            retracted.add(index)
        rank = (version, _STATUS_ORDER.get(status, 1), note_id)
        known = best.get((source, series))
        if known is None or rank > known[0]:
            best[source, series] = (rank, index)
    keep = sorted(index for _, index in best.values() if index not in retracted)
    return notes.take(pa.array(keep, pa.int64()))


def mention_rows(
    notes: pa.RecordBatch, definitions: Sequence[Definition], progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Rows of ``note_mentions`` for a batch of ``notes``."""
    version = definition_hash()
    found = label_texts(notes.column("text").to_pylist(), _names(definitions))
    heads = notes.select([*_NOTE_COLUMNS, "note_datetime", "is_synthetic"]).to_pylist()
    rows: list[dict[str, Any]] = []
    for head, mentions in zip(heads, found, strict=True):
        for order, mention in enumerate(mentions or ()):
            rows.append({**head, **_row(head["note_id"], order, mention, version)})
    progress.advance(notes.num_rows, mentions=float(len(rows)))
    return rows


def _row(note_id: str, order: int, mention: Mention, version: str) -> dict[str, Any]:
    has_cue = mention.cue_start >= 0
    has_scope = mention.scope_start >= 0
    displaced = {"displaced": True, "nondisplaced": False}
    key = f"{note_id}|{mention.finding}|{mention.start}|{mention.end}|{order}"
    return {
        "mention_id": hashlib.sha256(key.encode()).hexdigest()[:32],
        "finding": mention.finding,
        "section": mention.section,
        "start_char": mention.start,
        "end_char": mention.end,
        "cue_start_char": mention.cue_start if has_cue else None,
        "cue_end_char": mention.cue_end if has_cue else None,
        "scope_start_char": mention.scope_start if has_scope else None,
        "scope_end_char": mention.scope_end if has_scope else None,
        "assertion": mention.assertion,
        "temporality": mention.temporality,
        "experiencer": mention.experiencer,
        "is_hypothetical": mention.is_hypothetical,
        "acuity": mention.acuity,
        "laterality": None if mention.laterality == "unknown" else mention.laterality,
        "is_displaced": displaced.get(mention.displacement),
        "rib_numbers": list(mention.rib_numbers) or None,
        "rule_id": mention.rule_id,
        "cue_rule_id": mention.cue_rule_id or None,
        "edit": mention.edit or None,
        "definition_hash": version,
    }


def _names(definitions: Sequence[Definition]) -> tuple[str, ...]:
    return tuple(definition.name for definition in definitions)
