"""What each text format can draw and say, and what of it is a box."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.recognition import read_annotations
from etl.annotations.box_formats.source_box import SourceBox


def coco(annotation: str, image: str = "") -> str:
    return (
        '{"images": [{"id": 1, "file_name": "a.png"' + image + '}], "categories": [{"id": 1, '
        '"name": "Rib fracture"}], "annotations": [{"image_id": 1, "category_id": 1'
        f"{annotation}}}]}}"
    )


def cvat(shapes: str, meta: str = "") -> str:
    return (
        f"<annotations><meta><task><id>1</id>{meta}</task></meta>"
        f'<image id="0" name="a.png" width="800" height="1000">{shapes}</image></annotations>'
    )


def label_studio(results: str, rest: str = "", data: str = '"image": "a.png"') -> str:
    annotation = f'{{"id": 1, "completed_by": 3, "result": [{results}]{rest}}}'
    return f'[{{"id": 1, "data": {{{data}}}, "annotations": [{annotation}]}}]'


def region(value: str, kind: str = "rectanglelabels", rest: str = "", size: bool = True) -> str:
    sizes = '"original_width": 800, "original_height": 1000, ' if size else ""
    return f'{{"id": "r", "type": "{kind}", {sizes}{rest}"value": {{{value}}}}}'


def via(shape: str, attributes: str = '"finding": "Rib fracture"') -> str:
    return (
        '{"a.png1": {"filename": "a.png", "size": 1, "file_attributes": {}, "regions": [{'
        f'"shape_attributes": {{{shape}}}, "region_attributes": {{{attributes}}}}}]}}}}'
    )


def voc(content: str) -> str:
    return f"<annotation><filename>a.png</filename>{content}</annotation>"


TURNED = '"x": 25, "y": 20, "width": 10, "height": 4, "rotation": 90, "rectanglelabels": ["rib"]'
PLAIN = '"x": 25, "y": 20, "width": 10, "height": 4, "rectanglelabels": ["rib"]'
BOX_XML = 'xtl="100" ytl="200" xbr="150" ybr="240"'
BOUNDS = "<xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax>"

# What is written, the hull in pixels and the shape drawn.
SHAPES = [
    (coco(', "bbox": [100, 200, 50, 40]'), (100, 200, 50, 40), "rectangle"),
    (
        coco(', "bbox": [100, 200, 50, 40], "attributes": {"rotation": 90.0}'),
        (105, 195, 40, 50),
        "rotated_rectangle",
    ),
    (
        coco(', "bbox": [100, 200, 50, 40], "attributes": {"rotation": 180}'),
        (100, 200, 50, 40),
        "rectangle",
    ),
    # An export that has lost the angle: only the corners tell.
    (
        coco(', "bbox": [105, 195, 10, 10], "segmentation": [[9, 90, 20, 100, 9, 110, 0, 100]]'),
        (0, 90, 20, 20),
        "rotated_rectangle",
    ),
    (
        coco(', "bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 20, 0, 20, 5, 9, 30, 0, 30]]'),
        (0, 0, 20, 30),
        "polygon",
    ),
    (
        coco(', "bbox": [0, 0, 50, 40], "segmentation": [[0, 0, 50, 0, 50, 40, 0, 40]]'),
        (0, 0, 50, 40),
        "rectangle",
    ),
    (cvat(f'<box label="rib" {BOX_XML} rotation="90"/>'), (105, 195, 40, 50), "rotated_rectangle"),
    (
        cvat('<ellipse label="rib" cx="100" cy="200" rx="30" ry="10" rotation="90"/>'),
        (90, 170, 20, 60),
        "rotated_ellipse",
    ),
    (cvat('<polygon label="rib" points="1,2;11,4;5,22.5"/>'), (1, 2, 10, 20.5), "polygon"),
    # Turned by 90 degrees about its corner (200, 200): 80 px to the right become 80 px down.
    (label_studio(region(TURNED)), (160, 200, 40, 80), "rotated_rectangle"),
    (label_studio(region(PLAIN)), (200, 200, 80, 40), "rectangle"),
    (
        label_studio(
            region(
                '"x": 50, "y": 50, "radiusX": 10, "radiusY": 1, "ellipselabels": ["rib"]',
                "ellipselabels",
            )
        ),
        (320, 490, 160, 20),
        "ellipse",
    ),
    (
        label_studio(
            region(
                '"points": [[0, 0], [10, 0], [5, 10]], "polygonlabels": ["rib"]', "polygonlabels"
            )
        ),
        (0, 0, 80, 100),
        "polygon",
    ),
    # Shape and label in two results of one region.
    (
        label_studio(
            region('"x": 25, "y": 20, "width": 10, "height": 4', "rectangle")
            + ", "
            + region('"labels": ["rib"]', "labels")
        ),
        (200, 200, 80, 40),
        "rectangle",
    ),
    (via('"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4'), (1, 2, 3, 4), "rectangle"),
    (via('"name": "circle", "cx": 50, "cy": 60, "r": 10'), (40, 50, 20, 20), "circle"),
    (
        via(
            '"name": "ellipse", "cx": 50, "cy": 60, "rx": 10, "ry": 5, "theta": 1.5707963267948966'
        ),
        (45, 50, 10, 20),
        "ellipse",
    ),
    (
        via('"name": "polygon", "all_points_x": [1, 9, 5], "all_points_y": [2, 2, 12]'),
        (1, 2, 8, 10),
        "polygon",
    ),
    (
        voc(f"<object><name>rib</name><bndbox>{BOUNDS}</bndbox></object>"),
        (1, 2, 10, 20),
        "rectangle",
    ),
    (
        voc(
            "<object><name>rib</name><robndbox><cx>50</cx><cy>60</cy><w>20</w><h>10</h>"
            "<angle>1.5707963267948966</angle></robndbox></object>"
        ),
        (45, 50, 10, 20),
        "rotated_rectangle",
    ),
    ("file,label,x1,y1,x2,y2\na.png,rib,1,2,11,22", (1, 2, 10, 20), "rectangle"),
    ("file,label,x,y,w,h\na.png,rib,1,2,10,20", (1, 2, 10, 20), "rectangle"),
    (
        "file\tlabel\tx\ty\tw\th\trotation\na.png\trib\t0\t0\t20\t10\t90",
        (5, -5, 10, 20),
        "rotated_rectangle",
    ),
]


def boxes_of(tmp_path: Path, content: str | bytes) -> list[SourceBox]:
    (tmp_path / "given").write_bytes(content.encode() if isinstance(content, str) else content)
    _, entries = read_annotations(AnnotationFile(tmp_path / "given"))
    return [entry for entry in entries if isinstance(entry, SourceBox)]


@pytest.mark.parametrize(("content", "hull", "drawn_shape"), SHAPES)
def test_shapes_become_their_upright_hull(
    tmp_path: Path, content: str, hull: tuple[float, ...], drawn_shape: str
) -> None:
    (box,) = boxes_of(tmp_path, content)
    assert box.fault is None
    assert box.box == pytest.approx(hull)
    assert box.drawn_shape == drawn_shape


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (coco(', "bbox": [1, 2, NaN, 4]'), "its bbox is not four numbers"),
        (coco(', "bbox": [1, 2, 1e999, 4]'), "its bbox is not four numbers"),
        (coco(f', "bbox": [1, 2, {"9" * 400}, 4]'), "its bbox is not four numbers"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]', "its image_id is a number"),
        (
            '[{"image_id": "a", "category_id": 1, "bbox": [1, 2, 3, 4]}]',
            "its category_id is a number of no one",
        ),
        (cvat(f'<box label="rib" {BOX_XML} outside="1"/>'), "it is marked as outside"),
        (cvat(f'<box label="rib" {BOX_XML} source="auto"/>'), "a model drew it"),
        (cvat('<points label="rib" points="1,2"/>'), "a shape of type points is no box"),
        (cvat('<box label="rib" xtl="nan" ytl="1" xbr="2" ybr="3"/>'), "its coordinates"),
        (cvat('<polygon label="rib" points="1,2;x,4"/>'), "its coordinates"),
        (
            cvat(f'<box label="rib" {BOX_XML}/>', "<flipped>True</flipped>"),
            "the task's images were",
        ),
        (
            "<annotations><meta/><track id='0' label='rib'/></annotations>",
            "a video track is no box",
        ),
        (label_studio(region(PLAIN, rest='"image_rotation": 90, ')), "the image was turned"),
        (label_studio(region(TURNED, size=False)), "it is rotated, and the file lacks"),
        (label_studio(region('"x": 1, "y": 2, "width": 3, "height": 4')), "it has no label"),
        (label_studio(region('"rle": [1], "brushlabels": ["rib"]', "brushlabels")), "its shape is"),
        (label_studio(region('"x": "1", "rectanglelabels": ["rib"]')), "its coordinates"),
        (
            '[{"data": {}, "annotations": [], "predictions": [{"result": []}]}]',
            "a model's prediction is no reader's annotation",
        ),
        (via('"name": "point", "cx": 1, "cy": 2'), "its shape is no box"),
        (via('"name": "rect", "x": 1, "y": 2, "width": "3", "height": 4'), "its coordinates"),
        (via('"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4', ""), "it has no label"),
        (voc("<object><name>rib</name></object>"), "its bndbox is not four numbers"),
        (voc(f"<object><bndbox>{BOUNDS}</bndbox></object>"), "it has no name"),
        ("file,label,x,y,w,h\na.png,rib,1,2,inf,20", "its box is not four numbers"),
        ("file,label,x,y,w,h\na.png,,1,2,10,20", "it has no finding"),
    ],
)
def test_entries_that_are_no_box_say_why(tmp_path: Path, content: str, fault: str) -> None:
    (box,) = boxes_of(tmp_path, content)
    assert box.fault is not None
    assert box.fault.startswith(fault)


def test_readers_dates_and_status_are_taken_where_tools_put_them(tmp_path: Path) -> None:
    attributes = "".join(
        f'<attribute name="{name}">{value}</attribute>'
        for name, value in (("Reader", "b"), ("Status", "Confirmed"), ("Date", "2020-02-03"))
    )
    tag = '<tag label="film"><attribute name="SOPInstanceUID">1.2.3</attribute></tag>'
    shape = f'<box label="rib" occluded="1" {BOX_XML}>{attributes}</box>'
    meta = "<assignee><username>a</username></assignee>"
    (box,) = boxes_of(tmp_path, cvat(tag + shape, meta))
    assert (box.reader, box.status, box.is_occluded) == ("b", "confirmed", True)
    assert box.image.sop_instance_uid == "1.2.3"
    assert box.annotated is not None
    assert box.annotated.year == 2020

    choice = ', {"id": "r", "type": "choices", "from_name": "status", "value": {"choices": '
    choice += '["rejected"]}}'
    (box,) = boxes_of(tmp_path, label_studio(region(PLAIN) + choice))
    assert (box.reader, box.status) == ("3", "rejected")
    (box,) = boxes_of(tmp_path, label_studio(region(PLAIN), ', "ground_truth": true'))
    assert box.status == "confirmed"
    attributes = '"finding": "rib", "annotator": "c", "status": {"rejected": true}'
    rect = '"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4'
    (box,) = boxes_of(tmp_path, via(rect, attributes))
    assert (box.finding, box.reader, box.status) == ("rib", "c", "rejected")
    (box,) = boxes_of(tmp_path, via(rect, '"bone": "rib"'))
    assert box.finding == "rib"


@pytest.mark.parametrize(
    ("data", "file_name"),
    [
        ('"image": "/data/upload/4/1a2b3c4d-film%201.png"', "film 1.png"),
        ('"image": "/data/local-files/?d=a/film.png"', "a/film.png"),
        ('"image": "s3://bucket/a/film.png"', "/a/film.png"),
        ('"image": "1a2b3c4d-film.png"', "film.png"),
        ('"image": "http://[broken"', "http://[broken"),
    ],
)
def test_label_studio_names_images_by_url(tmp_path: Path, data: str, file_name: str) -> None:
    (box,) = boxes_of(tmp_path, label_studio(region(PLAIN), data=data))
    assert box.image.file_name == file_name


def test_label_studio_keeps_readers_apart_and_leaves_skipped_ones_out(tmp_path: Path) -> None:
    def annotation(reader: str, rest: str) -> str:
        return f'{{"completed_by": {{"email": "{reader}"}}, "result": [{rest}]'

    content = (
        '[{"data": {"image": "a.png"}, "completions": ['
        + annotation("a", region(PLAIN))
        + "}, "
        + annotation("b", "")
        + "}, "
        + annotation("c", region(PLAIN))
        + ', "was_cancelled": true}]}]'
    )
    (tmp_path / "given").write_text(content)
    _, entries = read_annotations(AnnotationFile(tmp_path / "given"))
    told = [(type(entry).__name__, entry.reader, entry.fault) for entry in entries]
    assert told == [
        ("SourceLook", "a", None),
        ("SourceBox", "a", None),
        ("SourceLook", "b", None),
        ("SourceLook", "c", "the reader has cancelled the annotation"),
    ]
