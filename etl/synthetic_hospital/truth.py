"""The truth behind the hospital, for tests only: it never enters the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.synthetic_hospital.film_request import FINDINGS, SEVERITIES, FilmBox
from etl.synthetic_hospital.imaging import PlannedInstance
from etl.synthetic_hospital.records import PatientRecords

_BOX = pa.struct(
    [
        ("finding", pa.string()),
        ("severity", pa.string()),
        ("is_old", pa.bool_()),
        ("is_visible", pa.bool_()),
        ("x_px", pa.float64()),
        ("y_px", pa.float64()),
        ("width_px", pa.float64()),
        ("height_px", pa.float64()),
    ]
)
_PER_FINDING = [
    # has_acute: the patient had a new fracture when the film was taken, visible or not;
    # has_visible_acute is null where no film was rendered.
    ("has_acute_{}", pa.bool_()),
    ("has_old_{}", pa.bool_()),
    ("has_visible_acute_{}", pa.bool_()),
    ("severity_{}", pa.string()),
    ("evidence_{}", pa.list_(pa.string())),
]
IMAGE_SCHEMA = pa.schema(
    [
        ("sop_instance_uid", pa.string()),
        ("study_instance_uid", pa.string()),
        ("file_name", pa.string()),
        ("accession_no", pa.string()),
        ("visit_no", pa.string()),
        ("visit_purpose", pa.string()),
        ("chart_no", pa.string()),
        ("is_unknown_patient", pa.bool_()),
        ("patient_index", pa.int64()),
        ("acquired_datetime", pa.timestamp("s")),
        ("projection", pa.string()),
        ("is_frontal", pa.bool_()),
        ("is_index_film", pa.bool_()),
        ("rows_px", pa.int64()),
        ("columns_px", pa.int64()),
        ("photometric", pa.string()),
        ("bits_stored", pa.int64()),
        *[(name.format(finding), kind) for finding in FINDINGS for name, kind in _PER_FINDING],
        ("boxes", pa.list_(_BOX)),
    ]
)
NOTE_SCHEMA = pa.schema(
    [
        ("note_no", pa.string()),
        ("document_no", pa.string()),
        ("version_no", pa.int64()),
        ("visit_no", pa.string()),
        ("note_kind", pa.string()),
        ("finding", pa.string()),
        ("statement", pa.string()),
        ("section", pa.string()),
    ]
)
PATIENT_SCHEMA = pa.schema(
    [
        ("chart_no", pa.string()),
        ("patient_index", pa.int64()),
        ("truth_group", pa.string()),
        ("trauma_datetime", pa.timestamp("s")),
        ("injuries", pa.list_(pa.string())),
    ]
)
_SCHEMAS = {"images": IMAGE_SCHEMA, "notes": NOTE_SCHEMA, "patients": PATIENT_SCHEMA}


@dataclass(frozen=True, kw_only=True)
class ImageTruth:
    """What the box readers need of one image; is_index_film marks the first film of the trauma."""

    patient_index: int
    sop_instance_uid: str
    file_name: str
    accession_no: str
    acquired_at: datetime
    rows_px: int
    columns_px: int
    is_index_film: bool
    is_positive: bool
    boxes: tuple[FilmBox, ...]


class TruthWriter:
    """Appends to truth/images, notes and patients.parquet in the order of the patients."""

    def __init__(self, folder: Path) -> None:
        """Creates the folder and its files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._writers = {
            name: pq.ParquetWriter(folder / f"{name}.parquet", schema)
            for name, schema in _SCHEMAS.items()
        }

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def append(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Rows by file name."""
        for name, values in rows.items():
            if values:
                self._writers[name].write_table(pa.Table.from_pylist(values, _SCHEMAS[name]))


def truth_rows(
    records: PatientRecords, boxes: dict[str, tuple[FilmBox, ...]]
) -> dict[str, list[dict[str, Any]]]:
    """A patient's rows of all truth files. boxes: by SOP instance UID, empty without films."""
    index_uid = index_film_uid(records)
    return {
        "images": [
            _image_row(records, planned, boxes, is_index=planned.sop_instance_uid == index_uid)
            for planned in records.instances
        ],
        "notes": list(_note_rows(records)),
        "patients": [
            {
                "chart_no": records.person.chart_no,
                "patient_index": records.truth.patient_index,
                "truth_group": records.truth.group,
                "trauma_datetime": next(visit.start for visit in records.visits if visit.is_trauma),
                "injuries": list(records.truth.injuries),
            }
        ],
    }


def index_film_uid(records: PatientRecords) -> str | None:
    """The first frontal film of the trauma, None where the archive has none."""
    trauma = {visit.visit_no for visit in records.visits if visit.is_trauma}
    films = [one for one in records.instances if one.is_frontal and one.visit_no in trauma]
    return min(films, key=lambda one: one.acquired_at).sop_instance_uid if films else None


def image_truths(
    records: PatientRecords, boxes: dict[str, tuple[FilmBox, ...]]
) -> list[ImageTruth]:
    """The index film of a patient for the box readers; empty where there is none."""
    index_uid = index_film_uid(records)
    return [
        ImageTruth(
            patient_index=records.truth.patient_index,
            sop_instance_uid=planned.sop_instance_uid,
            file_name=planned.file_name,
            accession_no=planned.accession_no,
            acquired_at=planned.acquired_at,
            rows_px=planned.film.rows_px,
            columns_px=planned.film.columns_px,
            is_index_film=True,
            is_positive=bool(records.truth.acute),
            boxes=boxes[planned.sop_instance_uid],
        )
        for planned in records.instances
        if planned.sop_instance_uid == index_uid
    ]


def _image_row(
    records: PatientRecords,
    planned: PlannedInstance,
    boxes: dict[str, tuple[FilmBox, ...]],
    *,
    is_index: bool,
) -> dict[str, Any]:
    visit = next(one for one in records.visits if one.visit_no == planned.visit_no)
    rendered = boxes.get(planned.sop_instance_uid)
    drawn = rendered or ()
    row: dict[str, Any] = {
        "sop_instance_uid": planned.sop_instance_uid,
        "study_instance_uid": planned.study_instance_uid,
        "file_name": planned.file_name,
        "accession_no": planned.accession_no,
        "visit_no": planned.visit_no,
        "visit_purpose": visit.purpose,
        "chart_no": planned.chart_no,
        "is_unknown_patient": planned.chart_no != records.person.chart_no,
        "patient_index": records.truth.patient_index,
        "acquired_datetime": planned.acquired_at,
        "projection": planned.film.projection,
        "is_frontal": planned.is_frontal,
        "is_index_film": is_index,
        "rows_px": planned.film.rows_px,
        "columns_px": planned.film.columns_px,
        "photometric": planned.scanner.photometric,
        "bits_stored": planned.scanner.bits_stored,
        "boxes": [vars(box) for box in drawn],
    }
    evidence = records.evidence(planned.visit_no)
    for finding in FINDINGS:
        shown = [one for one in planned.film.fractures if one.finding == finding]
        acute = {one.severity for one in shown if not one.is_old}
        row[f"has_acute_{finding}"] = bool(acute)
        row[f"has_old_{finding}"] = any(one.is_old for one in shown)
        row[f"has_visible_acute_{finding}"] = (
            None if rendered is None else _is_visible(rendered, finding)
        )
        row[f"severity_{finding}"] = next((one for one in SEVERITIES if one in acute), None)
        row[f"evidence_{finding}"] = list(evidence[finding])
    return row


def _is_visible(boxes: Sequence[FilmBox], finding: str) -> bool:
    return any(box.finding == finding and box.is_visible and not box.is_old for box in boxes)


def _note_rows(records: PatientRecords) -> Iterable[dict[str, Any]]:
    for _, note in records.notes:
        for statement in note.statements:
            yield {
                "note_no": note.note_no,
                "document_no": note.document_no,
                "version_no": note.version_no,
                "visit_no": note.visit_no,
                "note_kind": note.note_kind,
                "finding": statement.finding,
                "statement": statement.kind,
                "section": statement.section,
            }
