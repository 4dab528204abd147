"""Evidence to image-level labels, and what a labelling run changed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from nlp_labeling.combination import Voices, combine
from nlp_labeling.definition import Definition, Definitions
from nlp_labeling.evidence import CODE, Gathered, Records, gather_evidence
from nlp_labeling.label_changes import change_rows
from nlp_labeling.rule import definition_hash
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import (
    IMAGE_LABELS,
    LABEL_CHANGES,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES

_INPUTS = (IMAGES, IMAGE_LINKS, ENCOUNTERS, DIAGNOSES, NOTE_MENTIONS, IDENTITIES)
_SIGNS = {"positive": 1.0, "negative": -1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """Counts of one run; ``n_labels`` maps (finding, label) to its number of images."""

    labelling_id: str
    n_images: int
    n_evidence: int
    n_changes: int
    n_conflicts: int
    n_labels: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Labels:
    """Rows of ``label_evidence`` and ``image_labels``, before they are written."""

    evidence: list[dict[str, Any]]
    labels: list[dict[str, Any]]


def label_images(
    *,
    store: Store,
    definitions: Definitions,
    as_of_datetime: datetime,
    progress: Progress = SILENT,
) -> LabelSummary:
    """Label every frontal chest film of the hospitals in the warehouse.

    Films of public datasets, which have no encounters, keep the labels they came with.
    ``as_of_datetime`` is the clock: an encounter is closed if it had ended the definition's number
    of days before. Dates in the warehouse are shifted per patient, and the clock is shifted alike.
    """
    manifest = store.manifest()
    n_images, public, labelled = _label_all(
        store, definitions, as_of_datetime, mentions=None, progress=progress
    )
    inputs = "|".join(f"{t.name}:{_version(manifest, t.name)}" for t in _INPUTS)
    key = f"{inputs}|{definition_hash()}|{as_of_datetime.isoformat()}"
    labelling_id = hashlib.sha256(key.encode()).hexdigest()[:16]
    configuration = {"definition_hash": definition_hash(), "as_of": as_of_datetime.isoformat()}
    with store.commit(stage="label", configuration=configuration) as commit:
        commit.uses(*_INPUTS, at=manifest.version)
        old_labels = commit.read(IMAGE_LABELS).to_pylist()
        old_evidence = commit.read(LABEL_EVIDENCE).to_pylist()
        changes = change_rows(
            labelling_id=labelling_id,
            changed_datetime=as_of_datetime,
            old=_without(public, old_evidence, old_labels),
            new=labelled,
        )
        kept_labels = [row for row in old_labels if row["image_id"] in public]
        kept_evidence = [row for row in old_evidence if row["image_id"] in public]
        for table, new in (
            (LABEL_EVIDENCE, [*kept_evidence, *labelled.evidence]),
            (IMAGE_LABELS, [*kept_labels, *labelled.labels]),
        ):
            commit.replace(table, pa.Table.from_pylist(new, schema=table.schema))
        commit.upsert(LABEL_CHANGES, pa.Table.from_pylist(changes, schema=LABEL_CHANGES.schema))
    counts = Counter((row["finding"], row["label"]) for row in labelled.labels)
    return LabelSummary(
        labelling_id=labelling_id,
        n_images=n_images,
        n_evidence=len(labelled.evidence),
        n_changes=len(changes),
        n_conflicts=sum(row["is_conflict"] for row in labelled.labels),
        n_labels=dict(sorted(counts.items())),
    )


def preview_labels(
    *,
    store: Store,
    definitions: Definitions,
    as_of_datetime: datetime,
    mentions: pa.Table,
    progress: Progress = SILENT,
) -> tuple[Labels, Labels]:
    """Labels in force, and those that ``label_images`` would give; nothing is written.

    ``mentions`` are rows of ``note_mentions`` as the rules in force would find them.
    """
    _, public, labelled = _label_all(
        store, definitions, as_of_datetime, mentions=mentions, progress=progress
    )
    evidence, labels = (store.read(table).to_pylist() for table in (LABEL_EVIDENCE, IMAGE_LABELS))
    return _without(public, evidence, labels), labelled


def _label_all(
    store: Store,
    definitions: Definitions,
    as_of_datetime: datetime,
    *,
    mentions: pa.Table | None,
    progress: Progress,
) -> tuple[int, set[str], Labels]:
    """Number of images labelled, images that keep published labels, and the new labels."""
    rows = {
        table.name: store.read(table).to_pylist() for table in _INPUTS if table is not IDENTITIES
    }
    if mentions is not None:
        rows["note_mentions"] = mentions.to_pylist()
    hospitals = {row["source"] for row in rows["encounters"]}
    images = [
        row for row in rows["images"] if row["is_frontal_chest"] and row["source"] in hospitals
    ]
    labelled = assign_labels(
        images=images,
        links=rows["image_links"],
        encounters=rows["encounters"],
        diagnoses=rows["diagnoses"],
        mentions=rows["note_mentions"],
        definitions=definitions,
        as_of_datetime=as_of_datetime,
        date_shifts=_date_shifts(store),
        progress=progress,
    )
    public = {row["image_id"] for row in rows["images"] if row["source"] not in hospitals}
    return len(images), public, labelled


def _without(
    image_ids: set[str], evidence: list[dict[str, Any]], labels: list[dict[str, Any]]
) -> Labels:
    return Labels(
        [row for row in evidence if row["image_id"] not in image_ids],
        [row for row in labels if row["image_id"] not in image_ids],
    )


def assign_labels(
    *,
    images: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    encounters: Sequence[Mapping[str, Any]],
    diagnoses: Sequence[dict[str, Any]],
    mentions: Sequence[dict[str, Any]],
    definitions: Sequence[Definition],
    as_of_datetime: datetime,
    date_shifts: Mapping[str, int] | None = None,
    progress: Progress = SILENT,
) -> Labels:
    """The pure part of ``label_images``: warehouse rows in, evidence and label rows out."""
    version = definition_hash()
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


def code_evidence(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the evidence rows that are codes."""
    return [row["evidence_id"] for row in rows if row["evidence_type"] == CODE]


def _is_closed(end: datetime | None, clock: datetime, definition: Definition) -> bool:
    days = definition.linkage.closed_days_before_negative
    return end is not None and clock - end >= timedelta(days=days)


def _date_shifts(store: Store) -> dict[str, int]:
    rows = store.read(
        IDENTITIES, columns=["kind", "pseudonym", "date_shift_days"], where={"kind": "patient"}
    )
    return {row["pseudonym"]: row["date_shift_days"] or 0 for row in rows.to_pylist()}


def _version(manifest: Any, name: str) -> int:
    version = manifest.tables.get(name)
    return -1 if version is None else int(version.delta_version)
