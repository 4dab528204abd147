"""The awkward real DICOM files: chest films bones-bright and upright, all else with a reason."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etl.films.image_ingest import IngestSummary, ingest_images
from etl.pseudonym import Pseudonymizer
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.records import IMAGE_SOURCES
from warehouse_schema.tables.runs import QUARANTINE

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("RIBLINE_SHARED_DATA", ROOT.parent / "shared" / "data")) / "dicom_real"
KEY = "0123456789abcdef"
SIZE_PX = 256

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="RIBLINE_SHARED_DATA has no folder dicom_real"
)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, IngestSummary]:
    store = Store(Home(tmp_path_factory.mktemp("home")))
    summary = ingest_images(
        store=store,
        folder=FOLDER,
        source="real_files",
        pseudonym_key=KEY,
        size_px=SIZE_PX,
        is_patient_required=False,
    )
    return store, summary


def _image(store: Store, name: str) -> dict[str, Any]:
    paths = {
        Path(row["file_path"]).name: row["image_id"]
        for row in store.read(IMAGE_SOURCES).to_pylist()
    }
    (image,) = store.read(IMAGES, where={"image_id": paths[name]}).to_pylist()
    return image


def _film(store: Store, name: str) -> np.ndarray:
    image_id = _image(store, name)["image_id"]
    (row,) = store.read(IMAGE_PIXELS, where={"image_id": image_id}).to_pylist()
    film = read_film(store.home.cache, row["shard_name"], row["shard_row"])
    top, left = row["pad_top_px"], row["pad_left_px"]
    return film[top : top + row["valid_height_px"], left : left + row["valid_width_px"]]


@pytest.mark.parametrize("name", ["RG1_J2KI.dcm", "nih_dx_implicitLE.dcm"])
def test_chest_films_come_out_bones_bright_and_upright(
    ingested: tuple[Store, IngestSummary], name: str
) -> None:
    store, _ = ingested
    assert _image(store, name)["is_frontal_chest"]
    film = _film(store, name).astype(float)
    rows, columns = film.shape
    chest = film[int(rows * 0.25) : int(rows * 0.55)]
    spine = chest[:, int(columns * 0.46) : int(columns * 0.54)].mean()
    lungs = [
        chest[:, int(columns * start) : int(columns * (start + 0.1))].mean()
        for start in (0.25, 0.65)
    ]
    belly = film[int(rows * 0.85) : int(rows * 0.97), int(columns * 0.2) : int(columns * 0.8)]
    assert spine > max(lungs) + 20
    assert belly.mean() > max(lungs) + 20


def test_the_film_without_tags_is_judged_by_its_image(
    ingested: tuple[Store, IngestSummary],
) -> None:
    reason = _image(ingested[0], "nih_dx_implicitLE.dcm")["selection_reason"]
    assert reason.startswith("tags are silent on view and body part; image check looks frontal")


def test_the_dog_is_refused_with_an_explanation(ingested: tuple[Store, IngestSummary]) -> None:
    dog = _image(ingested[0], "highdicom_dx_mono1_dog_thorax.dcm")
    assert not dog["is_frontal_chest"]
    assert dog["selection_reason"] == "veterinary: a description says CANINE"


def test_every_other_file_has_its_reason(ingested: tuple[Store, IngestSummary]) -> None:
    store, summary = ingested
    assert summary.n_files == sum(path.is_file() for path in FOLDER.rglob("*"))
    assert summary.n_files == summary.n_images + summary.n_quarantined
    assert summary.n_frontal == 2
    others = store.read(IMAGES, where={"is_frontal_chest": False})["selection_reason"].to_pylist()
    modalities = [reason for reason in others if reason.startswith("modality:")]
    assert len(modalities) == len(others) - 1
    assert all(row["reason"] for row in store.read(QUARANTINE).to_pylist())


def test_no_patient_of_the_files_is_named_in_the_warehouse(
    ingested: tuple[Store, IngestSummary],
) -> None:
    store, _ = ingested
    names = Pseudonymizer(key=KEY, source="real_files")
    assert names.pseudonym("patient", "9RG1") == _image(store, "RG1_J2KI.dcm")["patient_id"]
    content = b"".join(
        path.read_bytes() for path in store.home.warehouse.rglob("*") if path.is_file()
    )
    assert content
    for identifier in (b"9RG1", b"SCSRUSS", b"exam Number", b"Covid0000", b"dicom_real"):
        assert identifier not in content
