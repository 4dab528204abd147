"""Notes to mentions: the only stage that reads note text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nlp_labeling.definition import Definitions
from nlp_labeling.mention import Mention
from nlp_labeling.note_files import label_texts
from warehouse_schema.code_version import code_hash
from warehouse_schema.errors import WarehouseError
from warehouse_schema.manifest import Manifest
from warehouse_schema.previous_run import changed_values, previous_run
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.records import NOTES

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

    Notes that are not read have the text they had when these rules last read them, or are older
    versions of a document. ``is_unchanged``: nothing was written.
    """

    n_notes: int
    n_read: int
    n_mentions: int
    is_unchanged: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    """Mentions of some notes, and how many of these had to be read.

    ``note_ids``: the notes, older versions and lost ones included; None stands for all notes.
    """

    mentions: pa.Table
    note_ids: pa.Array | None
    n_read: int


@dataclass(frozen=True, slots=True)
class _Changed:
    """Documents that differ from what the previous run had read: their notes then and now."""

    old_heads: pa.Table
    heads: pa.Table

    @property
    def note_ids(self) -> pa.Array:
        """Every note of these documents."""
        both = pa.concat_tables([self.old_heads, self.heads]).column("note_id")
        return both.unique()


def mine_mentions(
    *, store: Store, definitions: Definitions, progress: Progress = SILENT
) -> MiningSummary:
    """Bring ``note_mentions`` up to date with the latest version of every note.

    Only notes are read whose text, rules or reading code changed since the last run; the result is
    that of reading all.
    """
    manifest = store.manifest()
    reading = _read_notes(store, manifest, definitions, progress)
    is_unchanged = reading.note_ids is not None and not len(reading.note_ids)
    if not is_unchanged:
        where = None if reading.note_ids is None else {"note_id": reading.note_ids}
        with store.commit(
            stage=STAGE, configuration=labelling_configuration(definitions), is_recorded=True
        ) as commit:
            commit.uses(NOTES, at=manifest.version)
            commit.replace(NOTE_MENTIONS, reading.mentions, where=where)
    return MiningSummary(
        n_notes=_n_rows(manifest, NOTES),
        n_read=reading.n_read,
        n_mentions=_n_rows(store.manifest(), NOTE_MENTIONS),
        is_unchanged=is_unchanged,
    )


def read_mentions(
    *, store: Store, definitions: Definitions, progress: Progress = SILENT
) -> pa.Table:
    """Rows of ``note_mentions`` as the installed rules find them; nothing is written."""
    reading = _read_notes(store, store.manifest(), definitions, progress)
    if reading.note_ids is None:
        return reading.mentions
    current = store.read(NOTE_MENTIONS)
    is_kept = pc.invert(pc.is_in(current.column("note_id"), value_set=reading.note_ids))
    return pa.concat_tables([current.filter(is_kept), reading.mentions]).sort_by("mention_id")


def _read_notes(
    store: Store, manifest: Manifest, definitions: Definitions, progress: Progress
) -> _Reading:
    changed = _changed_documents(store, manifest, definitions)
    if changed is None:
        latest = latest_notes(store.read(NOTES, columns=_HEADS, at=manifest.version))
        mentions = _mine(store, manifest, latest, definitions, progress)
        return _Reading(mentions.sort_by("mention_id"), None, latest.num_rows)
    latest = latest_notes(changed.heads)
    texts_read = _texts(latest_notes(changed.old_heads))
    is_read = [texts_read.get(note_id) == sha256 for note_id, sha256 in _texts(latest).items()]
    stale = latest.filter(pc.invert(pa.array(is_read, pa.bool_())))
    known = store.read(NOTE_MENTIONS, where={"note_id": changed.note_ids}, at=manifest.version)
    kept = _with_heads(known, latest.filter(pa.array(is_read, pa.bool_())))
    fresh = _mine(store, manifest, stale, definitions, progress)
    return _Reading(pa.concat_tables([kept, fresh]), changed.note_ids, stale.num_rows)


def _changed_documents(
    store: Store, manifest: Manifest, definitions: Definitions
) -> _Changed | None:
    """None where everything must be read: other rules or code, or the last run's notes are gone."""
    previous = previous_run(store, STAGE, labelling_configuration(definitions))
    if previous is None:
        return None
    try:
        series = changed_values(
            store, NOTES, "note_series_id", since=previous, now=manifest, columns=_HEADS
        )
        where = {"note_series_id": series}
        old_heads = store.read_version(NOTES, previous.inputs[NOTES.name], _HEADS, where)
    except WarehouseError:
        return None
    return _Changed(old_heads, store.read(NOTES, columns=_HEADS, where=where, at=manifest.version))


def _texts(heads: pa.Table) -> dict[str, str]:
    """SHA-256 of the text by note."""
    return dict(zip(*(heads.column(name).to_pylist() for name in _IDENTITY), strict=True))


def _mine(
    store: Store,
    manifest: Manifest,
    stale: pa.Table,
    definitions: Definitions,
    progress: Progress,
) -> pa.Table:
    """Mentions of some notes, read in batches; ``stale`` and the store sort by note_id."""
    progress.start("mine", stale.num_rows)
    tables = [NOTE_MENTIONS.schema.empty_table()]
    if stale.num_rows:
        where = {"note_id": stale.column("note_id").combine_chunks()}
        texts = store.read(NOTES, columns=["note_id", "text"], where=where, at=manifest.version)
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


def labelling_configuration(definitions: Definitions) -> dict[str, object]:
    """All but the records that decides mentions and labels."""
    return {
        "definition_hash": definitions.definition_hash,
        "findings": definitions.findings,
        "code_hash": labelling_code_hash(),
    }


def labelling_code_hash() -> str:
    """SHA-256 over this package's modules: other code may read or weigh differently."""
    return code_hash(Path(__file__).parent)


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
    notes: pa.RecordBatch, definitions: Definitions, progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Rows of ``note_mentions`` for a batch of ``notes``."""
    version = definitions.definition_hash
    found = label_texts(notes.column("text").to_pylist(), definitions)
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


def _n_rows(manifest: Manifest, table: Table) -> int:
    version = manifest.tables.get(table.name)
    return 0 if version is None else version.n_rows
