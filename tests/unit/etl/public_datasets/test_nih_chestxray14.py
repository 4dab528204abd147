from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from etl.public_datasets.nih_chestxray14 import ImportSummary, import_nih_chestxray14
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE
from warehouse_schema.tables.records import PATIENTS

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
ENTRIES = (
    "1_0.png,Pneumonia|Edema,0,1,60,M,AP,2048,2048,0.1,0.1\n"
    "1_1.png,No Finding,1,1,061Y,M,PA,2048,2048,0.1,0.1\n"
    "2_0.png,Infiltration,0,2,413,F,PA,2048,2048,0.1,0.1\n"
    "3_0.png,Pneumonia,0,3,50,F,PA,2048,2048,0.1,0.1\n"
)
BOXES = (
    "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "1_0.png,Pneumonia,512,256,128,64\n"
    "2_0.png,Infiltrate,1000,1000,100,10\n"
    "9_9.png,Mass,1,1,5,5\n"
    "1_0.png,Mass,1,1,x,5\n"
)
Import = Callable[..., ImportSummary]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nih" / "images").mkdir(parents=True)
    (tmp_path / "nih" / "Data_Entry_2017_v2020.csv").write_text(HEADER + ENTRIES)
    (tmp_path / "nih" / "BBox_List_2017.csv").write_text(BOXES)
    grey = np.arange(128 * 128, dtype=np.uint32).reshape(128, 128) % 251
    for name, level in (("1_0.png", 1), ("1_1.png", 9)):
        path = tmp_path / "nih" / "images" / name
        cv2.imwrite(str(path), grey.astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, level])
    rgba = cv2.cvtColor(grey.astype(np.uint8), cv2.COLOR_GRAY2RGBA)
    cv2.imwrite(str(tmp_path / "nih" / "images" / "2_0.png"), rgba)
    (tmp_path / "nih" / "images" / "3_0.png").write_bytes(b"no picture")
    return tmp_path / "nih"


@pytest.fixture
def run(store: Store, folder: Path, key: str) -> Import:
    def run(finding: str = "Pneumonia") -> ImportSummary:
        return import_nih_chestxray14(
            store=store, folder=folder, findings=[finding], size_px=64, pseudonym_key=key
        )

    return run


def test_films_labels_and_boxes_arrive(store: Store, run: Import) -> None:
    summary = run()
    assert (summary.n_images, summary.n_patients) == (3, 2)
    assert (summary.n_positive, summary.n_negative, summary.n_boxes) == (1, 2, 2)
    assert summary.quarantine_reasons == {
        "it is not a box of four numbers": 1,
        "its image is not known": 1,
        "the film is no readable PNG or JPEG": 1,
    }
    assert set(store.read(IMAGE_LABELS)["reason"].to_pylist()) == {"public label"}
    assert store.read(LABEL_EVIDENCE)["polarity"].to_pylist().count("negative") == 2
    assert store.read(PATIENTS).num_rows == 2
    ages = sorted(store.read(IMAGES)["age_years"].to_pylist(), key=lambda age: age or 0)
    assert ages == [None, 60.0, 61.0]


def test_boxes_are_scaled_from_the_published_frame_and_clipped(store: Store, run: Import) -> None:
    run()
    by_finding = {row["finding"]: row for row in store.read(ANNOTATIONS).to_pylist()}
    box = by_finding["pneumonia"]
    assert (box["x_px"], box["y_px"], box["width_px"], box["height_px"]) == (64, 32, 16, 8)
    assert not box["is_clipped"]
    assert by_finding["infiltration"]["is_clipped"]
    assert by_finding["infiltration"]["width_px"] == 3


def test_rgba_films_give_the_same_pixels_as_grey_ones(store: Store, run: Import) -> None:
    run()
    rows = store.read(IMAGE_PIXELS).to_pylist()
    films = [read_film(store.home.cache, row["shard_name"], row["shard_row"]) for row in rows]
    assert all(np.array_equal(films[0], film) for film in films)
    assert films[0].std() > 0


def test_an_import_repeats_itself(store: Store, run: Import) -> None:
    run()
    before = [store.read(table) for table in (IMAGES, IMAGE_PIXELS, IMAGE_LABELS, ANNOTATIONS)]
    run("pneumonia")
    after = [store.read(table) for table in (IMAGES, IMAGE_PIXELS, IMAGE_LABELS, ANNOTATIONS)]
    assert before == after


def test_an_unknown_finding_lists_those_there_are(store: Store, run: Import) -> None:
    with pytest.raises(ArgumentError, match="has edema, infiltration, pneumonia"):
        run("gout")
    assert store.manifest().version == 0


def test_a_film_name_never_leaves_the_folder(folder: Path, run: Import) -> None:
    secret = folder.parent / "secret.png"
    secret.write_bytes((folder / "images" / "1_0.png").read_bytes())
    entry = "../../secret.png,Pneumonia,0,4,50,F,PA,1,1,0.1,0.1\n"
    (folder / "Data_Entry_2017_v2020.csv").write_text(HEADER + ENTRIES + entry)
    assert run().quarantine_reasons["the film is not in the folder"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Data_Entry_2017_v2020.csv", None, r"Data_Entry_2017\*.csv is missing"),
        ("BBox_List_2017.csv", None, "BBox_List_2017.csv is missing"),
        ("Data_Entry_2017_v2020.csv", "a,b\n1,2\n", "column Image Index is missing. It has: a, b"),
    ],
)
def test_a_missing_table_is_one_clear_line(
    folder: Path, run: Import, name: str, content: str | None, message: str
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        run()
