"""Rows of a hospital database as warehouse rows: pseudonymous, shifted, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.opt_outs import OptOuts
from etl.pseudonym import Pseudonymizer, shift_datetime
from etl.quarantine import QuarantineList
from etl.record_values import (
    MomentReader,
    UnreadableValueError,
    check_code,
    read_identifier,
    read_integer,
    read_text,
)
from etl.site_mapping import (
    SEXES,
    DiagnosisMapping,
    EncounterMapping,
    NoteMapping,
    PatientMapping,
    SiteMapping,
    Value,
)
from etl.source_database import Batch
from warehouse_schema.errors import ConfigurationError

MAX_AGE_YEARS = 89
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PatientRecord:
    """A patient as read; dates are not yet shifted."""

    patient_id: str
    imaging_identifier: str | None
    shift_days: int
    sex_code: str | None
    birth: datetime | None


@dataclass(frozen=True, kw_only=True)
class EncounterRecord:
    """What later rows need to know of an encounter; dates are not shifted."""

    encounter_id: str
    patient: str
    start: datetime


class RecordReader:
    """Reads the sections of one site in order: patients, encounters, diagnoses, notes.

    Args:
        mapping: The site.
        pseudonymizer: Gives pseudonyms and shifts for the site's name.
        quarantine: Takes the rows that cannot be used.
        opt_outs: Patients whose rows are passed over; None where nobody can opt out.
    """

    def __init__(
        self,
        *,
        mapping: SiteMapping,
        pseudonymizer: Pseudonymizer,
        quarantine: QuarantineList,
        opt_outs: OptOuts | None = None,
    ) -> None:
        self._mapping = mapping
        self._names = pseudonymizer
        self._quarantine = quarantine
        self._opt_outs = opt_outs
        self._moments = MomentReader(mapping)
        self._seen: set[str] = set()
        self.patients: dict[str, PatientRecord] = {}
        self.encounters: dict[str, EncounterRecord] = {}
        self.notes: dict[str, str] = {}
        self.accessions: dict[str, str] = {}

    def read_patients(self, section: PatientMapping, batch: Batch) -> None:
        """Take up a batch of patients."""
        for number in range(_n_rows(batch)):
            row = {name: values[number] for name, values in batch.items()}
            if self._opt_outs is not None and self._is_opted_out(row[section.patient]):
                self._opt_outs.add_alias(self._alias(section, row))
                continue
            with self._setting_aside("patients", row.get(section.patient)):
                self._read_patient(section, row)

    def _read_patient(self, section: PatientMapping, row: Row) -> None:
        patient = self._required(row, section.patient, "patient identifier")
        if patient in self.patients:
            raise UnreadableValueError("a second row for the same patient")
        sex = self._value(section.sex, row) if section.sex is not None else None
        self.patients[patient] = PatientRecord(
            patient_id=self._names.pseudonym("patient", patient),
            imaging_identifier=self._optional(row, section.imaging_patient),
            shift_days=self._names.date_shift_days(patient),
            sex_code=sex if sex in SEXES else None,
            birth=self._birth_date(section, row, patient),
        )

    def _birth_date(self, section: PatientMapping, row: Row, patient: str) -> datetime | None:
        """The birth date; an unreadable one is counted but costs nobody the patient."""
        try:
            return self._moment(row, section.birth, "birth date")
        except UnreadableValueError as error:
            patient_id = self._names.pseudonym("patient", patient)
            self._quarantine.add(f"patients/{patient_id}", f"{error}: left out")
            return None

    def read_encounters(self, section: EncounterMapping, batch: Batch) -> Iterator[Row]:
        """Encounter rows of a batch."""
        for number in range(_n_rows(batch)):
            row = {name: values[number] for name, values in batch.items()}
            if self._is_opted_out(row[section.patient]):
                continue
            with self._setting_aside("encounters", row.get(section.encounter)):
                yield self._read_encounter(section, row)

    def _read_encounter(self, section: EncounterMapping, row: Row) -> Row:
        encounter = self._required(row, section.encounter, "encounter identifier")
        if encounter in self.encounters:
            raise UnreadableValueError("a second row for the same encounter")
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

    def patient_rows(self) -> Iterator[Row]:
        """Patient rows, once the encounters are read: ages over 89 lose their birth date."""
        first: dict[str, datetime] = {}
        last: dict[str, datetime] = {}
        for encounter in self.encounters.values():
            patient, start = encounter.patient, encounter.start
            first[patient] = min(first.get(patient, start), start)
            last[patient] = max(last.get(patient, start), start)
        newest = max(last.values(), default=None)
        for patient, record in self.patients.items():
            birth = self._birth(record, first.get(patient))
            end = last.get(patient, newest)
            is_over = (
                birth is not None and end is not None and age_years(birth, end) >= MAX_AGE_YEARS + 1
            )
            yield {
                "patient_id": record.patient_id,
                "source": self._mapping.name,
                "sex_code": record.sex_code,
                "birth_datetime": None if is_over else shift_datetime(birth, record.shift_days),
                "is_over_89": is_over,
                "is_synthetic": self._mapping.is_synthetic,
            }

    def _birth(self, record: PatientRecord, first: datetime | None) -> datetime | None:
        """The birth date, which a two-digit year may have put a century too late."""
        birth = record.birth
        if birth is None or first is None or birth <= first:
            return birth
        if self._mapping.two_digit_year_from is not None:
            earlier = _century_before(birth)
            if earlier <= first:
                return earlier
        self._quarantine.add(
            f"patients/{record.patient_id}", "birth date after the first encounter: left out"
        )
        return None

    def read_diagnoses(self, section: DiagnosisMapping, batch: Batch) -> Iterator[Row]:
        """Diagnosis rows of a batch."""
        for number in range(_n_rows(batch)):
            row = {name: values[number] for name, values in batch.items()}
            if self._is_opted_out(row[section.patient]):
                continue
            key = row.get(section.diagnosis) if section.diagnosis else None
            with self._setting_aside("diagnoses", key):
                yield self._read_diagnosis(section, row)

    def _read_diagnosis(self, section: DiagnosisMapping, row: Row) -> Row:
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
        diagnosis_id = self._new("diagnosis", identifier)
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

    def read_notes(self, section: NoteMapping, batch: Batch, keyword_pattern: str) -> Iterator[Row]:
        """Rows of the notes in a batch that the keyword pattern finds.

        Args:
            section: Notes section.
            batch: Raw columns.
            keyword_pattern: RE2 pattern, matched over the whole decoded column at once.
        """
        texts = [self._note_text(section, batch, number) for number in range(_n_rows(batch))]
        try:
            matches = pc.match_substring_regex(pa.array(texts, pa.large_string()), keyword_pattern)
        except pa.ArrowInvalid:
            raise ConfigurationError(
                "keyword_pattern: not a regular expression that RE2 accepts. It is made from the "
                "label definitions; correct their terms."
            ) from None
        for number in pc.indices_nonzero(matches.fill_null(False)).to_pylist():
            row = {name: values[number] for name, values in batch.items()}
            with self._setting_aside("notes", row.get(section.note)):
                yield self._read_note(section, row, str(texts[number]))

    def _note_text(self, section: NoteMapping, batch: Batch, number: int) -> str | None:
        key = batch[section.note][number]
        if self._is_opted_out(batch[section.patient][number]):
            return None
        with self._setting_aside("notes", key):
            encoding = section.encoding or self._mapping.encoding
            if section.encoding_column:
                named = batch[section.encoding_column][number]
                encoding = read_identifier(named, "ascii") or encoding
            text = read_text(batch[section.text][number], encoding)
            if text is None:
                raise UnreadableValueError("the note has no text")
            return text
        return None

    def _read_note(self, section: NoteMapping, row: Row, text: str) -> Row:
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
        note_id = self._new("note", identifier)
        self.notes[note_id] = identifier
        series = self._optional(row, section.note_series)
        accession = self._optional(row, section.accession)
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

    def _is_opted_out(self, raw_patient: object) -> bool:
        """True where the row is of a patient who has opted out: it leaves no trace."""
        if self._opt_outs is None:
            return False
        try:
            return self._opt_outs.holds(read_identifier(raw_patient, self._mapping.encoding))
        except UnreadableValueError:
            return False

    def _alias(self, section: PatientMapping, row: Row) -> str | None:
        try:
            return self._optional(row, section.imaging_patient)
        except UnreadableValueError:
            return None

    @contextmanager
    def _setting_aside(self, kind: str, raw_key: object) -> Iterator[None]:
        """Quarantine the row whose reading fails, under its identifier's pseudonym, and go on."""
        try:
            yield
        except UnreadableValueError as error:
            try:
                identifier = read_identifier(raw_key, self._mapping.encoding)
            except UnreadableValueError:
                identifier = None
            key = self._names.pseudonym("row", identifier) if identifier else "no identifier"
            self._quarantine.add(f"{kind}/{key}", str(error))

    def _accession(self, accession: str | None) -> str | None:
        if accession is None:
            return None
        accession_id = self._names.pseudonym("accession", accession)
        self.accessions[accession_id] = accession
        return accession_id

    def _new(self, kind: str, identifier: str) -> str:
        pseudonym = self._names.pseudonym(kind, identifier)
        if pseudonym in self._seen:
            raise UnreadableValueError(f"a second row for the same {kind}")
        self._seen.add(pseudonym)
        return pseudonym

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


def age_years(birth: datetime, at: datetime) -> int:
    """Whole years from birth to a moment."""
    return at.year - birth.year - ((at.month, at.day) < (birth.month, birth.day))


def _century_before(moment: datetime) -> datetime:
    try:
        return moment.replace(year=moment.year - 100)
    except ValueError:  # 29 February of a year that was no leap year a century before
        return moment.replace(year=moment.year - 100, day=28)


def _n_rows(batch: Mapping[str, list[object]]) -> int:
    return len(next(iter(batch.values()), []))
