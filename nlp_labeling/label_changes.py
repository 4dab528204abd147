"""Which labels a run flipped, and what caused it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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


def change_rows(
    *, labelling_id: str, changed_datetime: datetime, old: LabelRows, new: LabelRows
) -> list[dict[str, Any]]:
    """Rows of ``label_changes``: every image and finding whose label differs between two states."""
    before = {(row["image_id"], row["finding"]): row for row in old.labels}
    after = {(row["image_id"], row["finding"]): row for row in new.labels}
    evidence_before, evidence_after = _by_key(old.evidence), _by_key(new.evidence)
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and was["label"] == now["label"]:
            continue
        changes.append(
            {
                "labelling_id": labelling_id,
                "image_id": key[0],
                "finding": key[1],
                "old_label": was["label"] if was else None,
                "new_label": now["label"] if now else None,
                "cause": _cause(was, now, evidence_before[key], evidence_after[key]),
                "changed_datetime": changed_datetime,
            }
        )
    return changes


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
