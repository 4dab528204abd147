"""Pascal VOC XML, one file an image, as LabelImg and other tools write it.

http://host.robots.ox.ac.uk/pascal/VOC/. Edges are taken as they stand: annotation tools write edges
between pixels, and the original data's counting from 1 would move a box by one pixel. roLabelImg's
``robndbox`` (centre, size, angle in radians) becomes its hull.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.entry_fields import Fields, four, number, text
from etl.annotations.box_formats.shapes import from_corners, hull_of_rotated
from etl.annotations.box_formats.source_box import Box, SourceBox, SourceEntry, SourceImage, looks

TITLE = "Pascal VOC (XML)"


def is_pascal_voc(file: AnnotationFile) -> bool:
    """True for a root ``annotation``."""
    return file.kind == "xml" and file.root.tag == "annotation"


def read_pascal_voc(file: AnnotationFile) -> Iterator[SourceEntry]:
    """The image's look and its objects.

    Raises:
        InputError: The file is not XML, or its root is not ``annotation``.
    """
    if not is_pascal_voc(file):
        raise file.wrong("Pascal VOC file: its root is not 'annotation'")
    head = _texts(file.root)
    image = Fields(head).image(
        file_name=text(head.get("filename")) or text(head.get("path")) or file.path.stem,
        width_px=number(file.root.findtext("size/width")),
        height_px=number(file.root.findtext("size/height")),
    )
    yield from looks("image", image)
    for place, element in enumerate(file.root.iter("object"), start=1):
        yield _box(f"object {place}", element, image)


def _texts(element: Element) -> dict[str, object]:
    return {child.tag: (child.text or "").strip() for child in element if not len(child)}


def _box(key: str, element: Element, image: SourceImage) -> SourceBox:
    texts = _texts(element)
    fields = Fields(texts)
    hull, drawn_shape = _hull(element)
    fault = "its bndbox is not four numbers" if hull is None else None
    finding = text(texts.get("name"))
    return SourceBox(
        key=key,
        fault=fault or (None if finding else "it has no name"),
        image=image,
        finding=finding or "",
        box=hull or (0.0, 0.0, 0.0, 0.0),
        drawn_shape=drawn_shape,
        reader=fields.text("reader") or image.only_reader,
        annotated=fields.moment("annotated"),
        status=fields.status(),
        is_occluded=texts["occluded"] == "1" if texts.get("occluded") else None,
    )


def _hull(element: Element) -> tuple[Box | None, str]:
    def numbers(path: str, *names: str) -> Box | None:
        return four(*(element.findtext(f"{path}/{name}") for name in names))

    if element.find("robndbox") is not None:
        turned = numbers("robndbox", "cx", "cy", "w", "h")
        angle = number(element.findtext("robndbox/angle"))
        if turned is None or angle is None:
            return None, "rotated_rectangle"
        x, y, width, height = turned
        upright = (x - width / 2, y - height / 2, width, height)
        return hull_of_rotated(upright, math.degrees(angle)), "rotated_rectangle"
    corners = numbers("bndbox", "xmin", "ymin", "xmax", "ymax")
    return corners and from_corners(*corners), "rectangle"
