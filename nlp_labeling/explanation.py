"""Why an image has its label, as data: codes, mentions, links and history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS
from warehouse_schema.tables.labels import (
    IMAGE_LABELS,
    LABEL_CHANGES,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)
from warehouse_schema.tables.records import DIAGNOSES, NOTES

PASSAGE_MARGIN = 80


@dataclass(frozen=True, slots=True)
class MentionTold:
    """A mention, its evidence row, and where allowed the passage around it.

    ``target``, ``cue`` and ``scope`` are (start, end) in ``passage``; None without cue or passage.
    """

    evidence: Mapping[str, Any]
    mention: Mapping[str, Any]
    passage: str | None
    target: tuple[int, int] | None
    cue: tuple[int, int] | None
    scope: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class FindingTold:
    """One finding's label, evidence and history; ``codes`` are diagnoses with their evidence."""

    finding: str
    label: Mapping[str, Any]
    codes: list[dict[str, Any]]
    mentions: list[MentionTold]
    changes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that led to the labels of one image; ``links`` holds the encounters that lost, too."""

    image_id: str
    links: list[dict[str, Any]]
    findings: list[FindingTold]


def explain_image(*, store: Store, image_id: str, with_text: bool = False) -> Explanation:
    """Everything that led to the labels of ``image_id``.

    ``with_text`` reads passages from the restricted notes; leave it off wherever the answer may
    leave the hospital.

    Raises:
        ArgumentError: the image has no label.
    """
    labels = _rows(store, IMAGE_LABELS, image_id=image_id)
    if not labels:
        raise ArgumentError(
            "IMAGE_ID: no label for this image; run `ribline label` first, or look ids up with "
            '`ribline sql "SELECT image_id FROM image_labels"`.'
        )
    evidence = _rows(store, LABEL_EVIDENCE, image_id=image_id)
    codes = _by_id(store, DIAGNOSES, "diagnosis_id", evidence)
    mentions = _by_id(store, NOTE_MENTIONS, "mention_id", evidence)
    texts: dict[str, str] = {}
    if with_text and mentions:
        wanted = sorted({mention["note_id"] for mention in mentions.values()})
        texts = {row["note_id"]: row["text"] for row in _rows(store, NOTES, note_id=wanted)}
    changes = _rows(store, LABEL_CHANGES, image_id=image_id)
    links = sorted(_rows(store, IMAGE_LINKS, image_id=image_id), key=lambda row: row["rank"])
    findings = []
    for label in labels:
        own = [row for row in evidence if row["finding"] == label["finding"]]
        findings.append(
            FindingTold(
                finding=label["finding"],
                label=label,
                codes=[
                    {**codes[row["diagnosis_id"]], **row}
                    for row in own
                    if row["diagnosis_id"] in codes
                ],
                mentions=[
                    _told(row, mentions[row["mention_id"]], texts)
                    for row in own
                    if row["mention_id"] in mentions
                ],
                changes=[row for row in changes if row["finding"] == label["finding"]],
            )
        )
    return Explanation(image_id, links, findings)


def _told(
    evidence: Mapping[str, Any], mention: Mapping[str, Any], texts: Mapping[str, str]
) -> MentionTold:
    text = texts.get(mention["note_id"])
    if text is None:
        return MentionTold(evidence, mention, None, None, None, None)
    spans = {name: _span(mention, name) for name in ("", "cue_", "scope_")}
    known = [span for span in spans.values() if span is not None]
    low = max(0, min(start for start, _ in known) - PASSAGE_MARGIN)
    high = min(len(text), max(end for _, end in known) + PASSAGE_MARGIN)

    def moved(span: tuple[int, int] | None) -> tuple[int, int] | None:
        return None if span is None else (span[0] - low, span[1] - low)

    return MentionTold(
        evidence,
        mention,
        text[low:high],
        moved(spans[""]),
        moved(spans["cue_"]),
        moved(spans["scope_"]),
    )


def _span(mention: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    start, end = mention[f"{name}start_char"], mention[f"{name}end_char"]
    return None if start is None else (start, end)


def _rows(store: Store, table: Table, **where: object) -> list[dict[str, Any]]:
    return list(store.read(table, where=where).to_pylist())


def _by_id(
    store: Store, table: Table, key: str, evidence: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    wanted = sorted({row[key] for row in evidence if row[key] is not None})
    if not wanted:
        return {}
    return {row[key]: row for row in _rows(store, table, **{key: wanted})}
