"""Rows of a hospital database as warehouse rows: pseudonymous, shifted, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.pseudonym import Pseudonymizer, shift_datetime
from etl.quarantine import QuarantineList
from etl.records.patient_rows import EncounterRecord, PatientRecord
from etl.records.record_values import (
    MomentReader,
    UnreadableValueError,
    check_code,
    read_identifier,
    read_integer,
    read_text,
)
from etl.records.row_hash import Hashes
from etl.records.site_mapping import (
    SEXES,
    DiagnosisMapping,
    EncounterMapping,
    NoteMapping,
    PatientMapping,
    SiteMapping,
    TableSection,
    Value,
)
from etl.records.source_batch import SourceBatch
from warehouse_schema.errors import ConfigurationError

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RowsRead:
    """What became of the rows of one batch, in their order.

    Attributes:
        rows: The warehouse rows made; None where a row was set aside or not wanted.
        patient_ids: Pseudonym of the patient whom the source row names; None where it names none.
        quarantine_keys: Key under which something of the row was set aside.
    """

    rows: list[Row | None]
    patient_ids: list[str | None]
    quarantine_keys: list[str | None]


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One row while it is read.

    Attributes:
        section: Its section of the mapping.
        values: Raw values by column name.
        content: Hash of its content.
        number: Its place in the batch.
        result: What became of the batch's rows.
    """

    section: TableSection
    values: Row
    content: int
    number: int
    result: RowsRead


class RecordReader:
    """Reads the sections of one site: patients, encounters, then diagnoses and notes.

    Rows of one section may come in any order and in several batches. Of rows that would become the
    same warehouse row the one with the smallest content hash is kept.

    Args:
        mapping: The site.
        pseudonymizer: Gives pseudonyms and shifts for the site's name.
        quarantine: Takes the rows that cannot be used.
        keyword_pattern: RE2 pattern; only notes in which it is found become rows.
    """

    def __init__(
        self,
        *,
        mapping: SiteMapping,
        pseudonymizer: Pseudonymizer,
        quarantine: QuarantineList,
        keyword_pattern: str,
    ) -> None:
        self._mapping = mapping
        self._names = pseudonymizer
        self._quarantine = quarantine
        self._keyword_pattern = keyword_pattern
        self._moments = MomentReader(mapping)
        self._claims: dict[str, int] = {}
        self._patient_id = lru_cache(maxsize=1_000_000)(partial(pseudonymizer.pseudonym, "patient"))
        self.superseded: set[tuple[str, int]] = set()
        self.patients: dict[str, PatientRecord] = {}
        self.encounters: dict[str, EncounterRecord] = {}
        self.notes: dict[str, str] = {}
        self.accessions: dict[str, str] = {}

    def read(self, section: TableSection, batch: SourceBatch, content: Hashes) -> RowsRead:
        """Read a batch of a section.

        Args:
            section: Section of the mapping.
            batch: All columns that the section reads.
            content: Hash of each row's content.

        Raises:
            ConfigurationError: RE2 refuses the keyword pattern.
        """
        n_rows = batch.n_rows
        result = RowsRead(
            rows=[None] * n_rows,
            patient_ids=[self._named_patient(value) for value in batch.values(section.patient)],
            quarantine_keys=[None] * n_rows,
        )
        for number, text in self._wanted(section, batch, result):
            source = SourceRow(
                section=section,
                values=batch.row(number),
                content=int(content[number]),
                number=number,
                result=result,
            )
            with self._setting_aside(source):
                result.rows[number] = self._read_row(section, source, text)
        return result

    def _wanted(
        self, section: TableSection, batch: SourceBatch, result: RowsRead
    ) -> Iterator[tuple[int, str]]:
        """Numbers of the rows to read; with its text where the row is a note."""
        if not isinstance(section, NoteMapping):
            for name in batch.columns:
                batch.values(name)  # all at once, because every row is read
            yield from ((number, "") for number in range(batch.n_rows))
            return
        texts = self._note_texts(section, batch, result)
        try:
            matches = pc.match_substring_regex(texts, self._keyword_pattern)
        except pa.ArrowInvalid:
            raise ConfigurationError(
                "keyword_pattern: not a regular expression that RE2 accepts. It is made from the "
                "label definitions; correct their terms."
            ) from None
        for number in pc.indices_nonzero(matches.fill_null(False)).to_pylist():
            yield number, texts[number].as_py()

    def _read_row(self, section: TableSection, source: SourceRow, text: str) -> Row:
        if isinstance(section, PatientMapping):
            return self._read_patient(section, source)
        if isinstance(section, EncounterMapping):
            return self._read_encounter(section, source)
        if isinstance(section, DiagnosisMapping):
            return self._read_diagnosis(section, source)
        assert isinstance(section, NoteMapping), "the fourth kind of section"
        return self._read_note(section, source, text)

    def _read_patient(self, section: PatientMapping, source: SourceRow) -> Row:
        row = source.values
        patient = self._required(row, section.patient, "patient identifier")
        sex = self._value(section.sex, row) if section.sex is not None else None
        record = PatientRecord(
            patient_id=self._patient_id(patient),
            imaging_identifier=self._optional(row, section.imaging_patient),
            shift_days=self._names.date_shift_days(patient),
            sex_code=sex if sex in SEXES else None,
            birth=self._birth_date(section, row, patient),
        )
        self._claim("patient", record.patient_id, source)
        self.patients[patient] = record
        return {"patient_id": record.patient_id}

    def _birth_date(self, section: PatientMapping, row: Row, patient: str) -> datetime | None:
        """The birth date; an unreadable one is counted but costs nobody the patient."""
        try:
            return self._moment(row, section.birth, "birth date")
        except UnreadableValueError as error:
            self._quarantine.add(f"patients/{self._patient_id(patient)}", f"{error}: left out")
            return None

    def _read_encounter(self, section: EncounterMapping, source: SourceRow) -> Row:
        row = source.values
        encounter = self._required(row, section.encounter, "encounter identifier")
        patient, known = self._patient(row, section.patient)
        start = self._moment(row, section.start, "start")
        end = self._moment(row, section.end, "end")
        if start is None:
            raise UnreadableValueError("start is missing")
        if end is not None and end < start:
            raise UnreadableValueError("the encounter ends before it starts")
        encounter_class = self._value(section.encounter_class, row) or "other"
        record = EncounterRecord(
            encounter_id=self._names.pseudonym("encounter", encounter), patient=patient, start=start
        )
        self._claim("encounter", record.encounter_id, source)
        self.encounters[encounter] = record
        return {
            "encounter_id": record.encounter_id,
            "patient_id": known.patient_id,
            "source": self._mapping.name,
            "encounter_class": encounter_class,
            "start_datetime": shift_datetime(start, known.shift_days),
            "end_datetime": shift_datetime(end, known.shift_days),
            "is_synthetic": self._mapping.is_synthetic,
        }

    def _read_diagnosis(self, section: DiagnosisMapping, source: SourceRow) -> Row:
        row = source.values
        patient, known = self._patient(row, section.patient)
        encounter = self._encounter(row, section.encounter, patient)
        code = self._required(row, section.code, "code")
        vocabulary = self._value(section.vocabulary, row)
        if vocabulary is None:
            raise UnreadableValueError("the code system is not one of the mapping's")
        check_code(code, vocabulary)
        position = (
            read_integer(row[section.position], self._mapping.encoding, "position")
            if section.position
            else None
        )
        recorded = self._moment(row, section.recorded, "recorded date")
        own = self._optional(row, section.diagnosis)
        parts = [patient, encounter, position, vocabulary, code, recorded]
        identifier = f"{section.table}:{own}" if own else "|".join(map(str, parts))
        diagnosis_id = self._names.pseudonym("diagnosis", identifier)
        self._claim("diagnosis", diagnosis_id, source)
        return {
            "diagnosis_id": diagnosis_id,
            "patient_id": known.patient_id,
            "encounter_id": encounter,
            "source": self._mapping.name,
            "vocabulary": vocabulary,
            "diagnosis_code": code,
            "position": position,
            "recorded_datetime": shift_datetime(recorded, known.shift_days),
            "is_synthetic": self._mapping.is_synthetic,
        }

    def _note_texts(self, section: NoteMapping, batch: SourceBatch, result: RowsRead) -> pa.Array:
        """Decoded texts; null where there is none, or none that can be read."""
        column = batch.columns[section.text]
        is_text = isinstance(column, pa.Array) and pa.types.is_string(column.type)
        if is_text and not column.null_count:
            return column
        encoding = section.encoding or self._mapping.encoding
        texts: list[str | None] = []
        for number, value in enumerate(batch.values(section.text)):
            text = None
            source = SourceRow(
                section=section,
                values={section.key: batch.value(section.key, number)},
                content=0,
                number=number,
                result=result,
            )
            with self._setting_aside(source):
                named = None
                if section.encoding_column:
                    named = read_identifier(batch.value(section.encoding_column, number), "ascii")
                text = read_text(value, named or encoding)
                if text is None:
                    raise UnreadableValueError("the note has no text")
            texts.append(text)
        return pa.array(texts, pa.large_string())

    def _read_note(self, section: NoteMapping, source: SourceRow, text: str) -> Row:
        row = source.values
        note = self._required(row, section.note, "note identifier")
        patient, known = self._patient(row, section.patient)
        encounter = self._encounter(row, section.encounter, patient)
        note_type = self._value(section.note_type, row)
        status = self._value(section.status, row)
        if note_type is None or status is None:
            unmapped = "note type" if note_type is None else "status"
            raise UnreadableValueError(f"the {unmapped} is not one of the mapping's")
        written = self._moment(row, section.note_datetime, "note date")
        if written is None:
            raise UnreadableValueError("note date is missing")
        version = (
            read_integer(row[section.note_version], self._mapping.encoding, "version")
            if section.note_version
            else None
        )
        identifier = f"{section.table}:{note}"
        note_id = self._names.pseudonym("note", identifier)
        series = self._optional(row, section.note_series)
        accession = self._optional(row, section.accession)
        self._claim("note", note_id, source)
        self.notes[note_id] = identifier
        return {
            "note_id": note_id,
            "patient_id": known.patient_id,
            "encounter_id": encounter,
            "source": self._mapping.name,
            "note_type": note_type,
            "note_series_id": self._names.pseudonym("note_series", series) if series else note_id,
            "note_version": 1 if version is None else version,
            "status": status,
            "accession_id": self._accession(accession),
            "note_datetime": shift_datetime(written, known.shift_days),
            "text": text,
            "text_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
            "is_synthetic": self._mapping.is_synthetic,
        }

    @contextmanager
    def _setting_aside(self, source: SourceRow) -> Iterator[None]:
        """Quarantine the row whose reading fails and go on."""
        try:
            yield
        except UnreadableValueError as error:
            self._set_aside(source, str(error))

    def _set_aside(self, source: SourceRow, reason: str) -> None:
        key = self._quarantine_key(source.section, source.values[source.section.key])
        self._quarantine.add(key, reason)
        source.result.quarantine_keys[source.number] = key

    def _quarantine_key(self, section: TableSection, raw_key: object) -> str:
        """Pseudonym of the row's key: that of its group, whatever else the row says."""
        try:
            identifier = read_identifier(raw_key, self._mapping.encoding) or ""
        except UnreadableValueError:
            identifier = f"undecodable {bytes(raw_key).hex()}"  # type: ignore[call-overload]
        kind, table = section.scope
        return f"{kind}/{self._names.pseudonym('row', f'{table}:{identifier}')}"

    def _accession(self, accession: str | None) -> str | None:
        if accession is None:
            return None
        accession_id = self._names.pseudonym("accession", accession)
        self.accessions[accession_id] = accession
        return accession_id

    def _claim(self, kind: str, pseudonym: str, source: SourceRow) -> None:
        """Make a warehouse row this source row's, unless another has the better right to it."""
        reason = f"a second row for the same {kind}"
        other = self._claims.get(pseudonym)
        if other is not None and other <= source.content:
            raise UnreadableValueError(reason)
        self._claims[pseudonym] = source.content
        if other is not None:
            self.superseded.add((pseudonym, other))
            self._set_aside(source, reason)

    def _named_patient(self, value: object) -> str | None:
        try:
            patient = read_identifier(value, self._mapping.encoding)
        except UnreadableValueError:
            return None
        return self._patient_id(patient) if patient is not None else None

    def _patient(self, row: Row, column: str) -> tuple[str, PatientRecord]:
        patient = self._required(row, column, "patient identifier")
        if patient not in self.patients:
            raise UnreadableValueError("the patient is not in the patients table")
        return patient, self.patients[patient]

    def _encounter(self, row: Row, column: str | None, patient: str) -> str | None:
        encounter = self._optional(row, column)
        if encounter is None:
            return None
        if encounter not in self.encounters:
            raise UnreadableValueError("the encounter is not in the encounters table")
        if self.encounters[encounter].patient != patient:
            raise UnreadableValueError("the patient is not that of the encounter")
        return self.encounters[encounter].encounter_id

    def _required(self, row: Row, column: str, name: str) -> str:
        text = self._optional(row, column)
        if text is None:
            raise UnreadableValueError(f"{name} is missing")
        return text

    def _optional(self, row: Row, column: str | None) -> str | None:
        return read_identifier(row[column], self._mapping.encoding) if column else None

    def _moment(self, row: Row, columns: tuple[str, ...], name: str) -> datetime | None:
        return self._moments.read([row[column] for column in columns], name)

    def _value(self, value: Value, row: Row) -> str | None:
        return value.translate([self._optional(row, column) for column in value.column])
