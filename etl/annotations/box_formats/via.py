"""VGG Image Annotator 2: project or annotations as JSON, annotations as CSV.

https://www.robots.ox.ac.uk/~vgg/software/via/. A region's attributes give the finding and, where
a project has such attributes, reader, date and status; a file's attributes name the image.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.entry_fields import Fields, four, strict_number, text
from etl.annotations.box_formats.shapes import hull_of_ellipse, hull_of_points
from etl.annotations.box_formats.source_box import Box, SourceBox, SourceEntry, SourceImage, looks

TITLE = "VGG Image Annotator 2 (JSON or CSV)"
CSV_COLUMNS = ("filename", "file_attributes", "region_shape_attributes", "region_attributes")
Entry = Mapping[str, Any]


def is_via(file: AnnotationFile) -> bool:
    """True for a VIA project, its annotations alone, or a CSV with VIA's columns."""
    if file.kind == "text":
        head = file.text.lstrip("\ufeff").partition("\n")[0]
        return all(name in head for name in CSV_COLUMNS)
    return file.kind == "json" and _metadata(file.json) is not None


def read_via(file: AnnotationFile) -> Iterator[SourceEntry]:
    """Regions in the file's order, and a look for each image.

    Raises:
        InputError: The file is neither form.
    """
    if file.kind == "text":
        yield from _read_csv(file)
        return
    metadata = _metadata(file.json)
    if metadata is None:
        raise file.wrong("VIA 2 file: it has no images with regions")
    for number, entry in enumerate(metadata.values(), start=1):
        key = f"image {number}"
        image = _image(text(entry.get("filename")), entry.get("file_attributes"))
        yield from looks(key, image)
        regions = entry["regions"]
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        for place, region in enumerate(regions, start=1):
            region_ = region if isinstance(region, dict) else {}
            yield _box(
                f"{key} region {place}",
                image,
                region_.get("shape_attributes"),
                region_.get("region_attributes"),
            )


def _read_csv(file: AnnotationFile) -> Iterator[SourceEntry]:
    rows = csv.DictReader(file.text.lstrip("\ufeff").splitlines())
    if not set(CSV_COLUMNS) <= set(rows.fieldnames or ()):
        raise file.wrong(f"VIA 2 CSV file: it lacks a column of {', '.join(CSV_COLUMNS)}")
    looked: set[str] = set()
    for number, row in enumerate(rows, start=1):
        key = f"row {number}"
        name = text(row["filename"])
        image = _image(name, _cell(row["file_attributes"]))
        if (name or key) not in looked:
            looked.add(name or key)
            yield from looks(key, image)
        shape = _cell(row["region_shape_attributes"])
        if shape != {}:
            yield _box(key, image, shape, _cell(row["region_attributes"]))


def _cell(content: str | None) -> object:
    """A cell's JSON object; empty cells are empty objects, others None."""
    try:
        return json.loads(content or "{}")
    except (ValueError, RecursionError):
        return None


def _metadata(content: object) -> Mapping[str, Entry] | None:
    """Images by key, of a project or of its annotations."""
    if isinstance(content, dict) and "_via_img_metadata" in content:
        content = content["_via_img_metadata"]
    is_metadata = isinstance(content, dict) and all(
        isinstance(entry, dict)
        and "filename" in entry
        and isinstance(entry.get("regions"), (list, dict))
        for entry in content.values()
    )
    return content if is_metadata and content else None  # type: ignore[return-value]


def _image(file_name: str | None, attributes: object) -> SourceImage:
    fields = Fields(attributes if isinstance(attributes, dict) else None)
    return fields.image(file_name=file_name)


def _box(key: str, image: SourceImage, shape: object, attributes: object) -> SourceBox:
    named = attributes if isinstance(attributes, dict) else {}
    # A checkbox attribute is an object of ticked options.
    plain = {
        name: next(iter(value), None) if isinstance(value, dict) and len(value) == 1 else value
        for name, value in named.items()
    }
    fields = Fields(plain)
    only = text(next(iter(plain.values()))) if len(plain) == 1 else None
    finding = fields.text("finding") or only
    hull = _hull(shape if isinstance(shape, dict) else {})
    fault = "it has no label" if finding is None else None
    if isinstance(hull, str):
        fault, hull = hull, ((0.0, 0.0, 0.0, 0.0), "rectangle")
    return SourceBox(
        key=key,
        fault=fault,
        image=image,
        finding=finding or "",
        box=hull[0],
        drawn_shape=hull[1],
        reader=fields.text("reader") or image.only_reader,
        annotated=fields.moment("annotated"),
        status=fields.status(),
    )


def _hull(shape: Entry) -> tuple[Box, str] | str:
    name = shape.get("name")
    if name in {"polygon", "polyline"}:
        points = _points(shape.get("all_points_x"), shape.get("all_points_y"))
        hull = hull_of_points(points or ())
        return (hull, str(name)) if hull else "its coordinates are not numbers"
    keys = {
        "rect": ("x", "y", "width", "height"),
        "circle": ("cx", "cy", "r", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
    }.get(str(name))
    if keys is None:
        return "its shape is no box"
    numbers = four(*(strict_number(shape.get(key)) for key in keys))
    if numbers is None:
        return "its coordinates are not numbers"
    if name == "rect":
        return numbers, "rectangle"
    degrees = math.degrees(strict_number(shape.get("theta")) or 0.0)
    return hull_of_ellipse(numbers[:2], numbers[2:], degrees), str(name)


def _points(xs: object, ys: object) -> list[tuple[float, float]] | None:
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        return None
    points = [
        (x, y)
        for x, y in zip(map(strict_number, xs), map(strict_number, ys), strict=True)
        if x is not None and y is not None
    ]
    return points if len(points) == len(xs) else None
