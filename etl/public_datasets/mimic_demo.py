"""The MIMIC-III CSV files as a SQLite database, for extraction through the mapping mimic_iii."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from warehouse_schema.errors import InputError

TABLES = ("PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD", "NOTEEVENTS")


def load_mimic_demo(*, folder: Path, database_path: Path) -> str:
    """Load the tables that the mapping reads; every value stays the text of its CSV cell.

    Args:
        folder: Folder with PATIENTS.csv, ADMISSIONS.csv, DIAGNOSES_ICD.csv and NOTEEVENTS.csv.
        database_path: SQLite file to make; replaced when it exists.

    Returns:
        The SQLAlchemy URL of the database.

    Raises:
        InputError: A file is missing, has no header, or a row has too many or too few cells.
    """
    draft = database_path.with_name(f".{database_path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with sqlite3.connect(draft) as connection:
            for table in TABLES:
                _load_table(connection, folder / f"{table}.csv", table)
        connection.close()
        draft.replace(database_path)
    finally:
        draft.unlink(missing_ok=True)
    return f"sqlite:///{database_path.resolve()}"


def _load_table(connection: sqlite3.Connection, path: Path, table: str) -> None:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            columns = next(rows, [])
            if not columns or not all(name.isidentifier() for name in columns):
                raise InputError(f"{path.name} has no header row. Take the file as published.")
            listed = ", ".join(f'"{name}" TEXT' for name in columns)
            connection.execute(f'CREATE TABLE "{table}" ({listed})')
            marks = ", ".join("?" * len(columns))
            connection.executemany(
                f'INSERT INTO "{table}" VALUES ({marks})',  # noqa: S608
                _checked(rows, len(columns), path.name),
            )
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(
            f"{path.name} is missing or unreadable in the folder given. The MIMIC-III demo has "
            f"{', '.join(f'{name}.csv' for name in TABLES)}."
        ) from None


def _checked(rows: Iterator[list[str]], n_columns: int, name: str) -> Iterator[Sequence[str]]:
    for number, row in enumerate(rows, start=2):
        if len(row) != n_columns:
            raise InputError(
                f"{name}, line {number}: {len(row)} cells, {n_columns} expected. Take the file "
                "as published."
            )
        yield row
