"""A box as an annotation file gives it, before it is matched and checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class SourceBox:
    """One box.

    Attributes:
        key: Key of the box in its file, fit for the quarantine table.
        fault: Why the file's own entry cannot be used, or None.
        sop_instance_uid: Image by UID; an image may be named in several ways.
        accession_number: Image by its study's accession number.
        file_name: Image by file name or relative path.
        image_width_px: Width of the image that was annotated, where the file says it.
        image_height_px: Its height.
        finding: Category name.
        x_px: Left edge in the annotated image.
        y_px: Top edge.
        width_px: Width.
        height_px: Height.
        reader: Who drew it.
        annotated: When, as the file says it, unshifted.
        status: drawn, confirmed or rejected.
    """

    key: str
    fault: str | None = None
    sop_instance_uid: str | None = None
    accession_number: str | None = None
    file_name: str | None = None
    image_width_px: float | None = None
    image_height_px: float | None = None
    finding: str = ""
    x_px: float = 0.0
    y_px: float = 0.0
    width_px: float = 0.0
    height_px: float = 0.0
    reader: str | None = None
    annotated: datetime | None = None
    status: str = "drawn"
