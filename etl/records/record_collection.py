"""Rows of a site while they are read: warehouse rows, their sources, the id map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import pyarrow as pa

from etl.pseudonym import Pseudonymizer
from etl.quarantine import QuarantineList
from etl.records.patient_rows import patient_rows
from etl.records.record_tables import RecordTables
from etl.records.records import RecordReader
from etl.records.row_hash import row_hash
from etl.records.site_mapping import SiteMapping, TableSection
from etl.records.source_batch import SourceBatch
from etl.records.source_rows import RowsTaken
from etl.records.source_sweep import Marker, RowMarks
from etl.records.source_tables import column_names
from warehouse_schema.tables.records import IDENTITIES, PATIENTS

STAGE = "extract"


class RecordCollection:
    """Takes batches of every section and gives tables.

    Args:
        mapping: The site.
        pseudonym_key: Secret of the pseudonyms.
        keyword_pattern: RE2 pattern of the notes to keep.
        reading_hash: What is read with, kept with each row.
    """

    def __init__(
        self,
        *,
        mapping: SiteMapping,
        pseudonym_key: bytes | str,
        keyword_pattern: str,
        reading_hash: str,
    ) -> None:
        self._mapping = mapping
        self.quarantine = QuarantineList(stage=STAGE, source=mapping.name)
        self.reader = RecordReader(
            mapping=mapping,
            pseudonymizer=Pseudonymizer(key=pseudonym_key, source=mapping.name),
            quarantine=self.quarantine,
            keyword_pattern=keyword_pattern,
        )
        self.taken = RowsTaken(source=mapping.name, reading_hash=reading_hash)
        self.n_notes_read = 0
        self._marker = Marker(mapping)
        self._rows = RecordTables(self.reader)

    def add(self, name: str, section: TableSection, batch: SourceBatch) -> RowMarks:
        """Read a batch of the section of that name; returns its marks."""
        content = row_hash(batch, column_names(section))
        marks = self._marker.marks(section, batch)
        result = self._rows.add(section, batch, content)
        self.taken.add(name, section, marks, content, result)
        self.n_notes_read += batch.n_rows if section.kind == "notes" else 0
        return marks

    def tables(self, *, newest_elsewhere: datetime | None = None) -> dict[str, pa.Table]:
        """All rows by table name, once everything is read.

        Args:
            newest_elsewhere: Start of the newest encounter of any patient who was not read.
        """
        patients = patient_rows(
            mapping=self._mapping,
            patients=self.reader.patients,
            encounters=self.reader.encounters.values(),
            quarantine=self.quarantine,
            newest_elsewhere=newest_elsewhere,
        )
        rows = {PATIENTS.name: pa.Table.from_pylist(list(patients), schema=PATIENTS.schema)}
        return rows | {table.name: part for table, part in self._rows.tables().items()}

    def identities(self) -> dict[str, pa.Table]:
        """The id map of what was read, by kind of identifier."""
        patients = self.reader.patients
        by_kind: dict[str, Iterable[tuple[str, str, int | None]]] = {
            "patient": (
                (each.patient_id, name, each.shift_days) for name, each in patients.items()
            ),
            "imaging_patient": (
                (each.patient_id, each.imaging_identifier, each.shift_days)
                for each in patients.values()
                if each.imaging_identifier is not None
            ),
            "encounter": (
                (each.encounter_id, name, None) for name, each in self.reader.encounters.items()
            ),
            "note": ((pseudonym, name, None) for pseudonym, name in self.reader.notes.items()),
            "accession": (
                (pseudonym, name, None) for pseudonym, name in self.reader.accessions.items()
            ),
        }
        return {kind: self._identity_rows(kind, entries) for kind, entries in by_kind.items()}

    def _identity_rows(self, kind: str, entries: Iterable[tuple[str, str, int | None]]) -> pa.Table:
        rows: Iterator[dict[str, object]] = (
            {
                "kind": kind,
                "pseudonym": pseudonym,
                "source": self._mapping.name,
                "source_identifier": identifier,
                "date_shift_days": shift,
            }
            for pseudonym, identifier, shift in entries
        )
        return pa.Table.from_pylist(list(rows), schema=IDENTITIES.schema)
