"""A hospital small enough to read: patients, films, codes and notes written by hand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from nlp_labeling.definition import load_definitions
from nlp_labeling.image_labels import LabelSummary, label_images
from nlp_labeling.mining import mine_mentions
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.table import INTEGERS, TEXTS, Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, NOTES

STUDY = datetime(2014, 5, 1, 12, tzinfo=UTC)
NOW = datetime(2015, 1, 1, tzinfo=UTC)
DEFINITIONS = load_definitions()


def blank(table: Table, **values: Any) -> dict[str, Any]:
    defaults: dict[pa.DataType, Any] = {
        pa.string(): "x",
        pa.int64(): 1,
        pa.float64(): 1.0,
        pa.bool_(): False,
        TEXTS: [],
        INTEGERS: [],
    }
    row = {
        column.name: None if column.null_meaning else defaults.get(column.type, STUDY)
        for column in table.columns
    }
    for column in table.columns:
        if column.allowed:
            row[column.name] = column.allowed[0]
    return {**row, "source": "site", **values} if "source" in row else {**row, **values}


class Hospital:
    """A few patients p1, p2 ... each with a film i1, an encounter e1 and an accession a1."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(Home(folder))
        self.rows: dict[str, list[dict[str, Any]]] = {
            table.name: [] for table in (IMAGES, IMAGE_LINKS, ENCOUNTERS, DIAGNOSES, NOTES)
        }

    def patient(self, number: int, *, end: datetime | None = STUDY + timedelta(days=2)) -> None:
        n = str(number)
        self.rows["images"].append(
            blank(
                IMAGES,
                image_id="i" + n,
                patient_id="p" + n,
                accession_id="a" + n,
                acquired_datetime=STUDY,
                is_frontal_chest=True,
            )
        )
        self.rows["encounters"].append(
            blank(
                ENCOUNTERS,
                encounter_id="e" + n,
                patient_id="p" + n,
                start_datetime=STUDY - timedelta(hours=2),
                end_datetime=end,
            )
        )
        self.rows["image_links"].append(
            blank(
                IMAGE_LINKS,
                image_id="i" + n,
                encounter_id="e" + n,
                rank=1,
                is_chosen=True,
                reason="contains",
                distance_hours=0.0,
            )
        )

    def code(self, number: int, code: str, *, hours: float = 40, position: int = 1) -> None:
        self.rows["diagnoses"].append(
            blank(
                DIAGNOSES,
                diagnosis_id=f"d{len(self.rows['diagnoses'])}",
                patient_id=f"p{number}",
                encounter_id=f"e{number}",
                vocabulary="ICD9CM" if code[0].isdigit() else "ICD10CM",
                diagnosis_code=code,
                position=position,
                recorded_datetime=STUDY + timedelta(hours=hours),
            )
        )

    def note(
        self,
        number: int,
        text: str,
        *,
        kind: str = "chest_film_report",
        hours: float = 1,
        accession: str | None = None,
        series: str | None = None,
        version: int = 1,
        status: str = "final",
    ) -> None:
        index = len(self.rows["notes"])
        if kind == "chest_film_report" and accession is None:
            accession = f"a{number}"
        self.rows["notes"].append(
            blank(
                NOTES,
                note_id=f"n{index}",
                patient_id=f"p{number}",
                encounter_id=f"e{number}",
                note_type=kind,
                note_series_id=series or f"s{index}",
                note_version=version,
                status=status,
                accession_id=accession,
                note_datetime=STUDY + timedelta(hours=hours),
                text=text,
                text_sha256=hashlib.sha256(text.encode()).hexdigest(),
            )
        )

    def run(self, now: datetime = NOW) -> LabelSummary:
        tables = {t.name: t for t in (IMAGES, IMAGE_LINKS, ENCOUNTERS, DIAGNOSES, NOTES)}
        with self.store.commit(stage="extract") as commit:
            for name, rows in self.rows.items():
                table = tables[name]
                commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))
        mine_mentions(store=self.store, definitions=DEFINITIONS)
        return label_images(store=self.store, definitions=DEFINITIONS, as_of_datetime=now)

    def label(self, number: int, finding: str = "rib_fracture") -> dict[str, Any]:
        rows = self.store.read(IMAGE_LABELS, where={"image_id": f"i{number}", "finding": finding})
        return dict(rows.to_pylist()[0])
