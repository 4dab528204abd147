"""The hospital's database: its tables are declared in schema.sql, its rows written here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from etl.synthetic_hospital.records import PatientRecords

HOSPITAL_NAME = "SYNTHETIC General Hospital (invented data)"
COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hospital": ("hospital_code", "hospital_name", "data_kind", "time_zone", "seed"),
        "patient": (
            "chart_no", "patient_name", "patient_name_english", "sex", "birth_date", "phone",
            "address", "is_synthetic", "updated_at",
        ),
        "visit": (
            "visit_no", "chart_no", "visit_type", "department", "start_at", "end_at", "updated_at",
        ),
        "visit_diagnosis": (
            "visit_no", "seq_no", "chart_no", "code_system", "icd_code", "recorded_at",
            "updated_at",
        ),
        "radiology_order": (
            "accession_no", "visit_no", "chart_no", "exam_code", "exam_name", "ordered_at",
            "performed_at", "updated_at",
        ),
        "clinical_note": (
            "note_no", "document_no", "version_no", "chart_no", "visit_no", "note_kind",
            "note_status", "accession_no", "author_code", "written_at", "signed_at", "note_text",
            "updated_at",
        ),
    }
)  # fmt: skip
Row = tuple[str | int | None, ...]
Rows = dict[str, list[Row]]
_UPDATE_LAG = timedelta(minutes=3)


def schema_statements() -> list[str]:
    """The DDL, statement by statement; it runs on SQLite and on PostgreSQL."""
    text = resources.files("etl.synthetic_hospital").joinpath("schema.sql").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [one.strip() for one in "\n".join(lines).split(";") if one.strip()]


def hospital_row(seed: int) -> Row:
    """The one row that says whose data these are."""
    return ("SYNTH", HOSPITAL_NAME, "SYNTHETIC", "Asia/Taipei", seed)


def table_rows(records: PatientRecords) -> Rows:
    """A patient's rows by table, in the order of COLUMNS."""
    chart_no = records.person.chart_no
    return {
        "patient": [_patient_row(records)],
        "visit": [
            (
                visit.visit_no, chart_no, visit.visit_type, visit.department,
                _written(visit.start), _written(visit.end), _updated(visit.end),
            )
            for visit in records.visits
        ],
        "visit_diagnosis": [
            (
                visit.visit_no, row.seq_no, chart_no, row.code_system, row.icd_code,
                _written(row.recorded_at), _updated(row.recorded_at),
            )
            for visit, row in records.diagnoses
        ],
        "radiology_order": [
            (
                order.accession_no, visit.visit_no, chart_no, order.exam_code, order.exam_name,
                _written(order.ordered_at), _written(order.performed_at),
                _updated(order.performed_at),
            )
            for visit in records.visits
            for order in visit.orders
        ],
        "clinical_note": [
            (
                note.note_no, note.document_no, note.version_no, chart_no, note.visit_no,
                note.note_kind, note.status, note.accession_no, note.author_code,
                _written(note.written_at), _written(note.signed_at) if note.signed_at else None,
                note.text, _updated(note.written_at),
            )
            for _, note in records.notes
        ],
    }  # fmt: skip


class HospitalDatabase:
    """Writes rows into a new SQLite file; nothing else may have it open."""

    def __init__(self, path: Path, *, seed: int) -> None:
        """Creates the tables."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        # The file is renamed into place when complete, so a torn one is never taken for whole.
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("BEGIN")
        indexes = [one for one in schema_statements() if one.startswith("CREATE INDEX")]
        for statement in schema_statements():
            if statement not in indexes:
                self._connection.execute(statement)
        self._indexes = indexes
        self.insert({"hospital": [hospital_row(seed)]})

    def insert(self, rows: Mapping[str, Iterable[Row]]) -> None:
        """Adds rows by table, in the order given."""
        for table, values in rows.items():
            self._connection.executemany(insert_statement(table), values)

    def close(self, *, is_complete: bool) -> None:
        """Builds the indexes and commits, or drops what was written."""
        if is_complete:
            for statement in self._indexes:
                self._connection.execute(statement)
            self._connection.execute("COMMIT")
        self._connection.close()


def insert_statement(table: str, placeholder: str = "?") -> str:
    """INSERT with one bound value per column; %s is the placeholder of PostgreSQL's driver."""
    columns = COLUMNS[table]
    values = ", ".join([placeholder] * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608


def _patient_row(records: PatientRecords) -> Row:
    person, first = records.person, records.visits[0]
    return (
        person.chart_no, person.name_chinese, person.name_english, person.sex_code,
        person.birth_date.isoformat(), person.phone, person.address, 1, _written(first.start),
    )  # fmt: skip


def _written(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")


def _updated(moment: datetime) -> str:
    return _written(moment + _UPDATE_LAG)
