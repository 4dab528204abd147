import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etl.box_import import BoxImportSummary, import_boxes
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES
from warehouse_schema.tables.runs import QUARANTINE

Import = Callable[..., BoxImportSummary]
BOX = [100, 200, 50, 40]


@pytest.fixture
def import_coco(
    store: Store,
    key: str,
    tmp_path: Path,
    put: Callable[..., None],
    make_image: Callable[..., dict[str, Any]],
) -> Import:
    """Imports boxes on the images 1.2.3 (accession ACC), 1.2.4 and 1.2.5 (both accession TWO)."""
    names = Pseudonymizer(key=key, source="small")
    images = [
        make_image(
            names.pseudonym("image", uid), accession_id=names.pseudonym("accession", accession)
        )
        for uid, accession in (("1.2.3", "ACC"), ("1.2.4", "TWO"), ("1.2.5", "TWO"))
    ]
    put(IMAGES, images)
    put(
        IMAGE_SOURCES,
        [
            {
                "image_id": image["image_id"],
                "sop_instance_uid": f"1.2.{number}",
                "file_path": f"/films/{number}/film.dcm",
                "source_sha256": "x",
            }
            for number, image in enumerate(images, start=3)
        ],
    )
    put(
        IDENTITIES,
        [
            {
                "kind": "patient",
                "pseudonym": "P1",
                "source": "small",
                "source_identifier": "p1",
                "date_shift_days": -10,
            }
        ],
    )

    def run(
        image: dict[str, Any] | None = None, findings: list[str] | None = None, **annotation: Any
    ) -> BoxImportSummary:
        content = {
            "images": [{"id": 7, "sop_instance_uid": "1.2.3", **(image or {})}],
            "categories": [{"id": 1, "name": "Rib fracture"}],
            "annotations": [{"image_id": 7, "category_id": 1, "bbox": BOX, **annotation}],
        }
        file = tmp_path / "boxes.json"
        file.write_text(json.dumps(content))
        return import_boxes(
            store=store, files=[file], source="small", pseudonym_key=key, findings=findings
        )

    return run


def test_a_box_lands_on_its_image_with_reader_date_and_status(
    store: Store, import_coco: Import
) -> None:
    attributes = {"reader": "Dr Canary", "date": "2016-04-11 09:30", "status": "confirmed"}
    assert import_coco(attributes=attributes).n_boxes == 1
    (row,) = store.read(ANNOTATIONS).to_pylist()
    assert (row["x_px"], row["y_px"], row["width_px"], row["height_px"]) == tuple(BOX)
    assert (row["finding"], row["status"], row["is_clipped"]) == (
        "rib_fracture",
        "confirmed",
        False,
    )
    assert row["annotated_datetime"].isoformat() == "2016-04-01T09:30:00+00:00"
    assert row["reader_id"].startswith("R-")
    assert "Canary" not in str(row)


@pytest.mark.parametrize(
    ("image", "uid"),
    [
        ({}, "1.2.3"),
        ({"sop_instance_uid": None, "accession_number": "ACC"}, "1.2.3"),
        ({"sop_instance_uid": None, "file_name": "4/film.dcm"}, "1.2.4"),
        (
            {"sop_instance_uid": "9.9", "accession_number": "TWO", "file_name": "5/film.dcm"},
            "1.2.5",
        ),
    ],
)
def test_an_image_is_found_in_the_stated_order(
    store: Store, import_coco: Import, key: str, image: dict[str, Any], uid: str
) -> None:
    assert import_coco(image).n_boxes == 1
    expected = Pseudonymizer(key=key, source="small").pseudonym("image", uid)
    assert store.read(ANNOTATIONS)["image_id"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("image", "annotation", "reason"),
    [
        ({"sop_instance_uid": "9.9"}, {}, "its image is not known"),
        (
            {"sop_instance_uid": None, "accession_number": "TWO"},
            {},
            "its accession number has several frontal films",
        ),
        (
            {"sop_instance_uid": None, "file_name": "film.dcm"},
            {},
            "its file name is that of several images",
        ),
        ({}, {"image_id": 8}, "its image_id is not among the file's images"),
        ({}, {"category_id": 8}, "its category_id is not among the file's categories"),
        ({}, {"bbox": [1, 2, 3]}, "its bbox is not four numbers"),
        ({}, {"bbox": [1, 2, "3", 4]}, "its bbox is not four numbers"),
        ({}, {"bbox": [10, 10, 0, 5]}, "it has no area"),
        ({}, {"bbox": [10, 10, -5, 5]}, "it has no area"),
        ({}, {"bbox": [900, 10, 20, 20]}, "it lies outside its image"),
        ({}, {"attributes": {"status": "maybe"}}, "its status is not drawn, confirmed, rejected"),
        (
            {"width": 500, "height": 500},
            {},
            "the annotated image has another shape than the source image",
        ),
    ],
)
def test_an_unusable_box_is_quarantined(
    store: Store,
    import_coco: Import,
    image: dict[str, Any],
    annotation: dict[str, Any],
    reason: str,
) -> None:
    summary = import_coco(image, **annotation)
    assert summary.quarantine_reasons == {reason: 1}
    assert store.read(QUARANTINE)["reason"].to_pylist() == [reason]
    assert store.read(ANNOTATIONS).num_rows == 0


def test_an_undefined_finding_is_quarantined(import_coco: Import) -> None:
    summary = import_coco(findings=["clavicle_fracture"])
    assert summary.quarantine_reasons == {"its finding is not defined": 1}


def test_a_box_over_the_edge_is_clipped_and_flagged(store: Store, import_coco: Import) -> None:
    assert import_coco(bbox=[-20, 950, 60, 100]).n_clipped == 1
    (row,) = store.read(ANNOTATIONS).to_pylist()
    assert (row["x_px"], row["y_px"], row["width_px"], row["height_px"]) == (0, 950, 40, 50)
    assert row["is_clipped"]


def test_a_box_on_a_resized_copy_is_scaled_back(store: Store, import_coco: Import) -> None:
    import_coco({"width": 400, "height": 500})
    (row,) = store.read(ANNOTATIONS).to_pylist()
    assert (row["x_px"], row["y_px"], row["width_px"], row["height_px"]) == (200, 400, 100, 80)


def test_a_redrawn_box_replaces_the_readers_earlier_one(store: Store, import_coco: Import) -> None:
    import_coco(attributes={"reader": "a"})
    import_coco(attributes={"reader": "b"})
    import_coco(attributes={"reader": "a"}, bbox=[1, 1, 9, 9])
    assert sorted(store.read(ANNOTATIONS)["x_px"].to_pylist()) == [1, 100]


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": [1]}'])
def test_a_file_that_is_no_coco_file_is_one_clear_line(
    store: Store, tmp_path: Path, key: str, content: str
) -> None:
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(InputError, match="Export"):
        import_boxes(
            store=store, files=[tmp_path / "boxes.json"], source="small", pseudonym_key=key
        )
    with pytest.raises(InputError, match="cannot be read"):
        import_boxes(store=store, files=[tmp_path / "none.json"], source="small", pseudonym_key=key)
