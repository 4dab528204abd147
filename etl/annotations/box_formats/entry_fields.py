"""Fields of annotation entries: one name for what tools call by many, and typed values.

Names are compared without case and punctuation; the lists are the documented column names of the
CSV format, and the attribute names that the other formats may carry.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from etl.annotations.box_formats.source_box import UPRIGHT, Box, SourceImage

NAMES: Mapping[str, tuple[str, ...]] = {
    "sop_instance_uid": ("sop_instance_uid", "sop_uid", "instance_uid", "image_uid"),
    "accession_number": ("accession_number", "accession", "accession_no"),
    "file_sha256": ("file_sha256", "sha256", "image_sha256", "file_hash", "hash"),
    "file_name": (
        "file_name",
        "image_name",
        "image_file",
        "image_path",
        "image_id",
        "image",
        "path",
        "file",
    ),
    "image_width_px": ("image_width_px", "image_width", "img_width", "original_width"),
    "image_height_px": ("image_height_px", "image_height", "img_height", "original_height"),
    "orientation": ("orientation", "exif_orientation", "image_orientation"),
    "finding": (
        "finding",
        "label",
        "class_name",
        "class",
        "category_name",
        "category",
        "abnormality",
        "diagnosis",
        "type",
        "name",
    ),
    "left": ("x_px", "x_min", "left", "x1", "xtl", "x"),
    "top": ("y_px", "y_min", "top", "y1", "ytl", "y"),
    "right": ("x_max", "right", "x2", "xbr"),
    "bottom": ("y_max", "bottom", "y2", "ybr"),
    "width": ("width_px", "box_width", "width", "w"),
    "height": ("height_px", "box_height", "height", "h"),
    "rotation": ("rotation", "angle"),
    "reader": ("reader", "reader_id", "annotator", "radiologist", "rad_id", "author", "user"),
    "readers": ("readers", "annotators"),
    "annotated": ("annotated", "annotated_datetime", "annotated_at", "date", "datetime", "time"),
    "status": ("status", "review_status"),
}


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_PLAIN_NAMES = {field: tuple(map(_plain, names)) for field, names in NAMES.items()}


class Fields:
    """The fields of one entry, found by any of their names.

    Args:
        entry: Names and values as in the file; a later mapping fills what earlier ones lack.
    """

    def __init__(self, *entries: Mapping[str, object] | None) -> None:
        self._values: dict[str, object] = {}
        for entry in entries:
            for name, value in (entry or {}).items():
                if value is not None and value != "":
                    self._values.setdefault(_plain(str(name)), value)

    def get(self, field: str) -> object | None:
        """The value under the first of the field's names that is given."""
        for name in _PLAIN_NAMES[field]:
            value = self._values.get(name)
            if value is not None:
                return value
        return None

    def text(self, field: str) -> str | None:
        """The field as trimmed text."""
        return text(self.get(field))

    def number(self, field: str) -> float | None:
        """The field as a finite number; a text may hold it."""
        return number(self.get(field))

    def moment(self, field: str) -> datetime | None:
        """The field as a UTC moment."""
        return moment(self.get(field))

    def status(self) -> str | None:
        """The status in lower case, None where the entry names none."""
        status = self.text("status")
        return status.lower() if status else None

    def image(
        self,
        *,
        file_name: str | None = None,
        width_px: float | None = None,
        height_px: float | None = None,
    ) -> SourceImage:
        """The image that the entry names; arguments win over its fields."""
        return SourceImage(
            sop_instance_uid=self.text("sop_instance_uid"),
            accession_number=self.text("accession_number"),
            file_sha256=self.text("file_sha256"),
            file_name=file_name or self.text("file_name"),
            width_px=width_px or self.number("image_width_px"),
            height_px=height_px or self.number("image_height_px"),
            orientation=self._orientation(),
            readers=self._readers(),
        )

    def _orientation(self) -> int:
        value = self.get("orientation")
        if value is None:
            return UPRIGHT
        found = number(value) or 0.0
        return int(found) if found in range(1, 9) else 0

    def _readers(self) -> tuple[str, ...]:
        value = self.get("readers")
        parts = value if isinstance(value, list) else re.split(r"[;,|]", text(value) or "")
        readers = tuple(dict.fromkeys(filter(None, map(text, parts))))
        single = self.text("reader")
        return readers or ((single,) if single else ())


def number(value: object) -> float | None:
    """A finite number, also from a text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value.strip().replace(",", ".") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def text(value: object) -> str | None:
    """Trimmed text of a text or a whole number; None where it is empty or something else."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    try:
        return str(value).strip() or None
    except ValueError:  # a number of more digits than Python prints
        return None


def moment(value: object) -> datetime | None:
    """A UTC moment from an ISO text; a time without a zone is taken as UTC."""
    try:
        found = datetime.fromisoformat(text(value) or "")
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def four(*values: object) -> Box | None:
    """Four finite numbers, or None."""
    numbers = [number(value) for value in values]
    if len(numbers) != 4 or None in numbers:
        return None
    left, top, width, height = (value for value in numbers if value is not None)
    return left, top, width, height


def strict_number(value: object) -> float | None:
    """A finite number of a typed format, in which a text is no number."""
    return None if isinstance(value, str) else number(value)
