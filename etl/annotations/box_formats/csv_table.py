"""A plain table of boxes: CSV with commas, semicolons or tabs, and a line of column names.

Columns, any of them by any name in ``entry_fields.NAMES``: what names the image (sop_instance_uid,
accession_number, file_sha256, file_name), ``finding``, the box as left, top, right, bottom or as
left, top, width, height, and where known image_width_px, image_height_px, orientation, reader,
date, status. Beside right and bottom, ``width`` and ``height`` are the image's. A row without box
is a reader's look at an image without finding.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.entry_fields import NAMES, Fields, four, text
from etl.annotations.box_formats.shapes import from_corners, hull_of_rotated
from etl.annotations.box_formats.source_box import SourceBox, SourceEntry, SourceImage, SourceLook

TITLE = "table of boxes (CSV)"
DELIMITERS = (",", ";", "\t")
IMAGE_FIELDS = ("sop_instance_uid", "accession_number", "file_sha256", "file_name")
EDGES = ("left", "top", "right", "bottom")
SIDES = ("left", "top", "width", "height")
NO_FINDING = frozenset({"no finding", "none", "normal", "negative", "no"})


def is_csv_table(file: AnnotationFile) -> bool:
    """True where the first line names an image, a finding and a box."""
    return file.kind == "text" and _missing(_columns(file)) is None


def read_csv_table(file: AnnotationFile) -> Iterator[SourceEntry]:
    """Rows in the file's order.

    Raises:
        InputError: A column that names image, finding or box is missing.
    """
    columns = _columns(file)
    missing = _missing(columns)
    if missing is not None:
        raise file.wrong(f"table of boxes: it has no column for {missing}")
    lines = file.text.lstrip("\ufeff").splitlines()
    reader = csv.reader(lines[1:], delimiter=_delimiter(lines[0]))
    is_edges = _has(columns, "right") and _has(columns, "bottom")
    for number, cells in enumerate(_rows(reader), start=1):
        key = f"row {number}"
        if cells is None:
            yield SourceBox(key=key, fault="the row is no CSV")
        elif any(cell.strip() for cell in cells):
            yield _entry(key, dict(zip(columns, cells, strict=False)), is_edges=is_edges)


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str] | None]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None


def _delimiter(head: str) -> str:
    return max(DELIMITERS, key=head.count)


def _columns(file: AnnotationFile) -> list[str]:
    head = file.text.lstrip("\ufeff").splitlines()[0]
    try:
        return [cell.strip() for cell in next(csv.reader([head], delimiter=_delimiter(head)), [])]
    except csv.Error:
        return []


def _has(columns: list[str], *fields: str) -> bool:
    return any(Fields(dict.fromkeys(columns, "x")).get(field) is not None for field in fields)


def _missing(columns: list[str]) -> str | None:
    """What no column names, in words; None where the table is complete."""
    if not _has(columns, *IMAGE_FIELDS):
        return f"the image ({', '.join(IMAGE_FIELDS)})"
    if not _has(columns, "finding"):
        return f"the finding ({', '.join(NAMES['finding'])})"
    for fields in (EDGES, SIDES):
        if all(_has(columns, field) for field in fields):
            return None
    return "the box (x_min, y_min, x_max, y_max or x, y, width, height)"


def _entry(key: str, row: Mapping[str, object], *, is_edges: bool) -> SourceEntry:
    fields = Fields(row)
    image = _image(fields, is_edges=is_edges)
    reader, annotated = fields.text("reader"), fields.moment("annotated")
    values = [fields.get(name) for name in (EDGES if is_edges else SIDES)]
    finding = text(fields.get("finding"))
    if not any(values) and (finding is None or finding.lower() in NO_FINDING):
        return SourceLook(
            key=key, image=image, reader=reader, is_implied=reader is None, annotated=annotated
        )
    numbers = four(*values)
    degrees = fields.number("rotation") or 0.0
    fault = "its box is not four numbers" if numbers is None else None
    box = numbers or (0.0, 0.0, 0.0, 0.0)
    box = from_corners(*box) if is_edges else box
    return SourceBox(
        key=key,
        fault=fault or (None if finding else "it has no finding"),
        image=image,
        finding=finding or "",
        box=hull_of_rotated(box, degrees) if degrees % 180 else box,
        drawn_shape="rotated_rectangle" if degrees % 180 else "rectangle",
        reader=reader,
        annotated=annotated,
        status=fields.status(),
    )


def _image(fields: Fields, *, is_edges: bool) -> SourceImage:
    return fields.image(
        width_px=fields.number("width") if is_edges else None,
        height_px=fields.number("height") if is_edges else None,
    )
