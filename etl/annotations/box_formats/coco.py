"""COCO detection files and results lists (https://cocodataset.org/#format-data).

Images are named by ``sop_instance_uid``, ``accession_number``, ``file_sha256`` or ``file_name``;
reader, date and status stand in an annotation's ``attributes``, where annotation tools put them. An
image without annotations was looked at by the readers that its own ``readers`` names.

A rotated rectangle keeps its unrotated ``bbox`` beside ``attributes.rotation`` (CVAT's export), or
its corners in ``segmentation`` alone: the hull is taken either way.

A results list (``image_id``, ``category_id``, ``bbox``, ``score``) has no images and categories of
its own: numbers are those of the detection file that is read in the same import; texts are taken as
a file name and a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etl.annotations.box_formats.annotation_file import AnnotationFile, AnnotationFolder
from etl.annotations.box_formats.entry_fields import Fields, strict_number, text
from etl.annotations.box_formats.shapes import hull_of_points, hull_of_rotated, pairs
from etl.annotations.box_formats.source_box import Box, SourceBox, SourceEntry, SourceImage, looks
from warehouse_schema.errors import InputError

TITLE = "COCO detection or results"
# A polygon that a tool rounds to whole pixels leaves its box by less.
MAX_ROUNDING_PX = 1.5
Entry = Mapping[str, Any]


def is_coco(file: AnnotationFile) -> bool:
    """True for an object with images and annotations, or a list of results."""
    if file.kind != "json":
        return False
    if isinstance(file.json, dict):
        return {"images", "annotations"} <= file.json.keys()
    return _is_results(file.json)


def read_coco(
    file: AnnotationFile, *, beside: Sequence[AnnotationFile | AnnotationFolder] = ()
) -> Iterator[SourceEntry]:
    """Boxes in the file's order, then the looks at its images.

    Args:
        file: Detection file or results list.
        beside: Files read in the same import; the detection file of a results list among them.

    Raises:
        InputError: The file is not JSON, or lacks images, categories or annotations.
    """
    if _is_results(file.json):
        yield from _read_results(file.json, beside)
        return
    described, names = _described(file)
    for number, annotation in enumerate(_entries(file, "annotations"), start=1):
        key = f"annotation {number}"
        image = _found(described, annotation.get("image_id"))
        finding = _found(names, annotation.get("category_id"))
        if image is None:
            yield SourceBox(key=key, fault="its image_id is not among the file's images")
            continue
        if not isinstance(finding, str):
            fault = "its category_id is not among the file's categories"
            yield SourceBox(key=key, image=image, fault=fault)
        else:
            yield _box(key, annotation, image, finding)
    for number, image in enumerate(described.values(), start=1):
        yield from looks(f"image {number}", image)


def _image(entry: Entry) -> SourceImage:
    attributes = entry.get("attributes")
    fields = Fields(
        {name: value for name, value in entry.items() if name not in {"id", "width", "height"}},
        attributes if isinstance(attributes, dict) else None,
    )
    return fields.image(
        file_name=text(entry.get("file_name")),
        width_px=strict_number(entry.get("width")),
        height_px=strict_number(entry.get("height")),
    )


def _box(key: str, annotation: Entry, image: SourceImage, finding: str) -> SourceBox:
    numbers = _numbers(annotation.get("bbox"))
    if numbers is None or len(numbers) != 4:
        return SourceBox(key=key, image=image, fault="its bbox is not four numbers")
    attributes = annotation.get("attributes")
    fields = Fields(attributes if isinstance(attributes, dict) else None)
    left, top, width, height = numbers
    box, drawn_shape = _hull((left, top, width, height), annotation, fields)
    return SourceBox(
        key=key,
        image=image,
        finding=finding,
        box=box,
        drawn_shape=drawn_shape,
        reader=fields.text("reader") or image.only_reader,
        annotated=fields.moment("annotated"),
        status=fields.status(),
    )


def _hull(box: Box, annotation: Entry, fields: Fields) -> tuple[Box, str]:
    """The upright box and the shape that was drawn."""
    degrees = fields.number("rotation") or 0.0
    polygons = annotation.get("segmentation")
    if isinstance(polygons, list) and polygons:
        numbers = [_numbers(polygon) for polygon in polygons]
        points = [point for each in numbers if each for point in pairs(each)]
        hull = hull_of_points(points)
        # The corners of a rotated rectangle reach over its bbox, or its bbox over them.
        if hull is not None and (degrees % 180 or _reaches_over(hull, box)):
            is_rotated = degrees % 180 or len(points) == 4
            return hull, "rotated_rectangle" if is_rotated else "polygon"
    if degrees % 180:
        return hull_of_rotated(box, degrees), "rotated_rectangle"
    return box, "rectangle"


def _reaches_over(hull: Box, box: Box) -> bool:
    return (
        hull[0] < box[0] - MAX_ROUNDING_PX
        or hull[1] < box[1] - MAX_ROUNDING_PX
        or hull[0] + hull[2] > box[0] + box[2] + MAX_ROUNDING_PX
        or hull[1] + hull[3] > box[1] + box[3] + MAX_ROUNDING_PX
    )


def _described(file: AnnotationFile) -> tuple[dict[Any, SourceImage], dict[Any, Any]]:
    """Images and names of categories by their numbers."""
    images = {each.get("id"): _image(each) for each in _entries(file, "images")}
    names = {each.get("id"): each.get("name") for each in _entries(file, "categories")}
    return images, names


def _read_results(
    results: list[Entry], beside: Sequence[AnnotationFile | AnnotationFolder]
) -> Iterator[SourceEntry]:
    files = [file for file in beside if isinstance(file, AnnotationFile)]
    detection = [file for file in files if _is_detection(file)]
    images, names = _described(detection[0]) if len(detection) == 1 else ({}, {})
    for number, result in enumerate(results, start=1):
        key = f"result {number}"
        image = _found(images, result["image_id"])
        finding = _found(names, result["category_id"])
        if image is None and isinstance(result["image_id"], str):
            image = SourceImage(file_name=result["image_id"])
        if finding is None and isinstance(result["category_id"], str):
            finding = result["category_id"]
        if image is None:
            fault = "its image_id is a number of no one detection file in the same import"
            yield SourceBox(key=key, fault=fault)
        elif not isinstance(finding, str):
            fault = "its category_id is a number of no one detection file in the same import"
            yield SourceBox(key=key, image=image, fault=fault)
        else:
            yield _box(key, result, image, finding)


def _is_detection(file: AnnotationFile) -> bool:
    try:
        return file.kind == "json" and isinstance(file.json, dict) and is_coco(file)
    except InputError:
        return False


def _is_results(content: object) -> bool:
    needed = {"image_id", "category_id", "bbox"}
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(each, dict) and needed <= each.keys() for each in content)
    )


def _entries(file: AnnotationFile, name: str) -> list[Entry]:
    content = file.json
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise file.wrong(f"COCO file: it has no list {name!r} of objects")
    return entries


def _found(entries: Mapping[Any, Any], key: object) -> Any:
    return entries.get(key) if isinstance(key, (str, int)) else None


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list):
        return None
    numbers = [strict_number(value) for value in values]
    return None if None in numbers else [each for each in numbers if each is not None]
