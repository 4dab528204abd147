"""Which labels a run flipped, and what caused it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from nlp_labeling.evidence import CODE

_Key = tuple[str, str]


class LabelRows(Protocol):
    """Evidence and labels of one state of the warehouse."""

    @property
    def evidence(self) -> Sequence[Mapping[str, Any]]:
        """Rows of ``label_evidence``."""

    @property
    def labels(self) -> Sequence[Mapping[str, Any]]:
        """Rows of ``image_labels``."""


@dataclass(frozen=True, slots=True)
class Flip:
    """An image and finding whose label differs between two states, with its evidence in both."""

    image_id: str
    finding: str
    was: Mapping[str, Any] | None
    now: Mapping[str, Any] | None
    cause: str
    evidence_before: Sequence[Mapping[str, Any]]
    evidence_after: Sequence[Mapping[str, Any]]

    @property
    def old_label(self) -> str | None:
        """Label before; None where the image is new."""
        return None if self.was is None else self.was["label"]

    @property
    def new_label(self) -> str | None:
        """Label now; None where the image left."""
        return None if self.now is None else self.now["label"]


def label_flips(*, old: LabelRows, new: LabelRows) -> list[Flip]:
    """Every image and finding whose label differs between two states, in order."""
    before = {(row["image_id"], row["finding"]): row for row in old.labels}
    after = {(row["image_id"], row["finding"]): row for row in new.labels}
    evidence_before, evidence_after = _by_key(old.evidence), _by_key(new.evidence)
    flips = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and was["label"] == now["label"]:
            continue
        was_told, now_told = evidence_before.get(key, []), evidence_after.get(key, [])
        cause = _cause(was, now, was_told, now_told)
        flips.append(Flip(*key, was, now, cause, was_told, now_told))
    return flips


def change_rows(
    *, labelling_id: str, changed_datetime: datetime, old: LabelRows, new: LabelRows
) -> list[dict[str, Any]]:
    """Rows of ``label_changes``: every image and finding whose label differs between two states."""
    return [
        {
            "labelling_id": labelling_id,
            "image_id": flip.image_id,
            "finding": flip.finding,
            "old_label": flip.old_label,
            "new_label": flip.new_label,
            "cause": flip.cause,
            "changed_datetime": changed_datetime,
        }
        for flip in label_flips(old=old, new=new)
    ]


def _cause(
    was: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
) -> str:
    if was is None:
        return "new_image"
    if now is None:
        return "removed"
    if was["definition_hash"] != now["definition_hash"]:
        return "definition"
    if was["encounter_id"] != now["encounter_id"]:
        return "link"
    for kind, is_kind in (("code", True), ("note", False)):
        if _facts(before, is_kind) != _facts(after, is_kind):
            return kind
    return "time"


def _facts(rows: Sequence[Mapping[str, Any]], is_code: bool) -> set[tuple[str, str]]:
    return {
        (row["evidence_id"], row["polarity"])
        for row in rows
        if (row["evidence_type"] == CODE) is is_code
    }


def _by_key(rows: Sequence[Mapping[str, Any]]) -> dict[_Key, list[Mapping[str, Any]]]:
    grouped: dict[_Key, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["image_id"], row["finding"]].append(row)
    return grouped
