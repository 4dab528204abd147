import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etl.annotations.box_import import BoxImportSummary, import_boxes
from etl.annotations.box_rows import finding_name
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS
from warehouse_schema.tables.records import IMAGE_SOURCES
from warehouse_schema.tables.runs import QUARANTINE

Import = Callable[..., BoxImportSummary]
BOX = [100, 200, 50, 40]


@pytest.fixture
def import_coco(
    box_site: Store,
    key: str,
    tmp_path: Path,
) -> Import:
    """Imports boxes on the films of ``box_site``."""

    def run(
        image: dict[str, Any] | None = None,
        findings: list[str] | None = None,
        options: dict[str, Any] | None = None,
        **annotation: Any,
    ) -> BoxImportSummary:
        content = {
            "images": [{"id": 7, "sop_instance_uid": "1.2.3", **(image or {})}],
            "categories": [{"id": 1, "name": "Rib fracture"}],
            "annotations": [{"image_id": 7, "category_id": 1, "bbox": BOX, **annotation}],
        }
        file = tmp_path / "boxes.json"
        file.write_text(json.dumps(content))
        return import_boxes(
            store=box_site,
            files=[file],
            source="small",
            pseudonym_key=key,
            findings=findings,
            **(options or {}),
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


IMAGE_ID = Pseudonymizer(key="0123456789abcdef0123456789abcdef", source="small").pseudonym(
    "image", "1.2.4"
)
NO_UID = {"sop_instance_uid": None}


@pytest.mark.parametrize(
    ("image", "uid", "matched_by"),
    [
        ({}, "1.2.3", "sop_instance_uid"),
        ({"file_sha256": f"{4:064X}"}, "1.2.3", "sop_instance_uid"),
        ({**NO_UID, "sha256": f"{4:064X}", "accession_number": "ACC"}, "1.2.4", "file_sha256"),
        ({**NO_UID, "accession_number": "ACC"}, "1.2.3", "accession_number"),
        ({**NO_UID, "file_name": "4/film.dcm"}, "1.2.4", "file_name"),
        ({**NO_UID, "file_name": "4\\film.dcm"}, "1.2.4", "file_name"),
        ({**NO_UID, "file_name": "/films/4/film.dcm"}, "1.2.4", "file_name"),
        (
            {"sop_instance_uid": "9.9", "accession_number": "TWO", "file_name": "5/film.dcm"},
            "1.2.5",
            "file_name",
        ),
        # Names of exported copies.
        ({**NO_UID, "file_name": "a/1.2.4.png"}, "1.2.4", "sop_instance_uid"),
        ({**NO_UID, "file_name": "1.2.4.dcm.JPG"}, "1.2.4", "sop_instance_uid"),
        ({**NO_UID, "file_name": "1.2.4"}, "1.2.4", "sop_instance_uid"),
        ({**NO_UID, "file_name": "ACC.png"}, "1.2.3", "accession_number"),
        ({**NO_UID, "file_name": f"{IMAGE_ID}.png"}, "1.2.4", "image_id"),
        ({**NO_UID, "file_name": f"{4:064x}.png"}, "1.2.4", "file_sha256"),
    ],
)
def test_an_image_is_found_in_the_stated_order(
    box_site: Store, import_coco: Import, image: dict[str, Any], uid: str, matched_by: str
) -> None:
    import_coco(image)
    (row,) = box_site.read(ANNOTATIONS).to_pylist()
    sources = box_site.read(IMAGE_SOURCES, where={"image_id": row["image_id"]}).to_pylist()
    assert [source["sop_instance_uid"] for source in sources] == [uid]
    assert row["matched_by"] == matched_by


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
    assert (row["drawn_scale"], row["drawn_orientation"]) == (2, 1)


def test_a_redrawn_box_replaces_the_readers_earlier_one(store: Store, import_coco: Import) -> None:
    import_coco(attributes={"reader": "a"})
    import_coco(attributes={"reader": "b"})
    import_coco(attributes={"reader": "a"}, bbox=[1, 1, 9, 9])
    assert sorted(store.read(ANNOTATIONS)["x_px"].to_pylist()) == [1, 100]


def test_reader_and_status_given_stand_in_where_the_file_is_silent(
    store: Store, import_coco: Import, key: str
) -> None:
    names = Pseudonymizer(key=key, source="small")
    options = {"reader": "chief", "status": "confirmed"}
    import_coco(options=options)
    (row,) = store.read(ANNOTATIONS).to_pylist()
    assert (row["reader_id"], row["status"]) == (names.pseudonym("reader", "chief"), "confirmed")
    import_coco(options=options, attributes={"reader": "a", "status": "rejected"})
    by_reader = {row["reader_id"]: row["status"] for row in store.read(ANNOTATIONS).to_pylist()}
    assert by_reader[names.pseudonym("reader", "a")] == "rejected"


def test_a_reader_who_drew_nothing_replaces_boxes_and_a_listed_image_does_not(
    box_site: Store, key: str, tmp_path: Path
) -> None:
    def bring(line: str, reader: str | None = None) -> None:
        (tmp_path / "a.csv").write_text(f"sop_uid,finding,x,y,w,h,reader\n{line}")
        import_boxes(
            store=box_site,
            files=[tmp_path / "a.csv"],
            source="small",
            pseudonym_key=key,
            reader=reader,
        )

    bring("1.2.3,rib_fracture,1,2,30,40,a")
    bring("1.2.3,,,,,,", reader="a")
    assert box_site.read(ANNOTATIONS).num_rows == 1
    assert box_site.read(IMAGE_READINGS)["n_boxes"].to_pylist() == [1]
    bring("1.2.3,,,,,,a")
    assert box_site.read(ANNOTATIONS).num_rows == 0
    assert box_site.read(IMAGE_READINGS)["n_boxes"].to_pylist() == [0]


def test_a_reader_named_by_the_image_drew_its_unnamed_boxes(
    store: Store, import_coco: Import
) -> None:
    import_coco({"reader": "a"})
    (row,) = store.read(ANNOTATIONS).to_pylist()
    (reading,) = store.read(IMAGE_READINGS).to_pylist()
    assert row["reader_id"] == reading["reader_id"] is not None
    import_coco({"readers": ["a", "b"]}, attributes={"reader": "b"})
    found = {row["reader_id"]: row["n_boxes"] for row in store.read(IMAGE_READINGS).to_pylist()}
    assert found.pop(row["reader_id"]) == 0
    assert list(found.values()) == [1]


def test_a_results_list_takes_images_and_categories_from_its_detection_file(
    box_site: Store, key: str, tmp_path: Path
) -> None:
    detection = {
        "images": [{"id": 7, "sop_instance_uid": "1.2.4"}],
        "categories": [{"id": 2, "name": "rib fracture"}],
        "annotations": [],
    }
    results = [{"image_id": 7, "category_id": 2, "bbox": BOX, "score": 0.5}] * 2
    results[1] = {**results[1], "image_id": 8}
    paths = [tmp_path / "results.json", tmp_path / "detection.json"]
    for path, content in zip(paths, (results, detection), strict=True):
        path.write_text(json.dumps(content))
    options = {"source": "small", "pseudonym_key": key}
    summary = import_boxes(store=box_site, files=paths, **options)
    assert (summary.n_boxes, summary.n_quarantined) == (1, 1)
    summary = import_boxes(store=box_site, files=paths[:1], **options)
    assert (summary.n_boxes, summary.n_quarantined) == (0, 2)


@pytest.mark.parametrize(
    ("label", "finding"),
    [
        ("rib_fracture", "rib_fracture"),
        ("Rib fracture", "rib_fracture"),
        ("RIB-FRACTURES", "rib_fracture"),
        ("Fracture of rib", "rib_fracture"),
        ("Fracture of the clavicle", "clavicle_fracture"),
        ("rib", None),
        ("", None),
        ("old rib fracture", None),
    ],
)
def test_labels_that_name_a_finding(label: str, finding: str | None) -> None:
    assert finding_name(label, ["rib_fracture", "clavicle_fracture"]) == finding


def test_every_label_is_a_finding_where_none_is_defined() -> None:
    assert finding_name("Fracture of rib", None) == "fracture_of_rib"


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
