"""A made-up copy of VinDr-CXR 1.0.0: noise for films, in the published layout."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CLASSES = ("Aortic enlargement", "Clavicle fracture", "Rib fracture", "No finding")
CORNERS = ("x_min", "y_min", "x_max", "y_max")
FILMS = {"a": "train", "b": "train", "c": "train", "e": "train", "t1": "test", "t2": "test"}


def write_copy(folder: Path) -> Path:
    """Films a to c of the training part, t1 and t2 of the test part; e is damaged, d is missing.

    Returns the folder that holds the release.
    """
    root = folder / "vindr-cxr" / "1.0.0"
    for number, (image_id, split) in enumerate(FILMS.items()):
        write_film(root / split / f"{image_id}.dicom", image_id, seed=number)
    (root / "train" / "e.dicom").write_bytes(b"no film")
    annotations = root / "annotations"
    labels = [
        *({"image_id": "a", "rad_id": f"R{n}", "Rib fracture": int(n > 1)} for n in (1, 2, 3)),
        *({"image_id": "b", "rad_id": f"R{n}", "Rib fracture": int(n == 1)} for n in (1, 2, 3)),
        *({"image_id": "c", "rad_id": f"R{n}", "No finding": 1} for n in (4, 5, 6)),
        *({"image_id": name, "rad_id": "R1", "Rib fracture": 1} for name in ("d", "e")),
    ]
    tests = [{"image_id": "t1", "Rib fracture": 1}, {"image_id": "t2", "Clavicle fracture": 0}]
    write_table(annotations / "image_labels_train.csv", ("image_id", "rad_id", *CLASSES), labels)
    write_table(annotations / "image_labels_test.csv", ("image_id", *CLASSES), tests)
    boxes = [
        ("a", "R2", "Rib fracture", 10, 20, 40, 60),
        ("a", "R3", "Rib fracture", 12, 22, 140, 60),
        ("a", "R3", "Aortic enlargement", 1, 1, 9, 9),
        ("b", "R1", "Rib fracture", 5, 5, 5, 9),
        ("c", "R4", "No finding", "", "", "", ""),
        ("d", "R1", "Rib fracture", 1, 1, 5, 5),
    ]
    columns = ("image_id", "rad_id", "class_name", *CORNERS)
    drawn = [dict(zip(columns, box, strict=True)) for box in boxes]
    write_table(annotations / "annotations_train.csv", columns, drawn)
    agreed = {
        "image_id": "t1",
        "class_name": "Rib fracture",
        **dict(zip(CORNERS, (1, 2, 11.5, 22), strict=True)),
    }
    write_table(
        annotations / "annotations_test.csv",
        ("image_id", "class_name", *CORNERS),
        [agreed, {"image_id": "t2", "class_name": "No finding"}],
    )
    return folder / "vindr-cxr"


def write_film(path: Path, image_id: str, *, seed: int) -> None:
    """A film with the tags that VinDr kept (tags.csv of its de-identification) and no others.

    There is no UID, modality or view, and the file's own part holds no UID that is one.
    """
    pixels = np.random.default_rng(seed).integers(0, 4096, (160, 130)).astype(np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.preamble = b"\0" * 128
    dataset.PatientSex, dataset.PatientAge = "F", "051Y"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.file_meta.MediaStorageSOPInstanceUID = image_id
        dataset.save_as(path, enforce_file_format=False)


def write_table(path: Path, header: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A CSV table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(header), restval="")
        writer.writeheader()
        writer.writerows(rows)
