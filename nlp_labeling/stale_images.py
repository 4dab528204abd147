"""Which films must be labelled again: their records, links or rules changed, or time passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from nlp_labeling.label_inputs import (
    ENCOUNTER_COLUMNS,
    IMAGE_COLUMNS,
    LINK_COLUMNS,
    LabelInputs,
)
from warehouse_schema.errors import WarehouseError
from warehouse_schema.previous_run import PreviousRun, changed_values
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import NOTE_MENTIONS
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS

# What decides a label, the column whose values changed, and the columns whose changes count.
_CHANGES: tuple[tuple[Table, str, list[str] | None], ...] = (
    (IMAGES, "patient_id", IMAGE_COLUMNS),
    (ENCOUNTERS, "patient_id", ENCOUNTER_COLUMNS),
    (DIAGNOSES, "patient_id", None),
    (NOTE_MENTIONS, "patient_id", None),
    (IMAGE_LINKS, "image_id", LINK_COLUMNS),
)


@dataclass(frozen=True, slots=True)
class StaleImages:
    """Films to label, and whose rows they replace.

    Attributes:
        images: Rows of ``images`` to label now.
        image_ids: Images whose evidence and labels go: those, and films that are there no more.
    """

    images: pa.Table
    image_ids: pa.Array


def find_stale_images(
    inputs: LabelInputs, *, as_of_datetime: datetime, previous: PreviousRun | None
) -> StaleImages:
    """Films whose labels may differ from those in force.

    Args:
        inputs: The state to label.
        as_of_datetime: The clock of this run.
        previous: The last run by the same rules; None makes all films stale.
    """
    changed = None if previous is None else _changed(inputs, previous)
    labelled = inputs.labels["image_id"].unique()
    if changed is None:
        images, gone = inputs.images, labelled
    else:
        stale = [
            pc.is_in(inputs.images[column], value_set=values) for column, values in changed.items()
        ]
        is_closing = pc.is_in(
            inputs.images["image_id"], value_set=_closing_images(inputs, as_of_datetime)
        )
        is_new = pc.invert(pc.is_in(inputs.images["image_id"], value_set=labelled))
        images = inputs.images.filter(pc.or_(pc.or_(*stale), pc.or_(is_closing, is_new)))
        gone = labelled.filter(
            pc.invert(pc.is_in(labelled, value_set=inputs.images["image_id"].combine_chunks()))
        )
    both = pa.chunked_array([*images["image_id"].chunks, gone], pa.string())
    return StaleImages(images, both.unique())


def _changed(inputs: LabelInputs, previous: PreviousRun) -> Mapping[str, pa.Array] | None:
    """Patients and images whose rows changed, by column; None where that cannot be told."""
    found: dict[str, list[pa.Array]] = {"patient_id": [], "image_id": []}
    try:
        for table, column, columns in _CHANGES:
            values = changed_values(
                inputs.store, table, column, since=previous, now=inputs.manifest, columns=columns
            )
            found[column].append(values)
    except WarehouseError:
        return None
    return {column: pa.concat_arrays(values) for column, values in found.items()}


def _closing_images(inputs: LabelInputs, as_of_datetime: datetime) -> pa.Array:
    """Films whose encounter is closed now and was not when they were labelled, or the reverse."""
    patients = inputs.images.select(["image_id", "patient_id"])
    ends = inputs.encounters.select(["encounter_id", "end_datetime"])
    rows = (
        inputs.labels.join(patients, keys="image_id", join_type="inner")
        .join(ends, keys="encounter_id", join_type="left outer")
        .join(inputs.date_shifts, keys="patient_id", join_type="left outer")
    )
    differing = [pa.array([], pa.string())]
    for definition in inputs.definitions:
        own = rows.filter(pc.field("finding") == definition.name)
        days = definition.linkage.closed_days_before_negative
        # The clock is shifted like the patient's dates: here the other way round.
        waited = pc.subtract(days, pc.fill_null(own["date_shift_days"], 0))
        microseconds = pc.multiply(waited, timedelta(days=1) // timedelta(microseconds=1))
        closing = pc.add(own["end_datetime"], microseconds.cast(pa.duration("us")))
        is_closed = pc.fill_null(pc.less_equal(closing, pa.scalar(as_of_datetime)), False)
        is_same = pc.fill_null(pc.equal(is_closed, own["is_encounter_closed"]), False)
        differing += own.filter(pc.invert(is_same))["image_id"].chunks
    return pa.chunked_array(differing, pa.string()).unique()
