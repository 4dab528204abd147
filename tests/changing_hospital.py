"""A hospital whose rows come, go and are amended from night to night, with clocks that err."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from etl.records.site_mapping import SiteMapping

ZONE = ZoneInfo("Europe/Berlin")
# The night in which the clocks go back from 03:00 to 02:00.
START = datetime(2014, 10, 24, 12, tzinfo=UTC)
COLUMNS = {
    "patient": ("no", "sex", "born", "chart"),
    "visit": ("visit_no", "no", "came", "went", "kind"),
    "diagnosis": ("row_no", "no", "visit_no", "code", "version", "seq", "coded"),
    "note": ("note_no", "no", "visit_no", "body", "kind", "written", "accession"),
}
KEYS = {"patient": "no", "visit": "visit_no", "diagnosis": "row_no", "note": "note_no"}


def changing_site(*, with_cursor: set[str], has_diagnosis_key: bool) -> SiteMapping:
    """The mapping; tables in ``with_cursor`` have a usable ``changed`` column."""

    def changed(table: str) -> dict[str, str]:
        return {"changed": "updated"} if table in with_cursor else {}

    diagnosis = {"diagnosis": "row_no"} if has_diagnosis_key else {}
    return SiteMapping.model_validate(
        {
            "name": "changing",
            "meaning": "A hospital in motion.",
            "time_zone": "Europe/Berlin",
            "changed_lag_hours": 6,
            "patients": {
                "table": "patient",
                "patient": "no",
                "imaging_patient": "chart",
                "sex": "sex",
                "birth": "born",
                **changed("patient"),
            },
            "encounters": {
                "table": "visit",
                "encounter": "visit_no",
                "patient": "no",
                "start": "came",
                "end": "went",
                "encounter_class": "kind",
                **changed("visit"),
            },
            "diagnoses": [
                {
                    "table": "diagnosis",
                    "patient": "no",
                    "encounter": "visit_no",
                    "code": "code",
                    "vocabulary": {"column": "version", "values": {"9": "ICD9CM"}},
                    "position": "seq",
                    "recorded": "coded",
                    **diagnosis,
                    **changed("diagnosis"),
                }
            ],
            "notes": [
                {
                    "table": "note",
                    "note": "note_no",
                    "patient": "no",
                    "encounter": "visit_no",
                    "text": "body",
                    "note_type": {"column": "kind", "values": {"CXR": "chest_film_report"}},
                    "note_datetime": "written",
                    "accession": "accession",
                    **changed("note"),
                }
            ],
        }
    )


@dataclass
class ChangingHospital:
    """Its database, and the clock.

    Attributes:
        path: SQLite file.
        draw: Source of all chance.
        clock: True time.
    """

    path: Path
    draw: random.Random
    clock: datetime = START
    _late: list[Callable[[sqlite3.Connection], None]] = field(default_factory=list)
    _late_amends: list[tuple[str, int | None, str, Any]] = field(default_factory=list)
    _made: int = 0

    @property
    def url(self) -> str:
        """Its SQLAlchemy URL."""
        return f"sqlite:///{self.path}"

    def build(self, n_patients: int) -> None:
        """Create the tables and the first patients with all their rows."""
        with sqlite3.connect(self.path) as database:
            for table, columns in COLUMNS.items():
                database.execute(f"CREATE TABLE {table} ({', '.join(columns)}, updated)")
                database.execute(f"CREATE INDEX {table}_key ON {table} ({KEYS[table]})")
            database.execute("CREATE INDEX visit_by_patient ON visit (no)")
            for _ in range(n_patients):
                self._admit(database)
        database.close()

    def work(self, n_changes: int) -> None:
        """A day: changes at moments of their own, some of which are committed a night late."""
        with sqlite3.connect(self.path) as database:
            late, self._late = self._late, []
            for change in late:
                change(database)
            for _ in range(n_changes):
                self.clock += timedelta(seconds=self.draw.choice([0, 0, 1, 600, 7200]))
                self.draw.choice(
                    [self._admit, self._insert, self._insert, self._amend, self._amend,
                     self._amend, self._delete, self._double, self._late_insert, self._late_amend]
                )(database)  # fmt: skip
            self._stamp_late_amends()
        database.close()

    def _updated(self, ago: timedelta = timedelta()) -> str:
        """The row's own clock: local wall time, up to an hour ahead or behind."""
        skew = timedelta(minutes=self.draw.choice([0, 0, 0, -60, 60, -17]))
        return (self.clock - ago + skew).astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")

    def _admit(self, database: sqlite3.Connection) -> None:
        self._made += 1
        patient = f"P{self._made:06d}"
        self._put(database, "patient", self._row("patient", patient))
        for _ in range(self.draw.randrange(3)):
            self._put(database, "visit", self._row("visit", patient))
        for table in self.draw.choices(["diagnosis", "note"], k=self.draw.randrange(5)):
            self._put(database, table, self._row(table, patient, self._visit_of(database, patient)))

    def _row(self, table: str, patient: str, visit: str | None = None) -> dict[str, Any]:
        self._made += 1
        came = self.clock - timedelta(hours=self.draw.randrange(2000))
        visit = visit or self.draw.choice([None, f"V{self.draw.randrange(1, self._made + 1):06d}"])
        born = self.draw.choice(
            ["1950-06-01", "1924-10-30", "1924-11-01", "1925-05-05", "2014-10-20"]
        )
        row = {
            "no": self.draw.choice([patient] * 9 + [f"P{self._made:06d} ", None, "nobody"]),
            "sex": self.draw.choice("FMX"),
            "born": self.draw.choice([born, born, None, "some day"]),
            "chart": self.draw.choice([None, f"C{patient}"]),
            "visit_no": f"V{self._made:06d}" if table == "visit" else visit,
            "came": came.strftime("%Y-%m-%d %H:%M:%S"),
            "went": self.draw.choice([None, self.clock.strftime("%Y-%m-%d %H:%M:%S")]),
            "kind": self.draw.choice(["CXR", "CXR", "E", None]),
            "row_no": self._made,
            "code": self.draw.choice(["80700", "8100", "bad", "4019"]),
            "version": self.draw.choice(["9", "9", "9", "7"]),
            "seq": self.draw.choice([1, 2, "x"]),
            "coded": came.strftime("%Y-%m-%d"),
            "note_no": f"N{self._made:06d}",
            "body": self.draw.choice(["rib fracture", "clear lungs", "no fracture", None])
            and f"{self.draw.choice(['rib fracture', 'clear lungs'])} {self._made % 7}",
            "written": came.strftime("%Y-%m-%d %H:%M"),
            "accession": self.draw.choice([None, f"A{self._made}"]),
        }
        if table == "patient":
            row["no"] = patient
        return {name: row[name] for name in COLUMNS[table]}

    def _put(self, database: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
        row = {**row, "updated": self._updated()}
        database.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )

    def _some(self, database: sqlite3.Connection) -> tuple[str, int | None]:
        table = self.draw.choice(["patient", "visit", "visit", "diagnosis", "note", "note"])
        n_rows = database.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
        # Half of all changes touch what is new, the other half anything.
        low = max(1, n_rows - 5) if self.draw.random() < 0.5 else 1
        found = database.execute(
            f"SELECT rowid FROM {table} WHERE rowid >= ? LIMIT 1",
            [self.draw.randint(low, max(n_rows, low))],
        ).fetchone()
        return table, found[0] if found else None

    def _patient_and_visit(self, database: sqlite3.Connection) -> tuple[str, str | None]:
        n = self.draw.randint(1, self._made + 3)
        found = database.execute("SELECT no FROM patient WHERE no >= ? LIMIT 1", [f"P{n:06d}"])
        patient = (found.fetchone() or ["nobody"])[0]
        return patient, self._visit_of(database, patient)

    @staticmethod
    def _visit_of(database: sqlite3.Connection, patient: str) -> str | None:
        found = database.execute(
            "SELECT visit_no FROM visit WHERE no = ? ORDER BY rowid DESC LIMIT 1", [patient]
        ).fetchone()
        return found[0] if found else None

    def _insert(self, database: sqlite3.Connection) -> None:
        patient, visit = self._patient_and_visit(database)
        table = self.draw.choice(["visit", "diagnosis", "note"])
        self._put(database, table, self._row(table, patient, visit))

    def _late_insert(self, database: sqlite3.Connection) -> None:
        """Stamped now, committed after the next extraction."""
        patient, visit = self._patient_and_visit(database)
        table = self.draw.choice(["visit", "diagnosis", "note"])
        row, stamp = self._row(table, patient, visit), self._updated()

        def commit(database: sqlite3.Connection) -> None:
            self._put(database, table, row)
            database.execute(
                f"UPDATE {table} SET updated = ? WHERE rowid = last_insert_rowid()", [stamp]
            )

        self._late.append(commit)

    def _new_value(self, table: str) -> tuple[str, Any]:
        column = self.draw.choice([name for name in COLUMNS[table] if name != KEYS[table]])
        n = self.draw.randint(1, self._made)
        return column, self._row(table, f"P{n:06d}")[column]

    def _amend(self, database: sqlite3.Connection) -> None:
        table, row = self._some(database)
        column, value = self._new_value(table)
        database.execute(
            f"UPDATE {table} SET {column} = ?, updated = ? WHERE rowid = ?",
            [value, self._updated(), row],
        )

    def _late_amend(self, database: sqlite3.Connection) -> None:
        """Stamped in the last hour before the next extraction, committed after it.

        Two hours of erring clocks and the hour of summer time come on top; the mapping's lag covers
        them. A row that is new may be late by any time.
        """
        table, row = self._some(database)
        column, value = self._new_value(table)
        self._late_amends.append((table, row, column, value))

    def _stamp_late_amends(self) -> None:
        for table, row, column, value in self._late_amends:
            late = timedelta(minutes=self.draw.randrange(60))
            arguments = (f"UPDATE {table} SET {column} = ?, updated = ? WHERE rowid = ?",
                         [value, self._updated(late), row])  # fmt: skip
            self._late.append(partial(_execute, *arguments))
        self._late_amends = []

    def _delete(self, database: sqlite3.Connection) -> None:
        table, row = self._some(database)
        database.execute(f"DELETE FROM {table} WHERE rowid = ?", [row])

    def _double(self, database: sqlite3.Connection) -> None:
        """A second row with a known identifier, alike or not."""
        table, row = self._some(database)
        names = ", ".join(COLUMNS[table])
        database.execute(
            f"INSERT INTO {table} ({names}, updated) SELECT {names}, ? FROM {table} "
            "WHERE rowid = ?",
            [self._updated(), row],
        )
        if self.draw.random() < 0.5:
            column, value = self._new_value(table)
            database.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = last_insert_rowid()", [value]
            )


def _execute(statement: str, values: list[Any], database: sqlite3.Connection) -> None:
    database.execute(statement, values)
