"""Evidence to image-level labels, and what a labelling run changed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from nlp_labeling.definition import Definitions
from nlp_labeling.label_assignment import Labels
from nlp_labeling.label_changes import change_rows
from nlp_labeling.label_inputs import INPUTS, LabelInputs
from nlp_labeling.mining import labelling_configuration
from nlp_labeling.stale_images import StaleImages, find_stale_images
from warehouse_schema.manifest import configuration_hash
from warehouse_schema.previous_run import previous_run
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_CHANGES, LABEL_EVIDENCE

STAGE = "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """Counts of one run.

    ``n_images``: hospital films; ``n_labelled``: those labelled now, the others had not changed;
    ``n_labels`` maps (finding, label) to its number of films.
    """

    n_images: int
    n_labelled: int
    n_changes: int
    n_conflicts: int
    n_labels: Mapping[tuple[str, str], int]


def label_images(
    *,
    store: Store,
    definitions: Definitions,
    as_of_datetime: datetime,
    progress: Progress = SILENT,
) -> LabelSummary:
    """Bring the label of every frontal chest film of the hospitals up to date.

    Films of public datasets, which have no encounters, keep the labels they came with. Only films
    are labelled whose patient's records, films or links changed since the last run by these rules,
    or whose encounter closed; the result is that of labelling all.

    Args:
        store: The store.
        definitions: Findings to label.
        as_of_datetime: The clock: an encounter is closed if it had ended the definition's number
            of days before. Dates in the warehouse are shifted per patient, and the clock alike.
        progress: Listener.
    """
    inputs = LabelInputs(store=store, manifest=store.manifest(), definitions=definitions)
    previous = previous_run(store, STAGE, labelling_configuration(definitions))
    stale = find_stale_images(inputs, as_of_datetime=as_of_datetime, previous=previous)
    n_changes = 0
    if previous is None or len(stale.image_ids):
        labelled = inputs.assign(stale.images, as_of_datetime=as_of_datetime, progress=progress)
        n_changes = _write(inputs, stale, labelled, as_of_datetime)
    labels = store.read(IMAGE_LABELS, columns=["image_id", "finding", "label", "is_conflict"])
    own = labels.filter(pc.field("image_id").isin(inputs.images["image_id"].combine_chunks()))
    counts = Counter(zip(own["finding"].to_pylist(), own["label"].to_pylist(), strict=True))
    return LabelSummary(
        n_images=inputs.images.num_rows,
        n_labelled=stale.images.num_rows,
        n_changes=n_changes,
        n_conflicts=pc.sum(own["is_conflict"], min_count=0).as_py(),
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
    inputs = LabelInputs(store=store, manifest=store.manifest(), definitions=definitions)
    labelled = inputs.assign(
        inputs.images, as_of_datetime=as_of_datetime, mentions=mentions, progress=progress
    )
    evidence = store.read(LABEL_EVIDENCE).filter(pc.field("evidence_type") != "public_label")
    labels = store.read(IMAGE_LABELS).filter(pc.field("is_encounter_closed").is_valid())
    return Labels(evidence.to_pylist(), labels.to_pylist()), labelled


def _write(
    inputs: LabelInputs, stale: StaleImages, labelled: Labels, as_of_datetime: datetime
) -> int:
    """Replace evidence and labels of the stale images; returns how many labels changed."""
    configuration = labelling_configuration(inputs.definitions)
    where = {"image_id": stale.image_ids}
    with inputs.store.commit(stage=STAGE, configuration=configuration, is_recorded=True) as commit:
        commit.uses(*INPUTS, at=inputs.manifest.version)
        old = Labels(
            commit.read(LABEL_EVIDENCE, where=where).to_pylist(),
            commit.read(IMAGE_LABELS, where=where).to_pylist(),
        )
        changes = change_rows(
            labelling_id=_labelling_id(inputs, configuration, as_of_datetime),
            changed_datetime=as_of_datetime,
            old=old,
            new=labelled,
        )
        for table, rows in (
            (LABEL_EVIDENCE, labelled.evidence),
            (IMAGE_LABELS, labelled.labels),
        ):
            commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema), where=where)
        commit.append(LABEL_CHANGES, pa.Table.from_pylist(changes, schema=LABEL_CHANGES.schema))
    return len(changes)


def _labelling_id(
    inputs: LabelInputs, configuration: Mapping[str, object], as_of_datetime: datetime
) -> str:
    versions = [
        "" if entry is None else f"{entry.delta_version}"
        for entry in (inputs.manifest.tables.get(table.name) for table in INPUTS)
    ]
    key = [*versions, configuration_hash(configuration), as_of_datetime.isoformat()]
    return hashlib.sha256("|".join(key).encode()).hexdigest()[:16]
