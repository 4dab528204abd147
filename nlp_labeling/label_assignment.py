"""Warehouse rows in, evidence and label rows out: the pure part of labelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nlp_labeling.combination import Voices, combine
from nlp_labeling.definition import Definition, Definitions
from nlp_labeling.evidence import Gathered, Records, gather_evidence
from warehouse_schema.progress import SILENT, Progress

_SIGNS = {"positive": 1.0, "negative": -1.0}


@dataclass(frozen=True, slots=True)
class Labels:
    """Rows of ``label_evidence`` and ``image_labels``, before they are written."""

    evidence: list[dict[str, Any]]
    labels: list[dict[str, Any]]


def assign_labels(
    *,
    images: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    encounters: Sequence[Mapping[str, Any]],
    diagnoses: Sequence[dict[str, Any]],
    mentions: Sequence[dict[str, Any]],
    definitions: Definitions,
    as_of_datetime: datetime,
    date_shifts: Mapping[str, int] | None = None,
    progress: Progress = SILENT,
) -> Labels:
    """Evidence and labels of some images, from their patients' rows.

    Args:
        images: Rows of ``images`` to label.
        links: Rows of ``image_links``.
        encounters: Rows of ``encounters``.
        diagnoses: Rows of ``diagnoses``.
        mentions: Rows of ``note_mentions``.
        definitions: Findings to label.
        as_of_datetime: The clock, before any shift.
        date_shifts: Days that a patient's dates are shifted by, 0 where none is given.
        progress: Listener.
    """
    version = definitions.definition_hash
    chosen = {row["image_id"]: row["encounter_id"] for row in links if row["is_chosen"]}
    ends = {row["encounter_id"]: row["end_datetime"] for row in encounters}
    records = Records.group(diagnoses, mentions)
    shifts = date_shifts or {}
    result = Labels([], [])
    progress.start("label", len(images))
    for image in images:
        encounter_id = chosen.get(image["image_id"])
        clock = as_of_datetime + timedelta(days=shifts.get(image["patient_id"], 0))
        for definition in definitions:
            gathered = gather_evidence(image, encounter_id, definition, records, version)
            is_closed = _is_closed(ends.get(encounter_id or ""), clock, definition)
            result.evidence.extend(gathered.rows)
            result.labels.append(
                _label_row(
                    image=image,
                    encounter_id=encounter_id,
                    definition=definition,
                    gathered=gathered,
                    is_closed=is_closed,
                    version=version,
                )
            )
        progress.advance()
    progress.finish()
    return result


def _label_row(
    *,
    image: Mapping[str, Any],
    encounter_id: str | None,
    definition: Definition,
    gathered: Gathered,
    is_closed: bool,
    version: str,
) -> dict[str, Any]:
    voices = Voices(
        film=gathered.film,
        imaging=gathered.imaging,
        clinical=gathered.clinical,
        code=gathered.code,
        is_past_told=gathered.is_past_told,
        is_closed=is_closed,
        is_linked=encounter_id is not None,
    )
    verdict = combine(voices)
    return {
        "image_id": image["image_id"],
        "finding": definition.name,
        "label": verdict.label,
        "reason": verdict.reason,
        "acuity": gathered.acuity if verdict.label == "positive" else None,
        "visibility_tier": verdict.visibility_tier,
        "encounter_id": encounter_id,
        "score": evidence_score(gathered.rows),
        "n_evidence": len(gathered.rows),
        "is_conflict": voices.is_conflict,
        "is_encounter_closed": is_closed,
        "definition_hash": version,
    }


def evidence_score(rows: Sequence[Mapping[str, Any]]) -> float:
    """Positive minus negative weight, each kind of source and polarity counted once.

    A report that says the same thing three times is no better than one that says it once.
    """
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["polarity"] in _SIGNS:
            key = (row["evidence_type"], row["polarity"])
            best[key] = max(best.get(key, 0.0), row["weight"])
    return round(sum(_SIGNS[polarity] * weight for (_, polarity), weight in best.items()), 6)


def _is_closed(end: datetime | None, clock: datetime, definition: Definition) -> bool:
    days = definition.linkage.closed_days_before_negative
    return end is not None and clock - end >= timedelta(days=days)
