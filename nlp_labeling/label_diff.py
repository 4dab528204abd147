"""Two states of the labels compared: which images flipped, which way, and by which evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from nlp_labeling.definition import Definitions
from nlp_labeling.image_labels import preview_labels
from nlp_labeling.label_assignment import Labels
from nlp_labeling.label_changes import Flip, label_flips
from nlp_labeling.mining import read_mentions
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE, NOTE_MENTIONS
from warehouse_schema.tables.records import DIAGNOSES

_TEXT_COLUMNS = (
    *("image_id", "finding", "old_label", "new_label", "old_reason", "new_reason", "cause"),
    *("change", "evidence_type", "source", "old_polarity", "new_polarity"),
    *("old_rule_id", "new_rule_id", "why"),
)
DIFF_SCHEMA = pa.schema([(name, pa.string()) for name in _TEXT_COLUMNS])


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChange:
    """A code row or note mention that came, went, or speaks otherwise than before.

    Attributes:
        change: added, removed or changed.
        evidence_type: As in ``label_evidence``.
        source: The code, or the note with the mention's place; never text.
        old_polarity: What it said before; None if added.
        new_polarity: What it says now; None if removed.
        old_rule_id: Rule that decided before.
        new_rule_id: Rule that decides now.
        why: The reason of its polarity now (before, if removed).
    """

    change: str
    evidence_type: str
    source: str
    old_polarity: str | None
    new_polarity: str | None
    old_rule_id: str | None
    new_rule_id: str | None
    why: str


@dataclass(frozen=True, slots=True)
class FlipTold:
    """A flipped label and the sources that changed; none where a link, rule row or clock did."""

    flip: Flip
    sources: tuple[SourceChange, ...]


@dataclass(frozen=True, slots=True)
class LabelDiff:
    """What differs between two states of the labels.

    Attributes:
        flips: Flipped labels, by image and finding.
        n_compared: Images and findings labelled in either state.
    """

    flips: tuple[FlipTold, ...]
    n_compared: int

    @property
    def directions(self) -> Mapping[tuple[str, str | None, str | None, str], int]:
        """Number of flips by finding, label before, label now and cause."""
        return Counter(
            (told.flip.finding, told.flip.old_label, told.flip.new_label, told.flip.cause)
            for told in self.flips
        )

    def table(self) -> pa.Table:
        """One row per flip and changed source; a flip without one has a row of its own."""
        rows = []
        for told in self.flips:
            flip = told.flip
            head = {
                "image_id": flip.image_id,
                "finding": flip.finding,
                "old_label": flip.old_label,
                "new_label": flip.new_label,
                "old_reason": None if flip.was is None else flip.was["reason"],
                "new_reason": None if flip.now is None else flip.now["reason"],
                "cause": flip.cause,
            }
            for source in told.sources or (None,):
                tail = {
                    name: None if source is None else getattr(source, name)
                    for name in _TEXT_COLUMNS[len(head) :]
                }
                rows.append({**head, **tail})
        return pa.Table.from_pylist(rows, schema=DIFF_SCHEMA)


def diff_labels(*, store: Store, before: str | int, after: str | int | None) -> LabelDiff:
    """The labels of two published versions compared.

    Args:
        store: The store.
        before: Manifest version or time.
        after: Manifest version or time; None is the newest.

    Raises:
        WarehouseError: There is no such version.
    """
    states = [
        Labels(
            store.read(LABEL_EVIDENCE, at=at).to_pylist(),
            store.read(IMAGE_LABELS, at=at).to_pylist(),
        )
        for at in (before, after)
    ]
    flips = label_flips(old=states[0], new=states[1])
    names = _Names()
    for at, evidence in (
        (after, [row for flip in flips for row in flip.evidence_after]),
        (before, [row for flip in flips for row in flip.evidence_before]),
    ):
        names.add(DIAGNOSES.name, _wanted(store, DIAGNOSES, "diagnosis_id", evidence, at))
        names.add(NOTE_MENTIONS.name, _wanted(store, NOTE_MENTIONS, "mention_id", evidence, at))
    return _told(flips, names, states[0], states[1])


def preview_diff(
    *,
    store: Store,
    definitions: Definitions,
    as_of_datetime: datetime,
    progress: Progress = SILENT,
) -> LabelDiff:
    """What mining and labelling with the installed rules would flip; nothing is written.

    Links are those in the warehouse.
    """
    mentions = read_mentions(store=store, definitions=definitions, progress=progress)
    old, new = preview_labels(
        store=store,
        definitions=definitions,
        as_of_datetime=as_of_datetime,
        mentions=mentions,
        progress=progress,
    )
    flips = label_flips(old=old, new=new)
    names = _Names()
    names.add(NOTE_MENTIONS.name, mentions.to_pylist())
    evidence = [row for flip in flips for row in (*flip.evidence_before, *flip.evidence_after)]
    names.add(DIAGNOSES.name, _wanted(store, DIAGNOSES, "diagnosis_id", evidence, None))
    names.add(NOTE_MENTIONS.name, _wanted(store, NOTE_MENTIONS, "mention_id", evidence, None))
    return _told(flips, names, old, new)


class _Names:
    """What diagnoses and mentions are called; the first row given for an id counts."""

    def __init__(self) -> None:
        self._by_id: dict[str, str] = {}

    def add(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of ``diagnoses`` or ``note_mentions``."""
        for row in rows:
            if table == DIAGNOSES.name:
                self._by_id.setdefault(
                    row["diagnosis_id"], f"{row['vocabulary']} {row['diagnosis_code']}"
                )
            else:
                self._by_id.setdefault(
                    row["mention_id"],
                    f"{row['note_type']} {row['note_id']}, characters {row['start_char']} to "
                    f"{row['end_char']}",
                )

    def of(self, evidence: Mapping[str, Any]) -> str:
        """The name of an evidence row's source."""
        key = evidence["diagnosis_id"] or evidence["mention_id"] or ""
        return self._by_id.get(key, key)


def _told(flips: Sequence[Flip], names: _Names, old: Labels, new: Labels) -> LabelDiff:
    keys = {(row["image_id"], row["finding"]) for row in (*old.labels, *new.labels)}
    return LabelDiff(tuple(FlipTold(flip, _sources(flip, names)) for flip in flips), len(keys))


def _sources(flip: Flip, names: _Names) -> tuple[SourceChange, ...]:
    before = {row["evidence_id"]: row for row in flip.evidence_before}
    after = {row["evidence_id"]: row for row in flip.evidence_after}
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and was["polarity"] == now["polarity"]:
            continue
        row = now or was or {}
        changes.append(
            SourceChange(
                change="added" if was is None else "removed" if now is None else "changed",
                evidence_type=row["evidence_type"],
                source=names.of(row),
                old_polarity=was["polarity"] if was else None,
                new_polarity=now["polarity"] if now else None,
                old_rule_id=was["rule_id"] if was else None,
                new_rule_id=now["rule_id"] if now else None,
                why=row["reason"],
            )
        )
    return tuple(changes)


def _wanted(
    store: Store,
    table: Table,
    key: str,
    evidence: Sequence[Mapping[str, Any]],
    at: str | int | None,
) -> list[dict[str, Any]]:
    ids = sorted({row[key] for row in evidence if row[key] is not None})
    return list(store.read(table, where={key: ids}, at=at).to_pylist()) if ids else []
