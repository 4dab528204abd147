"""CVAT for images 1.1 (https://docs.cvat.ai/docs/manual/advanced/xml_format/).

Attributes of a shape give reader, date and status; attributes of an image's tags give what names
the image beside its file name. A shape's ``rotation`` turns it clockwise about its centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.entry_fields import Fields, four, moment, number
from etl.annotations.box_formats.shapes import (
    from_corners,
    hull_of_ellipse,
    hull_of_points,
    hull_of_rotated,
)
from etl.annotations.box_formats.source_box import Box, SourceBox, SourceEntry, SourceImage, looks

TITLE = "CVAT for images 1.1 (XML)"
HULL_SHAPES = ("box", "ellipse", "polygon", "polyline")
OTHER_SHAPES = ("points", "mask", "cuboid", "skeleton")
FLIPPED = "the task's images were flipped, and CVAT does not say how"
TRUE = ("1", "true", "True")


def is_cvat(file: AnnotationFile) -> bool:
    """True for a root ``annotations`` with images, tracks or CVAT's head."""
    return (
        file.kind == "xml"
        and file.root.tag == "annotations"
        and any(file.root.find(name) is not None for name in ("image", "track", "meta"))
    )


def read_cvat(file: AnnotationFile) -> Iterator[SourceEntry]:
    """Shapes in the file's order; a listed image is a look of the task's assignee.

    Raises:
        InputError: The file is not XML, or its root is not ``annotations``.
    """
    if file.root.tag != "annotations":
        raise file.wrong("CVAT file: its root is not 'annotations'")
    meta = _Meta(file.root)
    for number_, _ in enumerate(file.root.iter("track"), start=1):
        fault = "a video track is no box on an image; export as CVAT for images"
        yield SourceBox(key=f"track {number_}", fault=fault)
    for number_, element in enumerate(file.root.iter("image"), start=1):
        image = _image(element)
        key = f"image {number_}"
        if meta.fault is None:
            yield from looks(key, image, reader=meta.reader, annotated=meta.updated)
        shapes = [each for each in element if each.tag in HULL_SHAPES + OTHER_SHAPES]
        for place, shape in enumerate(shapes, start=1):
            yield _box(f"{key} shape {place}", shape, image, meta)


class _Meta:
    """What the head says of all images."""

    def __init__(self, root: Element) -> None:
        def first(*names: str) -> str | None:
            paths = [f"meta/{part}/{name}" for part in ("task", "job", "project") for name in names]
            return next((found for path in paths if (found := root.findtext(path))), None)

        self.reader = first("assignee/username", "assignee")
        self.reader = (self.reader or "").strip() or None
        self.updated = moment(first("updated"))
        is_flipped = first("flipped") in TRUE
        self.fault = FLIPPED if is_flipped else None


def _image(element: Element) -> SourceImage:
    tags = [_attributes(tag) for tag in element.iter("tag")]
    return Fields(_attributes(element), *tags).image(
        file_name=element.get("name"),
        width_px=number(element.get("width")),
        height_px=number(element.get("height")),
    )


def _attributes(element: Element) -> Mapping[str, object]:
    return {
        attribute.get("name", ""): (attribute.text or "").strip()
        for attribute in element.findall("attribute")
    }


def _box(key: str, shape: Element, image: SourceImage, meta: _Meta) -> SourceBox:
    fields = Fields(_attributes(shape))
    status = fields.status()
    box = _hull(shape)
    fault = meta.fault
    if shape.get("outside") in TRUE:
        fault = "it is marked as outside the image"
    elif shape.get("source") == "auto" and status is None:
        fault = "a model drew it, and no reader has confirmed it"
    elif shape.tag in OTHER_SHAPES:
        fault = f"a shape of type {shape.tag} is no box"
    elif box is None:
        fault = "its coordinates are not numbers"
    rotated = "rotated_" if (number(shape.get("rotation")) or 0.0) % 180 else ""
    return SourceBox(
        key=key,
        fault=fault,
        image=image,
        finding=shape.get("label", ""),
        box=box or (0.0, 0.0, 0.0, 0.0),
        drawn_shape=f"{rotated}{'rectangle' if shape.tag == 'box' else shape.tag}",
        reader=fields.text("reader") or image.only_reader or meta.reader,
        annotated=fields.moment("annotated") or meta.updated,
        status=status,
        is_occluded=shape.get("occluded") in TRUE if shape.get("occluded") else None,
    )


def _hull(shape: Element) -> Box | None:
    degrees = number(shape.get("rotation") or "0")
    if degrees is None:
        return None
    if shape.tag == "box":
        corners = four(*(shape.get(name) for name in ("xtl", "ytl", "xbr", "ybr")))
        return corners and hull_of_rotated(from_corners(*corners), degrees)
    if shape.tag == "ellipse":
        ellipse = four(*(shape.get(name) for name in ("cx", "cy", "rx", "ry")))
        return ellipse and hull_of_ellipse(ellipse[:2], ellipse[2:], degrees)
    points = [
        (number(x), number(y))
        for x, _, y in (point.partition(",") for point in shape.get("points", "").split(";"))
    ]
    known = [(x, y) for x, y in points if x is not None and y is not None]
    return hull_of_points(known) if len(known) == len(points) else None
