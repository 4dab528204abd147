"""Notes to mentions: the only stage that reads note text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nlp_labeling.definition import Definition, Definitions
from nlp_labeling.mentions import Mention
from nlp_labeling.note_files import label_texts
from nlp_labeling.rule import definition_hash
from warehouse_schema.errors import WarehouseError
from warehouse_schema.manifest import configuration_hash, list_versions
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.records import NOTES
from warehouse_schema.tables.runs import LINEAGE

STAGE = "mine"
BATCH_NOTES = 5_000
_STATUS_ORDER = {"preliminary": 0, "final": 1, "amended": 2}
_COPIED = (
    *("note_id", "patient_id", "encounter_id", "accession_id", "note_type"),
    *("note_datetime", "is_synthetic"),
)
_IDENTITY = ("note_id", "text_sha256")
_HEADS = [name for name in NOTES.schema.names if name != "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSummary:
    """Counts of one run.

    A superseded note is an older version of a document; a note that is not read has the text it had
    when these rules last read it. ``is_unchanged``: nothing was written.
    """

    n_notes: int
    n_superseded: int
    n_read: int
    n_mentions: int
    is_unchanged: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    """Mentions of all notes, sorted by id; how many of the notes had to be read."""

    mentions: pa.Table
    n_notes: int
    n_superseded: int
    n_read: int
    has_earlier: bool


def mine_mentions(
    *, store: Store, definitions: Definitions, progress: Progress = SILENT
) -> MiningSummary:
    """Bring ``note_mentions`` up to date with the latest version of every note.

    Only notes are read whose text, rules or reading code changed since the last run; the result is
    that of reading all.
    """
    manifest = store.manifest()
    reading = _read_notes(store, definitions, progress)
    is_unchanged = (
        reading.has_earlier
        and reading.n_read == 0
        and store.read(NOTE_MENTIONS).equals(reading.mentions)
    )
    if not is_unchanged:
        with store.commit(stage=STAGE, configuration=_configuration(definitions)) as commit:
            commit.uses(NOTES, at=manifest.version)
            commit.replace(NOTE_MENTIONS, reading.mentions)
    return MiningSummary(
        n_notes=reading.n_notes,
        n_superseded=reading.n_superseded,
        n_read=reading.n_read,
        n_mentions=reading.mentions.num_rows,
        is_unchanged=is_unchanged,
    )


def read_mentions(
    *, store: Store, definitions: Definitions, progress: Progress = SILENT
) -> pa.Table:
    """Rows of ``note_mentions`` as the installed rules find them; nothing is written."""
    return _read_notes(store, definitions, progress).mentions


def _read_notes(store: Store, definitions: Definitions, progress: Progress) -> _Reading:
    heads = store.read(NOTES, columns=_HEADS)
    latest = latest_notes(heads)
    earlier = earlier_mentions(store, _configuration(definitions))
    texts_read, known = ({}, NOTE_MENTIONS.schema.empty_table()) if earlier is None else earlier
    pairs = zip(*(latest.column(name).to_pylist() for name in _IDENTITY), strict=True)
    is_read = pa.array([texts_read.get(note_id) == sha256 for note_id, sha256 in pairs], pa.bool_())
    stale = latest.filter(pc.invert(is_read))
    fresh = _mine(store, stale, definitions, progress)
    kept = _with_heads(known, latest.filter(is_read))
    mentions = pa.concat_tables([kept, fresh]).sort_by("mention_id").combine_chunks()
    return _Reading(
        mentions=mentions,
        n_notes=latest.num_rows,
        n_superseded=heads.num_rows - latest.num_rows,
        n_read=stale.num_rows,
        has_earlier=earlier is not None,
    )


def earlier_mentions(
    store: Store, configuration: Mapping[str, object]
) -> tuple[dict[str, str], pa.Table] | None:
    """What the last run read with the same rules and code: SHA-256 by note, and its mentions.

    None where there is no such run, or its tables are gone.
    """
    versions = reversed(list_versions(store.home.warehouse))
    manifest = next((m for m in map(store.manifest, versions) if m.stage == STAGE), None)
    if manifest is None or manifest.configuration_hash != configuration_hash(configuration):
        return None
    notes = manifest.tables.get(NOTES.name)
    where = {"commit_version": manifest.version, "input_table": NOTES.name}
    lineage = store.read(LINEAGE, columns=["input_version"], where=where, at=manifest.version)
    read_version = lineage.column("input_version").to_pylist()
    # Another writer may have renewed the notes between the reading and its commit.
    if notes is None or read_version != [notes.delta_version]:
        return None
    try:
        heads = latest_notes(store.read(NOTES, columns=_HEADS, at=manifest.version))
        mentions = store.read(NOTE_MENTIONS, at=manifest.version)
    except WarehouseError:
        return None
    columns = (heads.column(name).to_pylist() for name in _IDENTITY)
    return dict(zip(*columns, strict=True)), mentions


def _mine(store: Store, stale: pa.Table, definitions: Definitions, progress: Progress) -> pa.Table:
    """Mentions of some notes, read in batches; ``stale`` and the store sort by note_id."""
    progress.start("mine", stale.num_rows)
    tables = [NOTE_MENTIONS.schema.empty_table()]
    if stale.num_rows:
        wanted = stale.column("note_id").to_pylist()
        texts = store.read(NOTES, columns=["note_id", "text"], where={"note_id": wanted})
        whole = stale.append_column("text", texts.column("text"))
        for batch in whole.combine_chunks().to_batches(max_chunksize=BATCH_NOTES):
            rows = mention_rows(batch, definitions, progress)
            tables.append(pa.Table.from_pylist(rows, schema=NOTE_MENTIONS.schema))
    progress.finish()
    return pa.concat_tables(tables)


def _with_heads(mentions: pa.Table, heads: pa.Table) -> pa.Table:
    """The mentions of some notes, with what the notes say now about type, date and encounter."""
    place = pc.index_in(mentions.column("note_id"), value_set=heads.column("note_id"))
    kept = mentions.filter(pc.is_valid(place))
    current = heads.take(place.drop_null())
    columns = [
        current.column(name) if name in _COPIED else kept.column(name)
        for name in NOTE_MENTIONS.schema.names
    ]
    return pa.table(columns, schema=NOTE_MENTIONS.schema)


def _configuration(definitions: Sequence[Definition]) -> dict[str, object]:
    """All that decides what is read out of a text."""
    return {
        "definition_hash": definition_hash(),
        "findings": _names(definitions),
        "code_hash": labelling_code_hash(),
    }


@cache
def labelling_code_hash() -> str:
    """SHA-256 over this package's modules: other code may read a text differently."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


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
    heads = notes.select(list(_COPIED)).to_pylist()
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
