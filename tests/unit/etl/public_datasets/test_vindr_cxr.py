"""VinDr-CXR 1.0.0: emptied DICOM headers, three readers and a consensus."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vindr_copy

from etl.pseudonym import Pseudonymizer
from etl.public_datasets.published_import import ImportSummary
from etl.public_datasets.vindr_cxr import import_vindr_cxr
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE
from warehouse_schema.tables.records import PATIENTS

FINDINGS = ("Rib fracture", "clavicle_fracture")
Import = Callable[..., ImportSummary]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return vindr_copy.write_copy(tmp_path)


@pytest.fixture
def run(store: Store, folder: Path, key: str) -> Import:
    def run(findings: Any = FINDINGS) -> ImportSummary:
        return import_vindr_cxr(
            store=store, folder=folder, findings=findings, size_px=64, pseudonym_key=key
        )

    return run


def by_name(store: Store, key: str) -> dict[str, str]:
    """Published names by image_id."""
    names = Pseudonymizer(key=key, source="vindr_cxr")
    return {names.pseudonym("image", each): each for each in ("a", "b", "c", "d", "e", "t1", "t2")}


def test_emptied_headers_are_filled_from_the_tables(store: Store, run: Import) -> None:
    summary = run()
    assert (summary.n_images, summary.n_patients, summary.n_frontal) == (5, 5, 5)
    assert summary.quarantine_reasons == {
        "its image is not known": 1,
        "it is not a box of four numbers": 1,
        "not a DICOM file": 1,
        "the film is not in the folder": 1,
    }
    images = store.read(IMAGES).to_pylist()
    assert {(each["view_position_code"], each["modality_code"]) for each in images} == {
        ("PA", "DX")
    }
    assert {(each["sex_code"], each["age_years"]) for each in images} == {("F", 51.0)}
    assert sorted(each["published_split"] for each in images) == ["test"] * 2 + ["train"] * 3
    assert store.read(IMAGE_PIXELS).num_rows == store.read(PATIENTS).num_rows == 5


def test_labels_are_the_readers_majority(store: Store, run: Import, key: str) -> None:
    run()
    names = by_name(store, key)
    labels = {
        (names[row["image_id"]], row["finding"].split("_")[0]): row["label"]
        for row in store.read(IMAGE_LABELS).to_pylist()
    }
    assert labels == {
        ("a", "rib"): "positive",
        ("b", "rib"): "uncertain",
        ("c", "rib"): "negative",
        ("t1", "rib"): "positive",
        ("t2", "rib"): "negative",
        **{(film, "clavicle"): "negative" for film in ("a", "b", "c", "t1", "t2")},
    }
    reasons = set(store.read(LABEL_EVIDENCE)["reason"].to_pylist())
    assert {"2 of 3 readers mark it", "consensus of the readers"} <= reasons


def test_every_reader_keeps_their_boxes(store: Store, run: Import, key: str) -> None:
    run()
    names = by_name(store, key)
    rows = store.read(ANNOTATIONS).to_pylist()
    ribs = [row for row in rows if row["finding"] == "rib_fracture"]
    drawn = [row for row in ribs if row["status"] == "drawn"]
    (agreed,) = (row for row in ribs if row["status"] == "confirmed")
    assert {names[row["image_id"]] for row in drawn} == {"a"}
    assert len({row["reader_id"] for row in drawn}) == 2
    assert sorted((row["width_px"], row["is_clipped"]) for row in drawn) == [
        (30, False),
        (118, True),
    ]
    assert (names[agreed["image_id"]], agreed["reader_id"]) == ("t1", None)
    assert (agreed["x_px"], agreed["y_px"], agreed["width_px"], agreed["height_px"]) == (
        *(1, 2),
        *(10.5, 20),
    )
    assert {row["finding"] for row in rows} == {"rib_fracture", "aortic_enlargement"}


def test_every_reader_of_the_training_part_has_a_reading(
    store: Store, run: Import, key: str
) -> None:
    run()
    names = by_name(store, key)
    readings = [
        (names[row["image_id"]], row["n_boxes"], row["n_refused"])
        for row in store.read(IMAGE_READINGS).to_pylist()
    ]
    # Of a's readers one drew nothing; b's only box has no area.
    assert sorted(readings) == [
        *(("a", n, 0) for n in (0, 1, 2)),
        *(("b", 0, 0) for _ in range(2)),
        ("b", 0, 1),
        *(("c", 0, 0) for _ in range(3)),
    ]


def test_a_second_import_decodes_nothing(store: Store, run: Import) -> None:
    first, before = run(), store.read(IMAGE_PIXELS)
    again = run()
    assert (first.n_decoded, again.n_decoded) == (5, 0)
    assert store.read(IMAGE_PIXELS) == before
    assert again.n_frontal == first.n_frontal


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "image_labels_test.csv",
            None,
            r"image_labels_test.csv is missing .* VinDr-CXR 1.0.0, annotations/",
        ),
        (
            "annotations_train.csv",
            "image_id,rad_id\n",
            "annotations_train.csv: column class_name is missing. It has: image_id, rad_id",
        ),
        ("annotations_test.csv", b"\xff\xfe\x00", "annotations_test.csv is unreadable"),
    ],
)
def test_a_wrong_table_is_one_clear_line(
    folder: Path, run: Import, name: str, content: Any, message: str
) -> None:
    path = folder / "1.0.0" / "annotations" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        run()


def test_an_unknown_class_lists_those_there_are(run: Import) -> None:
    with pytest.raises(ArgumentError, match=r"'hip_fracture'; VinDr-CXR 1.0.0 has aortic_enl"):
        run(["Hip fracture"])


def test_a_folder_of_another_data_set_is_one_clear_line(
    store: Store, tmp_path: Path, key: str
) -> None:
    (tmp_path / "other" / "images").mkdir(parents=True)
    (tmp_path / "other" / "Data_Entry_2017.csv").write_text("Image Index\n")
    with pytest.raises(InputError, match=r"annotations/image_labels_train.csv is missing"):
        import_vindr_cxr(
            store=store,
            folder=tmp_path / "other",
            findings=FINDINGS,
            size_px=64,
            pseudonym_key=key,
        )
