"""The warehouse rows that labels are made from, at one published state."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from nlp_labeling.definition import Definitions
from nlp_labeling.label_assignment import Labels, assign_labels
from warehouse_schema.manifest import Manifest
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS, NOTE_MENTIONS
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES

INPUTS = (IMAGES, IMAGE_LINKS, ENCOUNTERS, DIAGNOSES, NOTE_MENTIONS, IDENTITIES)
# The columns that a label depends on, where it does not depend on all.
IMAGE_COLUMNS = [
    *("image_id", "patient_id", "source", "accession_id"),
    *("acquired_datetime", "is_frontal_chest"),
]
ENCOUNTER_COLUMNS = ["encounter_id", "patient_id", "source", "end_datetime"]
LINK_COLUMNS = ["image_id", "encounter_id", "is_chosen"]


class LabelInputs:
    """Reads the inputs of labelling, all or those of some images.

    Args:
        store: The store.
        manifest: The published state to read.
        definitions: Findings to label.
    """

    def __init__(self, *, store: Store, manifest: Manifest, definitions: Definitions) -> None:
        self.store = store
        self.manifest = manifest
        self.definitions = definitions

    @cached_property
    def encounters(self) -> pa.Table:
        """Every encounter, ``ENCOUNTER_COLUMNS``."""
        return self._read(ENCOUNTERS, columns=ENCOUNTER_COLUMNS)

    @cached_property
    def images(self) -> pa.Table:
        """Frontal films of sources that have encounters, ``IMAGE_COLUMNS``."""
        hospitals = self.encounters["source"].unique()
        is_own = pc.field("is_frontal_chest") & pc.field("source").isin(hospitals)
        return self._read(IMAGES, columns=IMAGE_COLUMNS).filter(is_own)

    @cached_property
    def labels(self) -> pa.Table:
        """The labels in force that an earlier run gave; public labels are not among them."""
        columns = ["image_id", "finding", "encounter_id", "is_encounter_closed"]
        labels = self._read(IMAGE_LABELS, columns=columns)
        return labels.filter(pc.field("is_encounter_closed").is_valid())

    @cached_property
    def date_shifts(self) -> pa.Table:
        """Days that each patient's dates are shifted by: patient_id, date_shift_days."""
        rows = self._read(
            IDENTITIES, columns=["pseudonym", "date_shift_days"], where={"kind": "patient"}
        )
        return rows.select(["pseudonym", "date_shift_days"]).rename_columns(
            ["patient_id", "date_shift_days"]
        )

    def assign(
        self,
        images: pa.Table,
        *,
        as_of_datetime: datetime,
        mentions: pa.Table | None = None,
        progress: Progress = SILENT,
    ) -> Labels:
        """Evidence and labels of some images.

        Args:
            images: Rows of ``images``.
            as_of_datetime: The clock, before any shift.
            mentions: Rows of ``note_mentions`` that stand for those of the warehouse.
            progress: Listener.
        """
        patients = {"patient_id": images["patient_id"].unique()}
        links = {"image_id": images["image_id"].combine_chunks()}
        if mentions is None:
            mentions = self._read(NOTE_MENTIONS, where=patients)
        shifts = self.date_shifts.filter(pc.field("patient_id").isin(patients["patient_id"]))
        encounters = self.encounters.filter(pc.field("patient_id").isin(patients["patient_id"]))
        return assign_labels(
            images=images.to_pylist(),
            links=self._read(IMAGE_LINKS, columns=LINK_COLUMNS, where=links).to_pylist(),
            encounters=encounters.to_pylist(),
            diagnoses=self._read(DIAGNOSES, where=patients).to_pylist(),
            mentions=mentions.to_pylist(),
            definitions=self.definitions,
            as_of_datetime=as_of_datetime,
            date_shifts=dict(
                zip(*(shifts[name].to_pylist() for name in shifts.schema.names), strict=True)
            ),
            progress=progress,
        )

    def _read(
        self,
        table: Table,
        *,
        columns: list[str] | None = None,
        where: dict[str, object] | None = None,
    ) -> pa.Table:
        return self.store.read_version(table, self.manifest.tables.get(table.name), columns, where)
