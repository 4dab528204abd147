"""A small invented hospital: a SQLite file and DICOM files, made by the test that needs them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from etl.pseudonym import Pseudonymizer
from etl.records.site_mapping import SiteMapping
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES

KEY = "0123456789abcdef0123456789abcdef"
SITE = {
    "name": "small",
    "meaning": "A small invented hospital.",
    "encoding": "utf-8",
    "time_zone": "UTC",
    "patients": {"table": "patient", "patient": "no", "sex": "sex", "birth": "born"},
    "encounters": {
        "table": "visit",
        "encounter": "visit_no",
        "patient": "no",
        "start": "came",
        "end": "went",
        "encounter_class": {"column": "kind", "values": {"E": "emergency"}, "default": "other"},
    },
    "diagnoses": [
        {
            "table": "diagnosis",
            "patient": "no",
            "encounter": "visit_no",
            "code": "code",
            "vocabulary": {"column": "version", "values": {"9": "ICD9CM", "10": "ICD10CM"}},
            "position": "seq",
            "recorded": "coded",
        }
    ],
    "notes": [
        {
            "table": "note",
            "note": "note_no",
            "patient": "no",
            "encounter": "visit_no",
            "text": "body",
            "encoding_column": "charset",
            "note_type": {
                "column": "kind",
                "values": {"CXR": "chest_film_report"},
                "default": "other",
            },
            "note_datetime": ["signed", "written"],
            "accession": "accession",
        }
    ],
}
TABLES = {
    "patient": ("no", "sex", "born"),
    "visit": ("visit_no", "no", "came", "went", "kind"),
    "diagnosis": ("no", "visit_no", "code", "version", "seq", "coded"),
    "note": (
        "note_no",
        "no",
        "visit_no",
        "body",
        "charset",
        "kind",
        "signed",
        "written",
        "accession",
    ),
}
Rows = Sequence[tuple[Any, ...]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def site() -> SiteMapping:
    return SiteMapping.model_validate(SITE)


@pytest.fixture
def make_database(tmp_path: Path) -> Callable[..., str]:
    """Writes the rows given for each table of the small hospital; returns the URL."""

    def make(columns: dict[str, tuple[str, ...]] = TABLES, **rows: Rows) -> str:
        path = tmp_path / "small.sqlite"
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            for table, names in columns.items():
                connection.execute(f"CREATE TABLE {table} ({', '.join(names)})")
                marks = ", ".join("?" * len(names))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows.get(table, ()))
        connection.close()
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def put(store: Store) -> Callable[[Table, list[dict[str, Any]]], None]:
    """Writes rows to a table; columns that may be null and are not given are null."""

    def put(table: Table, rows: list[dict[str, Any]]) -> None:
        with store.commit(stage="test") as commit:
            commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))

    return put


def anatomy(rows: int = 160, columns: int = 130, bits: int = 12) -> np.ndarray:
    """A smooth image with noise, as films are."""
    generator = np.random.default_rng(rows)
    coarse = generator.random((9, 7), dtype=np.float32)
    smooth = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    image = smooth * 2**bits * 0.8 + generator.normal(0, 2**bits / 400, (rows, columns))
    return np.clip(image, 0, 2**bits - 1).astype(np.uint8 if bits <= 8 else np.uint16)


def film_dataset(pixels: np.ndarray | None = None, **tags: Any) -> Dataset:
    """A CR chest film of noise; tags given override, None removes."""
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 4096, (160, 130)).astype(np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = tags.pop("SOPInstanceUID", None) or generate_uid(
        entropy_srcs=[str(sorted(tags.items())), str(pixels.sum())]
    )
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    defaults: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "SOPInstanceUID": uid,
        "StudyInstanceUID": f"{uid[:40]}.1",
        "SeriesInstanceUID": f"{uid[:40]}.2",
        "PatientID": "p1",
        "PatientName": "Canary^Name",
        "Modality": "CR",
        "ViewPosition": "PA",
        "BodyPartExamined": "CHEST",
        "StudyDate": "20150307",
        "StudyTime": "120000",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": 12 if pixels.dtype.itemsize == 2 else 8,
        "HighBit": 11 if pixels.dtype.itemsize == 2 else 7,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    for name, value in {**defaults, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    return dataset


@pytest.fixture
def make_film() -> Callable[..., Dataset]:
    return film_dataset


@pytest.fixture
def write_film(tmp_path: Path) -> Callable[..., Path]:
    """Writes a film under the folder ``dicom`` and returns its path."""

    def write(name: str, pixels: np.ndarray | None = None, **tags: Any) -> Path:
        path = tmp_path / "dicom" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        film_dataset(pixels, **tags).save_as(path, enforce_file_format=True)
        return path

    return write


def image_row(image_id: str, patient_id: str = "P1", **changes: Any) -> dict[str, Any]:
    """A row of images: a frontal chest film of 1000 x 800 pixels."""
    return {
        "image_id": image_id,
        "patient_id": patient_id,
        "source": "small",
        "study_id": "ST",
        "series_id": "SE",
        "modality_code": "DX",
        "rows_px": 1000,
        "columns_px": 800,
        "is_frontal_chest": True,
        "selection_reason": "view PA",
        "source_sha256": image_id,
        "is_synthetic": False,
        **changes,
    }


@pytest.fixture
def make_image() -> Callable[..., dict[str, Any]]:
    return image_row


@pytest.fixture
def box_site(store: Store, key: str, put: Callable[..., None]) -> Store:
    """A store with the films 1.2.3 (accession ACC), 1.2.4 and 1.2.5 (both accession TWO)."""
    names = Pseudonymizer(key=key, source="small")
    images = [
        image_row(
            names.pseudonym("image", uid),
            accession_id=names.pseudonym("accession", accession),
            source_sha256=f"{number:064x}",
        )
        for number, (uid, accession) in enumerate(
            (("1.2.3", "ACC"), ("1.2.4", "TWO"), ("1.2.5", "TWO")), start=3
        )
    ]
    put(IMAGES, images)
    sources = [
        {
            "image_id": image["image_id"],
            "sop_instance_uid": f"1.2.{number}",
            "file_path": f"/films/{number}/film.dcm",
            "source_sha256": image["source_sha256"],
        }
        for number, image in enumerate(images, start=3)
    ]
    put(IMAGE_SOURCES, sources)
    patient = {
        "kind": "patient",
        "pseudonym": "P1",
        "source": "small",
        "source_identifier": "p1",
        "date_shift_days": -10,
    }
    put(IDENTITIES, [patient])
    return store
