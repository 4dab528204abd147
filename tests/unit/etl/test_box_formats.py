"""One set of boxes in every format gives one set of annotations; each format's peculiarities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from unit.etl.box_samples import BOXES, READER, WRITERS

from etl.annotations.box_formats.annotation_file import AnnotationFile, AnnotationFolder
from etl.annotations.box_formats.recognition import FORMAT_NAMES, read_annotations
from etl.annotations.box_formats.source_box import SourceBox, SourceEntry, SourceLook
from etl.annotations.box_formats.yolo import read_yolo
from etl.annotations.box_import import import_boxes
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS

FINDINGS = ["rib_fracture", "clavicle_fracture"]
# Formats whose files do not say when a box was drawn.
UNDATED = ("coco results", "pascal_voc", "yolo")
# Formats whose files do not say who drew.
UNNAMED = ("coco results", "pascal_voc", "yolo")
# Formats whose layout has no place for an image without a box.
UNREAD = ("coco results",)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_boxes_give_the_same_annotations(
    box_site: Store, key: str, tmp_path: Path, make_film: Callable[..., Dataset], name: str
) -> None:
    path = WRITERS[name](tmp_path, make_film)
    format_name = name.partition(" ")[0]
    summary = import_boxes(
        store=box_site,
        files=[path],
        source="small",
        pseudonym_key=key,
        findings=FINDINGS,
        reader=READER if name in UNNAMED else None,
    )
    assert dict(summary.quarantine_reasons) == {}
    assert dict(summary.n_files) == {format_name: 2 if name == "pascal_voc" else 1}
    names = Pseudonymizer(key=key, source="small")
    rows = box_site.read(ANNOTATIONS).to_pylist()
    found = sorted(
        (row["finding"], row["x_px"], row["y_px"], row["width_px"], row["height_px"])
        for row in rows
    )
    wanted = sorted((finding.lower().replace(" ", "_"), *box) for finding, *box in BOXES)
    for got, want in zip(found, wanted, strict=True):
        assert got[0] == want[0]
        assert got[1:] == pytest.approx(want[1:], abs=1e-4)
    for row in rows:
        assert row["image_id"] == names.pseudonym("image", "1.2.3")
        assert row["reader_id"] == names.pseudonym("reader", READER)
        assert (row["tool"], row["status"], row["is_clipped"]) == (format_name, "drawn", False)
        moment = row["annotated_datetime"]
        assert name in UNDATED or moment.isoformat() == "2016-04-01T09:30:00+00:00"
    readings = {row["image_id"]: row for row in box_site.read(IMAGE_READINGS).to_pylist()}
    assert readings[names.pseudonym("image", "1.2.3")]["n_boxes"] == len(BOXES)
    empty = readings.get(names.pseudonym("image", "1.2.4"))
    assert (empty is None) == (name in UNREAD)
    if empty is not None:
        assert (empty["n_boxes"], empty["n_refused"]) == (0, 0)
        assert empty["reader_id"] == names.pseudonym("reader", READER)
    assert "Canary" not in str(rows) + str(readings)


def test_every_format_has_a_sample() -> None:
    assert {name.partition(" ")[0] for name in WRITERS} == set(FORMAT_NAMES)


def boxes_of(tmp_path: Path, content: bytes) -> list[SourceBox]:
    (tmp_path / "given").write_bytes(content)
    _, entries = read_annotations(AnnotationFile(tmp_path / "given"))
    return [entry for entry in entries if isinstance(entry, SourceBox)]


def read_folder(folder: Path, **files: str) -> list[SourceEntry]:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return list(read_yolo(AnnotationFolder(folder)))


def test_yolo_lines(tmp_path: Path) -> None:
    lines = [
        ("0 0.5 0.5 0.2 0.1", (0.4, 0.45, 0.2, 0.1), "rectangle"),
        ("1 0.5 0.5 0.2 0.1 0.93", (0.4, 0.45, 0.2, 0.1), "rectangle"),
        ("0 0.1 0.1 0.3 0.2 0.3 0.4 0.1 0.3", (0.1, 0.1, 0.2, 0.3), "rotated_rectangle"),
        ("0 0.1 0.1 0.3 0.2 0.2 0.5", (0.1, 0.1, 0.2, 0.4), "polygon"),
        ("2 0.5 0.5 0.2 0.1", "its class is not among the folder's classes", ""),
        ("rib 0.5 0.5 0.2 0.1", "its class is not among the folder's classes", ""),
        ("0 0.5 nan 0.2 0.1", "the line is not a class and a box in fractions", ""),
        ("0 0.5 0.5", "the line is not a class and a box in fractions", ""),
    ]
    text = "\n".join(line for line, _, _ in lines)
    names = 'names: {0: "rib", 1: "clavicle"}'
    look, *boxes = read_folder(tmp_path / "set", a__txt=text, data__yaml=names)
    assert isinstance(look, SourceLook)
    for box, (_, wanted, shape) in zip(boxes, lines, strict=True):
        assert isinstance(box, SourceBox)
        assert box.unit == "fraction"
        if isinstance(wanted, str):
            assert box.fault == wanted
        else:
            assert box.box == pytest.approx(wanted)
            assert box.drawn_shape == shape


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a__txt": "0 1 1 1 1"}, "names no classes"),
        ({"data__yaml": "names: 3", "a__txt": ""}, "no list 'names'"),
        ({"data__yaml": "names: [*a", "a__txt": ""}, "no list 'names'"),
        ({"classes__txt": "rib"}, "no label file"),
    ],
)
def test_a_yolo_folder_that_is_none(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path / "set", **files)


def test_yolo_takes_the_size_and_turn_of_the_copy_that_was_annotated(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 50)).save(tmp_path / "set" / "a.jpg", exif=exif)
    (tmp_path / "set" / "a.txt").write_text("0 0.5 0.5 0.2 0.1")
    (tmp_path / "set" / "classes.txt").write_text("rib")
    look, _ = read_yolo(AnnotationFolder(tmp_path / "set"))
    assert (look.image.width_px, look.image.height_px, look.image.orientation) == (50, 40, 6)


ROTATIONS = [
    # Turned clockwise by, mirrored, corners of the displayed area (source pixels, from 1).
    (0, "N", (1, 1), (800, 1000)),
    (90, "N", (1, 1000), (800, 1)),
    (180, "N", (800, 1000), (1, 1)),
    (270, "N", (800, 1), (1, 1000)),
    (0, "Y", (800, 1), (1, 1000)),
    (0, "N", (101, 201), (500, 700)),
]


@pytest.mark.parametrize(("degrees", "flip", "first", "last"), ROTATIONS)
def test_gsps_display_units_are_turned_back(  # noqa: PLR0917 - a table of cases
    tmp_path: Path,
    make_film: Callable[..., Dataset],
    degrees: int,
    flip: str,
    first: tuple[int, int],
    last: tuple[int, int],
) -> None:
    # The oracle: numpy turns a picture of the box, and the graphic is drawn around what it shows.
    picture = np.zeros((1000, 800), bool)
    picture[300:360, 150:250] = True
    area = picture[
        min(first[1], last[1]) - 1 : max(first[1], last[1]),
        min(first[0], last[0]) - 1 : max(first[0], last[0]),
    ]
    shown = np.rot90(area, -degrees // 90)
    shown = shown[:, ::-1] if flip == "Y" else shown
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    left, right = columns[0] / shown.shape[1], (columns[-1] + 1) / shown.shape[1]
    top, bottom = rows[0] / shown.shape[0], (rows[-1] + 1) / shown.shape[0]
    document = pydicom.dcmread(WRITERS["gsps display"](tmp_path, make_film))
    item = document.GraphicAnnotationSequence[0]
    document.GraphicAnnotationSequence = [item]
    item.GraphicObjectSequence[0].GraphicData = [
        *(left, top, right, top, right, bottom, left, bottom, left, top)
    ]
    document.ImageRotation, document.ImageHorizontalFlip = degrees, flip
    displayed = document.DisplayedAreaSelectionSequence[0]
    displayed.DisplayedAreaTopLeftHandCorner = list(first)
    displayed.DisplayedAreaBottomRightHandCorner = list(last)
    document.save_as(tmp_path / "given")
    (box,) = boxes_of(tmp_path, (tmp_path / "given").read_bytes())
    assert box.fault is None
    assert box.box == pytest.approx((150, 300, 100, 60), abs=1e-3)


def test_gsps_names_findings_by_group_text_or_layer_and_refuses_points(
    tmp_path: Path, make_film: Callable[..., Dataset]
) -> None:
    document = pydicom.dcmread(WRITERS["gsps"](tmp_path, make_film))
    first, second, third = document.GraphicAnnotationSequence
    del first.TextObjectSequence
    group = Dataset()
    group.GraphicGroupID, group.GraphicGroupLabel = 1, "Group finding"
    document.GraphicGroupSequence = [group]
    second.GraphicObjectSequence[0].GraphicGroupID = 1
    circle = third.GraphicObjectSequence[0]
    circle.GraphicType, circle.NumberOfGraphicPoints = "CIRCLE", 2
    circle.GraphicData = [50, 60, 50, 70]
    point = Dataset()
    point.GraphicType, point.GraphicAnnotationUnits, point.GraphicData = "POINT", "PIXEL", [1, 2]
    third.GraphicObjectSequence.append(point)
    document.save_as(tmp_path / "given")
    boxes = boxes_of(tmp_path, (tmp_path / "given").read_bytes())
    assert [box.finding for box in boxes[:3]] == ["FINDINGS", "Group finding", "Clavicle fracture"]
    assert boxes[2].box == pytest.approx((40, 50, 20, 20))
    assert boxes[3].fault == "a point is no box"


@pytest.mark.parametrize(
    ("kind", "points", "hull", "shape"),
    [
        ("CIRCLE", [(50, 60), (50, 70)], (40, 50, 20, 20), "circle"),
        ("ELLIPSE", [(30, 60), (70, 60), (50, 50), (50, 70)], (30, 50, 40, 20), "ellipse"),
        ("POLYLINE", [(1, 2), (9, 2), (5, 12), (1, 2)], (1, 2, 8, 10), "polyline"),
        ("POINT", [(1, 2)], None, "point"),
    ],
)
def test_sr_graphic_types(  # noqa: PLR0917 - a table of cases
    tmp_path: Path,
    make_film: Callable[..., Dataset],
    kind: str,
    points: list[tuple[float, float]],
    hull: tuple[float, ...] | None,
    shape: str,
) -> None:
    path = WRITERS["dicom_sr"](tmp_path, make_film)
    document = pydicom.dcmread(path)
    regions = [item for item in document.iterall() if item.tag == 0x00700022]
    assert len(regions) == len(BOXES)

    def change(dataset: Dataset) -> None:
        for item in dataset.get("ContentSequence", ()):
            if item.get("ValueType") == "SCOORD":
                item.GraphicType = kind
                item.GraphicData = [value for point in points for value in point]
            change(item)

    change(document)
    document.save_as(path)
    boxes = boxes_of(tmp_path, path.read_bytes())
    assert len(boxes) == len(BOXES)
    for box in boxes:
        assert box.drawn_shape == shape
        if hull is None:
            assert box.fault == "a point is no box"
        else:
            assert box.box == pytest.approx(hull)


def test_an_sr_of_another_template_is_refused(
    tmp_path: Path, make_film: Callable[..., Dataset]
) -> None:
    path = WRITERS["dicom_sr"](tmp_path, make_film)
    document = pydicom.dcmread(path)
    document.ContentSequence = []
    document.ContentTemplateSequence[0].TemplateIdentifier = "2000"
    document.save_as(path)
    with pytest.raises(InputError, match="no DICOM SR of TID 1500"):
        boxes_of(tmp_path, path.read_bytes())
