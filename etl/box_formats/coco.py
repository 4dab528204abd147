"""COCO detection files (https://cocodataset.org/#format-data).

Images are named by ``sop_instance_uid``, ``accession_number`` or ``file_name``; reader, date and
status stand in an annotation's ``attributes``, where annotation tools put them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etl.box_formats.source_box import SourceBox
from warehouse_schema.errors import InputError

STATUSES = ("drawn", "confirmed", "rejected")


def read_coco(file: Path) -> Iterator[SourceBox]:
    """Boxes of a COCO file, in its order.

    Raises:
        InputError: The file is missing, is not JSON, or lacks images, categories or annotations.
    """
    content = _read_json(file)
    images = {image.get("id"): image for image in _entries(content, "images")}
    categories = {each.get("id"): each.get("name") for each in _entries(content, "categories")}
    for number, annotation in enumerate(_entries(content, "annotations"), start=1):
        key = f"annotation {number}"
        image = images.get(annotation.get("image_id"))
        finding = categories.get(annotation.get("category_id"))
        if image is None:
            yield SourceBox(key=key, fault="its image_id is not among the file's images")
        elif not isinstance(finding, str):
            yield SourceBox(key=key, fault="its category_id is not among the file's categories")
        else:
            yield _source_box(key, annotation, image, finding)


def _source_box(
    key: str, annotation: dict[str, Any], image: dict[str, Any], finding: str
) -> SourceBox:
    box = annotation.get("bbox")
    numbers = [_number(value) for value in box] if isinstance(box, list) else []
    if len(numbers) != 4 or any(value is None for value in numbers):
        return SourceBox(key=key, fault="its bbox is not four numbers")
    attributes = annotation.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    if _number(attributes.get("rotation")):
        return SourceBox(key=key, fault="it is rotated, which a box cannot express")
    x_px, y_px, width_px, height_px = (value or 0.0 for value in numbers)
    status = str(attributes.get("status") or "drawn").lower()
    return SourceBox(
        key=key,
        fault=None if status in STATUSES else f"its status is not {', '.join(STATUSES)}",
        sop_instance_uid=_text(image.get("sop_instance_uid")),
        accession_number=_text(image.get("accession_number")),
        file_name=_text(image.get("file_name")),
        image_width_px=_number(image.get("width")),
        image_height_px=_number(image.get("height")),
        finding=finding,
        x_px=x_px,
        y_px=y_px,
        width_px=width_px,
        height_px=height_px,
        reader=_text(attributes.get("reader")),
        annotated=_moment(_text(attributes.get("date"))),
        status=status,
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(
            "file: the annotation file cannot be read. Give the path of a COCO file."
        ) from None
    except (ValueError, RecursionError):
        raise InputError(
            "file: the annotation file is not JSON. Export it again as COCO detection."
        ) from None
    if not isinstance(content, dict):
        raise InputError("file: the JSON is no COCO file. Export it again as COCO detection.")
    return content


def _entries(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            f"file: the COCO file has no list {name!r}. Export it again as COCO detection, with "
            "images, categories and annotations."
        )
    return entries


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
