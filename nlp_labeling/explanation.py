"""Why an image has its label, as data: codes, mentions, links and history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlp_labeling.combination import MEANINGS, RULE
from nlp_labeling.definition import Definitions
from nlp_labeling.link_reasoning import explain_links
from nlp_labeling.passage import Passage, cut_passage
from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import (
    IMAGE_LABELS,
    LABEL_CHANGES,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, NOTES

_ROWS = {reason: number for number, (reason, *_) in enumerate(RULE, start=1)}


@dataclass(frozen=True, slots=True)
class MentionTold:
    """A mention, its evidence row, and where text may be shown the passage around it."""

    evidence: Mapping[str, Any]
    mention: Mapping[str, Any]
    passage: Passage | None


@dataclass(frozen=True, slots=True)
class FindingTold:
    """One finding's label, evidence and history.

    Attributes:
        finding: Finding.
        label: Row of ``image_labels``.
        row_number: Row of the combination rule that decided, from 1; None for public labels.
        meaning: That row in a sentence; empty for public labels.
        sources: What each kind of source says: number of evidence rows by polarity.
        codes: Evidence rows that are codes, with their ``diagnoses`` row.
        mentions: Evidence rows that are mentions.
        changes: Rows of ``label_changes``, the oldest first.
    """

    finding: str
    label: Mapping[str, Any]
    row_number: int | None
    meaning: str
    sources: Mapping[str, Mapping[str, int]]
    codes: list[dict[str, Any]]
    mentions: list[MentionTold]
    changes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that led to the labels of one image.

    Attributes:
        image: Row of ``images``.
        links: Candidate encounters, the best first: rows of ``image_links`` with the encounter's
            class, start and end, and ``verdict``: why it was chosen or lost, in words.
        findings: One entry per finding.
        version: Manifest version explained.
        is_text_shown: True where passages of notes are included.
        current_hash: Hash of the definitions and rules in force.
        is_outdated: True where the labels were given by others.
    """

    image: Mapping[str, Any]
    links: list[dict[str, Any]]
    findings: list[FindingTold]
    version: int
    is_text_shown: bool
    current_hash: str
    is_outdated: bool

    @property
    def image_id(self) -> str:
        """The image."""
        return str(self.image["image_id"])

    @property
    def is_synthetic(self) -> bool:
        """True for SYNTHETIC data."""
        return bool(self.image["is_synthetic"])


def explain_image(
    *,
    store: Store,
    image_id: str,
    definitions: Definitions,
    with_text: bool = False,
    at: str | int | None = None,
) -> Explanation:
    """Everything that led to the labels of ``image_id``.

    Passages of notes are read from the restricted area ``with_text`` only, or where the image is
    SYNTHETIC; leave it off wherever the answer may leave the hospital.

    Args:
        store: The store.
        image_id: Image.
        definitions: The definitions in force, to tell whether the labels are theirs.
        with_text: Show passages of notes of real patients.
        at: Manifest version or time, the newest by default.

    Raises:
        ArgumentError: The image has no label.
        WarehouseError: There is no such version.
    """
    reader = _Reader(store, store.manifest(at).version)
    labels = reader.rows(IMAGE_LABELS, image_id=image_id)
    images = reader.rows(IMAGES, image_id=image_id)
    if not labels or not images:
        raise ArgumentError(
            f"IMAGE_ID: version {reader.version} holds no labelled image of this id. Run `ribline "
            "label` first, or look ids up with `ribline tables image_labels` and `ribline sql`."
        )
    is_text_shown = with_text or images[0]["is_synthetic"]
    evidence = reader.rows(LABEL_EVIDENCE, image_id=image_id)
    codes = reader.by_id(DIAGNOSES, "diagnosis_id", evidence)
    mentions = reader.by_id(NOTE_MENTIONS, "mention_id", evidence)
    notes = reader.by_id(NOTES, "note_id", list(mentions.values())) if is_text_shown else {}
    told = {row_id: _told_passage(mention, notes) for row_id, mention in mentions.items()}
    changes = sorted(
        reader.rows(LABEL_CHANGES, image_id=image_id), key=lambda row: row["changed_datetime"]
    )
    findings = [
        _finding(
            label,
            _of(label, evidence),
            codes=codes,
            mentions=mentions,
            passages=told,
            changes=_of(label, changes),
        )
        for label in labels
    ]
    links = reader.rows(IMAGE_LINKS, image_id=image_id)
    known_rules = {label["definition_hash"] for label in labels if label["reason"] in _ROWS}
    return Explanation(
        image=images[0],
        links=explain_links(links, reader.by_id(ENCOUNTERS, "encounter_id", links)),
        findings=findings,
        version=reader.version,
        is_text_shown=is_text_shown,
        current_hash=definitions.definition_hash,
        is_outdated=bool(known_rules - {definitions.definition_hash}),
    )


def _finding(
    label: Mapping[str, Any],
    evidence: Sequence[Mapping[str, Any]],
    *,
    codes: Mapping[str, Mapping[str, Any]],
    mentions: Mapping[str, Mapping[str, Any]],
    passages: Mapping[str, Passage | None],
    changes: list[dict[str, Any]],
) -> FindingTold:
    sources: dict[str, Counter[str]] = {}
    for row in evidence:
        sources.setdefault(row["evidence_type"], Counter())[row["polarity"]] += 1
    told = [
        MentionTold(row, mentions[row["mention_id"]], passages[row["mention_id"]])
        for row in evidence
        if row["mention_id"] in mentions
    ]
    told.sort(
        key=lambda one: (
            one.mention["note_datetime"],
            one.mention["note_id"],
            one.mention["start_char"],
        )
    )
    coded = [
        {**codes[row["diagnosis_id"]], **row} for row in evidence if row["diagnosis_id"] in codes
    ]
    return FindingTold(
        finding=label["finding"],
        label=label,
        row_number=_ROWS.get(label["reason"]),
        meaning=MEANINGS.get(label["reason"], ""),
        sources={kind: dict(sources[kind]) for kind in sorted(sources)},
        codes=sorted(coded, key=lambda row: (row["position"] or 999, row["diagnosis_code"])),
        mentions=told,
        changes=changes,
    )


def _told_passage(
    mention: Mapping[str, Any], notes: Mapping[str, Mapping[str, Any]]
) -> Passage | None:
    note = notes.get(mention["note_id"])
    return None if note is None else cut_passage(note["text"], mention)


def _of(label: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["finding"] == label["finding"]]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Rows of one published version."""

    store: Store
    version: int

    def rows(self, table: Table, **where: object) -> list[dict[str, Any]]:
        """Rows whose columns equal the values given."""
        at = self.version or None
        return list(self.store.read(table, where=where, at=at).to_pylist())

    def by_id(
        self, table: Table, key: str, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """The rows that other rows name in a column, by it."""
        wanted = sorted({row[key] for row in rows if row[key] is not None})
        return {row[key]: row for row in self.rows(table, **{key: wanted})} if wanted else {}
