"""The records of a MIMIC copy: patients, encounters, diagnoses and keyword-matched notes.

Kept are the patients who have a film in the folder; the others could never be labelled. MIMIC moved
every patient to years after 2100. Each comes back by whole days to about the true year, which
``anchor_year_group`` tells to within one: the middle of the group is taken for ``anchor_year``. So
intervals stay, stays are closed by now, and years can be compared; the keyed shift comes on top.

An emergency stay (MIMIC-IV-ED, optional) is an encounter where it did not end in an admission;
where it did, the admission begins with it. A radiology report that is also a MIMIC-CXR report is
kept once, with its study.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.pseudonym import Pseudonymizer
from etl.public_datasets import mimic_tables as mimic
from etl.public_datasets.mimic_films import CxrTree
from etl.public_datasets.published_tables import Publication
from etl.quarantine import QuarantineList
from etl.records.patient_rows import patient_rows
from etl.records.record_tables import RecordTables
from etl.records.records import RecordReader
from etl.records.row_hash import row_hash
from etl.records.site_mapping import TableSection
from etl.records.source_batch import SourceBatch
from etl.records.source_tables import column_names
from warehouse_schema.errors import ConfigurationError
from warehouse_schema.progress import Progress
from warehouse_schema.table import Table
from warehouse_schema.tables.records import PATIENTS

REPORTS_PER_BATCH = 2_000
# Rows that are Python objects at a time.
ROWS_PER_BATCH = 10_000
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
UNREADABLE = "unreadable"
NOTE_COLUMNS = ("note_id", "subject_id", "hadm_id", "note_type", "charttime", "text")
Row = dict[str, Any]
Columns = dict[str, list[Any]]


class MimicRecords:
    """Reads the records of the patients who have films.

    Args:
        folder: The folder given.
        names: Pseudonyms of the source.
        quarantine: Takes the rows that cannot be used.
        film_patients: Published identifiers of the patients to keep.
        keyword_pattern: RE2 pattern; only notes in which it is found are kept.
        progress: Listener; advanced by rows.
    """

    def __init__(
        self,
        *,
        folder: Path,
        names: Pseudonymizer,
        quarantine: QuarantineList,
        film_patients: set[str],
        keyword_pattern: str,
        progress: Progress,
    ) -> None:
        self._folder = folder
        self._names = names
        self._quarantine = quarantine
        self._wanted = pa.array(sorted(film_patients), pa.string())
        self._pattern = keyword_pattern
        self._progress = progress
        self._reports: set[bytes] = set()
        self.reader = RecordReader(
            mapping=mimic.MIMIC_SITE,
            pseudonymizer=names,
            quarantine=quarantine,
            keyword_pattern=keyword_pattern,
        )
        self._rows = RecordTables(self.reader)
        self.shift_days: dict[str, int] = {}
        self._n_invalid = 0
        self.n_notes_read = 0
        self.n_reports_twice = 0
        self.n_rows_of_others = 0

    def read(self, tree: CxrTree, moments: Mapping[tuple[str, str], datetime | None]) -> None:
        """Read everything, in the order in which one thing refers to another.

        Args:
            tree: The films and reports.
            moments: When each study (patient, study) was taken, as published.

        Raises:
            InputError: A table is missing, unreadable or has other columns.
        """
        self._read_patients()
        self._read_encounters()
        self._read_diagnoses()
        self._read_cxr_reports(tree, moments)
        self._read_discharge_summaries()
        self._read_radiology()

    def tables(self) -> dict[Table, pa.Table]:
        """The rows of each table."""
        rows = patient_rows(
            mapping=mimic.MIMIC_SITE,
            patients=self.reader.patients,
            encounters=self.reader.encounters.values(),
            quarantine=self._quarantine,
        )
        patients = pa.Table.from_pylist(list(rows), schema=PATIENTS.schema)
        return {PATIENTS: patients, **self._rows.tables()}

    def _read_patients(self) -> None:
        path = mimic.MIMIC_IV.find_table(self._folder, "hosp/patients.csv", part="hosp")
        columns = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group")
        for batch in self._batches(mimic.MIMIC_IV, path, columns):
            births = [self._place(row) for row in batch.to_pylist()]
            placed = batch.filter(pa.array([birth is not None for birth in births], pa.bool_()))
            known: list[object] = [birth for birth in births if birth is not None]
            self._collect(mimic.PATIENTS, {**placed.to_pydict(), "birth": known})
        self._wanted = pa.array(sorted(self.shift_days), pa.string())
        seconds = [self.shift_days[each] * 86_400 for each in sorted(self.shift_days)]
        self._offsets = pa.array(seconds, pa.duration("s"))

    def _place(self, row: Row) -> date | None:
        """Birth date of a patient in about true years; notes the patient's days to those years.

        Ages over 89 are published as 91, which makes them older than any age that is kept. A
        patient without a place in time is set aside.
        """
        try:
            anchor, age = int(row["anchor_year"]), int(row["anchor_age"])
            middle = int(row["anchor_year_group"][:4]) + 1
            shift = date(middle, 1, 1) - date(anchor, 1, 1)
            birth = date(anchor - age, 1, 1) + shift
        except (TypeError, ValueError, OverflowError):
            key = f"patients/{self._names.pseudonym('row', str(row['subject_id']))}"
            self._quarantine.add(key, "anchor year, age or group is unreadable")
            return None
        self.shift_days.setdefault(str(row["subject_id"]), shift.days)
        return birth

    def _read_encounters(self) -> None:
        path = mimic.MIMIC_IV.find_table(self._folder, "hosp/admissions.csv", part="hosp")
        dates = ("admittime", "dischtime", "edregtime")
        for batch in self._batches(
            mimic.MIMIC_IV, path, ("subject_id", "hadm_id", "admission_type", *dates)
        ):
            self._collect(mimic.ADMISSIONS, self._dated(batch, dates))
        path_ed = mimic.MIMIC_IV_ED.find_optional(self._folder, "ed/edstays.csv")
        if path_ed is None:
            return
        columns = ("subject_id", "hadm_id", "stay_id", "intime", "outtime")
        for batch in self._batches(mimic.MIMIC_IV_ED, path_ed, columns):
            alone = batch.filter(pc.is_null(batch.column("hadm_id")))
            self._collect(mimic.ED_STAYS, self._dated(alone, ("intime", "outtime")))

    def _read_diagnoses(self) -> None:
        path = mimic.MIMIC_IV.find_table(self._folder, "hosp/diagnoses_icd.csv", part="hosp")
        columns = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
        for batch in self._batches(mimic.MIMIC_IV, path, columns):
            self._collect(mimic.DIAGNOSES, batch.to_pydict())
        path_ed = mimic.MIMIC_IV_ED.find_optional(self._folder, "ed/diagnosis.csv")
        if path_ed is None:
            return
        columns = ("subject_id", "stay_id", "seq_num", "icd_code", "icd_version")
        stays = pa.array(sorted(self.reader.encounters), pa.string())
        for batch in self._batches(mimic.MIMIC_IV_ED, path_ed, columns):
            # Stays that ended in an admission are coded with it.
            known = batch.filter(pc.is_in(batch.column("stay_id"), value_set=stays))
            self._collect(mimic.ED_DIAGNOSES, known.to_pydict())

    def _read_cxr_reports(
        self, tree: CxrTree, moments: Mapping[tuple[str, str], datetime | None]
    ) -> None:
        studies = [key for key in moments if key[0] in self.shift_days]
        for start in range(0, len(studies), REPORTS_PER_BATCH):
            chunk = studies[start : start + REPORTS_PER_BATCH]
            texts = [_report_text(tree.report(*key)) for key in chunk]
            batch = pa.record_batch(
                {
                    "subject_id": [subject for subject, _ in chunk],
                    "study_id": [study for _, study in chunk],
                    "text": pa.array(texts, pa.string()),
                }
            )
            matched = self._matched(batch)
            values = matched.to_pydict()
            values["study_datetime"] = [
                self._in_present(subject, moments[subject, study])
                for subject, study in zip(values["subject_id"], values["study_id"], strict=True)
            ]
            self._reports.update(_fingerprint(text) for text in values["text"] if text)
            self._collect(mimic.CXR_REPORTS, values)
            self._progress.advance(len(chunk))

    def _read_discharge_summaries(self) -> None:
        path = mimic.MIMIC_IV_NOTE.find_table(self._folder, "note/discharge.csv", part="note")
        for batch in self._batches(mimic.MIMIC_IV_NOTE, path, NOTE_COLUMNS):
            self._collect(mimic.DISCHARGE, self._dated(self._matched(batch), ("charttime",)))

    def _read_radiology(self) -> None:
        path = mimic.MIMIC_IV_NOTE.find_table(self._folder, "note/radiology.csv", part="note")
        kept = []
        for batch in self._batches(mimic.MIMIC_IV_NOTE, path, NOTE_COLUMNS):
            matched = self._matched(batch)
            is_new = pa.array(
                [not self._is_cxr_report(text) for text in matched.column("text").to_pylist()],
                pa.bool_(),
            )
            kept.append(matched.filter(is_new))
        exams = self._exam_names([batch.column("note_id") for batch in kept])
        for batch in kept:
            values = self._dated(batch, ("charttime",))
            values["exam_name"] = [exams.get(str(note)) for note in values["note_id"]]
            self._collect(mimic.RADIOLOGY, values)

    def _is_cxr_report(self, text: str | None) -> bool:
        is_twice = text is not None and _fingerprint(text) in self._reports
        self.n_reports_twice += is_twice
        return is_twice

    def _exam_names(self, note_ids: Sequence[pa.Array]) -> dict[str, str]:
        """The examinations that each note reports on, where the table that says so is there."""
        path = mimic.MIMIC_IV_NOTE.find_optional(self._folder, "note/radiology_detail.csv")
        names: dict[str, str] = {}
        if path is None:
            return names
        wanted = pa.chunked_array(note_ids, pa.string()).combine_chunks()
        columns = ("note_id", "subject_id", "field_name", "field_value")
        for batch in self._batches(mimic.MIMIC_IV_NOTE, path, columns):
            is_name = pc.equal(batch.column("field_name"), "exam_name")
            is_wanted = pc.is_in(batch.column("note_id"), value_set=wanted)
            for row in batch.filter(pc.and_(is_name, is_wanted)).to_pylist():
                before = names.get(row["note_id"])
                value = row["field_value"] or ""
                names[row["note_id"]] = value if before is None else f"{before} | {value}"
        return names

    def _batches(
        self, publication: Publication, path: Path, columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """Batches of a table, of the wanted patients alone."""

        def set_aside() -> None:
            self._n_invalid += 1
            key = f"{path.name.split('.')[0]}/row {self._n_invalid}"
            self._quarantine.add(key, "a row with too many or too few cells")

        for batch in publication.stream_batches(path, columns, set_aside):
            kept = batch.filter(pc.is_in(batch.column("subject_id"), value_set=self._wanted))
            for start in range(0, kept.num_rows, ROWS_PER_BATCH):
                yield kept.slice(start, ROWS_PER_BATCH)
            self.n_rows_of_others += batch.num_rows - kept.num_rows
            self._progress.advance(batch.num_rows)

    def _matched(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The notes in which the pattern is found, and those without a text, to be set aside."""
        self.n_notes_read += batch.num_rows
        text = batch.column("text")
        try:
            matches = pc.match_substring_regex(text, self._pattern)
        except pa.ArrowInvalid:
            raise ConfigurationError(
                "keyword_pattern: not a regular expression that RE2 accepts. It is made from the "
                "label definitions; correct their terms."
            ) from None
        return batch.filter(pc.fill_null(matches, True))

    def _dated(self, batch: pa.RecordBatch, columns: Sequence[str]) -> Columns:
        """A batch's columns, with dates brought to about true years."""
        place = pc.index_in(batch.column("subject_id"), value_set=self._wanted)
        offsets = self._offsets.take(place)
        values: Columns = batch.to_pydict()
        for name in columns:
            text = batch.column(name)
            moments = pc.strptime(text, format=DATE_FORMAT, unit="s", error_is_null=True)
            moved = pc.add(moments, offsets).to_pylist()
            values[name] = [
                UNREADABLE if moment is None and given is not None else moment
                for moment, given in zip(moved, values[name], strict=True)
            ]
        return values

    def _in_present(self, subject: str, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment + timedelta(days=self.shift_days[subject])

    def _collect(self, section: TableSection, values: Columns) -> None:
        batch = SourceBatch(values)
        self._rows.add(section, batch, row_hash(batch, column_names(section)))


def _report_text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _fingerprint(text: str) -> bytes:
    """Hash of a report's letters and digits; MIMIC-CXR puts FINAL REPORT before them."""
    letters = re.sub(r"[^a-z0-9]+", "", text.lower())
    return hashlib.sha256(letters.removeprefix("finalreport").encode()).digest()[:16]
