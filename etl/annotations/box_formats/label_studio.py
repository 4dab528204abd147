"""Label Studio's JSON export (https://labelstud.io/guide/export#Label-Studio-JSON-format).

Coordinates are percent of the annotated image; ``rotation`` turns a rectangle clockwise about its
top left corner, in pixels. A task's fields name the image beside its URL. Each annotation (older
name: completion) is one reader's look; skipped ones and model predictions are set aside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.entry_fields import Fields, four, moment, strict_number, text
from etl.annotations.box_formats.shapes import hull_of_ellipse, hull_of_points, hull_of_rotated
from etl.annotations.box_formats.source_box import (
    Box,
    SourceBox,
    SourceEntry,
    SourceImage,
    SourceLook,
    Unit,
)

TITLE = "Label Studio (JSON)"
SHAPES = ("rectangle", "ellipse", "polygon")
# Results that say something of a region or an image and draw nothing.
NO_SHAPES = (
    "labels",
    "choices",
    "textarea",
    "number",
    "rating",
    "taxonomy",
    "datetime",
    "relation",
)
NO_HULL: tuple[Box, Unit, str] = ((0.0, 0.0, 0.0, 0.0), "px", "rectangle")
# Label Studio puts eight digits before the name of an uploaded file.
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
IMAGE_KEYS = ("image", "img", "url", "dicom", "file")
Entry = Mapping[str, Any]


def is_label_studio(file: AnnotationFile) -> bool:
    """True for a list of tasks with data and annotations or completions."""
    return (
        file.kind == "json"
        and isinstance(file.json, list)
        and bool(file.json)
        and all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in file.json)
        and any({"annotations", "completions"} & task.keys() for task in file.json)
    )


def read_label_studio(file: AnnotationFile) -> Iterator[SourceEntry]:
    """Boxes and looks, task by task.

    Raises:
        InputError: The file is not a JSON list of tasks.
    """
    if not isinstance(file.json, list):
        raise file.wrong("Label Studio export: it is no list of tasks (JSON, not JSON-MIN)")
    for number, task in enumerate(file.json, start=1):
        key = f"task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            yield SourceBox(key=key, fault="the task has no data")
            continue
        image = _image(task)
        annotations = task.get("annotations", task.get("completions"))
        for place, annotation in enumerate(_objects(annotations), start=1):
            yield from _read_annotation(f"{key} annotation {place}", annotation, image)
        for place, _ in enumerate(_objects(task.get("predictions")), start=1):
            fault = "a model's prediction is no reader's annotation"
            yield SourceBox(key=f"{key} prediction {place}", fault=fault)


def _image(task: Entry) -> SourceImage:
    data = {str(name): value for name, value in task["data"].items()}
    location = next((data[name] for name in IMAGE_KEYS if isinstance(data.get(name), str)), None)
    meta = task.get("meta")
    return Fields(data, meta if isinstance(meta, dict) else None).image(
        file_name=_file_name(location or text(task.get("file_upload")))
    )


def _file_name(location: str | None) -> str | None:
    """File name of an image's URL, a local file's ``d=`` path or an upload."""
    if location is None:
        return None
    try:
        parts = urlsplit(location)
    except ValueError:
        return location
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path)
    folder, _, name = path.replace("\\", "/").rpartition("/")
    is_upload = not folder or "/upload/" in f"{folder}/"
    return UPLOAD_PREFIX.sub("", name) if is_upload else path


def _read_annotation(key: str, annotation: Entry, image: SourceImage) -> Iterator[SourceEntry]:
    annotated = moment(annotation.get("updated_at") or annotation.get("created_at"))
    reader = _reader(annotation)
    is_cancelled = bool(annotation.get("was_cancelled"))
    fault = "the reader has cancelled the annotation" if is_cancelled else None
    yield SourceLook(key=key, image=image, reader=reader, annotated=annotated, fault=fault)
    if is_cancelled:
        return
    regions: dict[object, list[Entry]] = defaultdict(list)
    for place, result in enumerate(_objects(annotation.get("result"))):
        regions[text(result.get("id")) or place].append(result)
    status = "confirmed" if annotation.get("ground_truth") is True else None
    for place, results in enumerate(regions.values(), start=1):
        if not all(each.get("type") in NO_SHAPES for each in results):
            yield _box(
                f"{key} region {place}",
                results,
                image,
                reader=reader,
                annotated=annotated,
                status=status,
            )


def _box(
    key: str,
    results: list[Entry],
    image: SourceImage,
    *,
    reader: str | None,
    annotated: datetime | None,
    status: str | None,
) -> SourceBox:
    """The box of one region, whose shape, labels and choices stand in results of one id."""
    values = [each["value"] for each in results if isinstance(each.get("value"), dict)]
    shape = next((each for each in results if each.get("type") not in NO_SHAPES), results[0])
    sized = replace(
        image,
        width_px=strict_number(shape.get("original_width")) or image.width_px,
        height_px=strict_number(shape.get("original_height")) or image.height_px,
    )
    findings = [name for value in values for name in _labels(value)]
    fields = Fields({str(each.get("from_name")): _choice(each) for each in results})
    hull = _hull(shape, sized)
    fault = hull if isinstance(hull, str) else None
    box, unit, drawn_shape = hull if not isinstance(hull, str) else NO_HULL
    if len(findings) != 1:
        fault = "it has several labels" if findings else "it has no label"
    if strict_number(shape.get("image_rotation")):
        fault = "the image was turned in Label Studio, whose versions differ in what that means"
    return SourceBox(
        key=key,
        fault=fault,
        image=sized,
        finding=next(iter(findings), ""),
        box=box,
        unit=unit,
        drawn_shape=drawn_shape,
        reader=reader,
        annotated=annotated,
        status=fields.status() or status,
    )


def _hull(shape: Entry, image: SourceImage) -> tuple[Box, Unit, str] | str:
    """Hull of a region in pixels, in fractions where the image's size is not given; or a fault."""
    value = shape.get("value")
    value = value if isinstance(value, dict) else {}
    kind = str(shape.get("type", "")).removesuffix("labels")
    if kind not in SHAPES:
        return "its shape is no box"
    width_px, height_px = image.width_px, image.height_px
    degrees = (strict_number(value.get("rotation")) or 0.0) % 360
    unit: Unit = "px" if width_px and height_px else "fraction"
    if degrees and unit == "fraction":
        return "it is rotated, and the file lacks original_width and original_height"
    x, y = (width_px or 1.0) / 100, (height_px or 1.0) / 100
    if kind == "polygon":
        points = _points(value.get("points"))
        hull = hull_of_points([(px * x, py * y) for px, py in points or ()])
        return (hull, unit, "polygon") if hull else "its points are not numbers"
    names = ("x", "y", "radiusX", "radiusY") if kind == "ellipse" else ("x", "y", "width", "height")
    values = [strict_number(value.get(name)) for name in names]
    numbers = four(*values)
    if numbers is None:
        return "its coordinates are not numbers"
    box = (numbers[0] * x, numbers[1] * y, numbers[2] * x, numbers[3] * y)
    rotated = "rotated_" if degrees % 180 else ""
    if kind == "ellipse":
        return hull_of_ellipse(box[:2], box[2:], degrees), unit, f"{rotated}ellipse"
    if degrees:
        box = hull_of_rotated(box, degrees, pivot=box[:2])
    return box, unit, f"{rotated}rectangle"


def _points(values: object) -> list[tuple[float, float]] | None:
    if not isinstance(values, list):
        return None
    points = []
    for each in values:
        numbers = [strict_number(number) for number in each] if isinstance(each, list) else []
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            return None
        points.append((numbers[0], numbers[1]))
    return points


def _labels(value: Entry) -> list[str]:
    names = [name for name in value if name == "labels" or name.endswith("labels")]
    return [label for name in names for label in _objects_of(value[name], str)]


def _choice(result: Entry) -> object:
    value = result.get("value")
    chosen = value.get("choices", value.get("text")) if isinstance(value, dict) else None
    return chosen[0] if isinstance(chosen, list) and chosen else chosen


def _reader(annotation: Entry) -> str | None:
    """Who made an annotation: an email address, a user's number, or the older user name."""
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email") or who.get("username") or who.get("id")
    return text(who) or text(annotation.get("created_username"))


def _objects(values: object) -> list[Entry]:
    return _objects_of(values, dict)


def _objects_of(values: object, kind: type) -> list[Any]:
    return [each for each in values if isinstance(each, kind)] if isinstance(values, list) else []
