"""Graphic annotations of softcopy presentation states (GSPS, PS3.3 C.10.5).

A graphic's finding is the label of its graphic group, else the only text of its annotation item,
else the name of its layer. PIXEL units count from the top left corner of the image's first pixel;
DISPLAY units are fractions of the displayed area (PS3.3 C.10.4) as turned and flipped by the
spatial transformation (C.10.6), and are mapped back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.dicom_content import content_moment, referenced_images
from etl.annotations.box_formats.shapes import (
    Point,
    hull_of_axes,
    hull_of_circle,
    hull_of_points,
    is_upright,
    pairs,
)
from etl.annotations.box_formats.source_box import SourceBox, SourceEntry, SourceImage, looks

TITLE = "DICOM presentation state (GSPS)"
GSPS_CLASSES = "1.2.840.10008.5.1.4.1.1.11."
HULLS = {
    "POLYLINE": hull_of_points,
    "INTERPOLATED": hull_of_points,
    "CIRCLE": hull_of_circle,
    "ELLIPSE": hull_of_axes,
}


def is_gsps(file: AnnotationFile) -> bool:
    """True for any softcopy presentation state."""
    return file.kind == "dicom" and str(file.dataset.get("SOPClassUID", "")).startswith(
        GSPS_CLASSES
    )


def read_gsps(file: AnnotationFile) -> Iterator[SourceEntry]:
    """Graphics in the file's order, on each image that they are applied to.

    Raises:
        InputError: It is not a presentation state.
    """
    if not is_gsps(file):
        raise file.wrong("DICOM presentation state")
    dataset = file.dataset
    reader = str(dataset.get("ContentCreatorName", "")).strip() or None
    annotated = content_moment(dataset)
    all_images = list(referenced_images(dataset))
    for place, uid in enumerate(all_images, start=1):
        image = SourceImage(sop_instance_uid=uid, readers=(reader,) if reader else ())
        yield from looks(f"image {place}", image, annotated=annotated)
    for place, item in enumerate(dataset.get("GraphicAnnotationSequence") or (), start=1):
        uids = _uids(item) or all_images
        for number, graphic in enumerate(item.get("GraphicObjectSequence") or (), start=1):
            for uid in uids:
                key = f"annotation {place} graphic {number}"
                yield _box(
                    key, item, graphic, dataset=dataset, uid=uid, reader=reader, annotated=annotated
                )


def _uids(item: Dataset) -> list[str]:
    references = item.get("ReferencedImageSequence") or ()
    return [str(each.get("ReferencedSOPInstanceUID", "")) for each in references]


def _box(
    key: str,
    item: Dataset,
    graphic: Dataset,
    *,
    dataset: Dataset,
    uid: str,
    reader: str | None,
    annotated: datetime | None,
) -> SourceBox:
    kind = str(graphic.get("GraphicType", ""))
    finding = _finding(dataset, item, graphic)
    points = _points(dataset, graphic, kind, uid)
    fault = None if finding else "it names no finding"
    hull = None
    if isinstance(points, str):
        fault = points
    else:
        hull = HULLS[kind](points)
        fault = fault if hull else "its points are no closed shape"
        kind = "rectangle" if is_upright(points) else kind.lower()
    return SourceBox(
        key=key,
        fault=fault,
        image=SourceImage(sop_instance_uid=uid),
        finding=finding or "",
        box=hull or (0.0, 0.0, 0.0, 0.0),
        drawn_shape=kind,
        reader=reader,
        annotated=annotated,
    )


def _finding(dataset: Dataset, item: Dataset, graphic: Dataset) -> str | None:
    group_id = graphic.get("GraphicGroupID")
    for group in dataset.get("GraphicGroupSequence") or ():
        if group_id is not None and group.get("GraphicGroupID") == group_id:
            return str(group.get("GraphicGroupLabel", "")).strip() or None
    texts = {
        str(each.get("UnformattedTextValue", "")).strip()
        for each in item.get("TextObjectSequence") or ()
    } - {""}
    if len(texts) == 1:
        return texts.pop()
    return str(item.get("GraphicLayer", "")).strip() or None


def _points(dataset: Dataset, graphic: Dataset, kind: str, uid: str) -> list[Point] | str:
    """Points of a graphic in the image's pixels, or what is wrong with it."""
    if kind not in HULLS:
        return "a point is no box" if kind == "POINT" else "its shape is no box"
    units = str(graphic.get("GraphicAnnotationUnits", "PIXEL"))
    area = _displayed_area(dataset, uid) if units == "DISPLAY" else None
    if units != "PIXEL" and area is None:
        return "its units are neither PIXEL nor DISPLAY with a displayed area"
    try:
        points = pairs([float(value) for value in graphic.GraphicData])
    except (AttributeError, TypeError, ValueError):
        return "its graphic data cannot be read"
    return points if area is None else [area.to_pixels(point) for point in points]


@dataclass(frozen=True)
class _DisplayedArea:
    """Edges of the displayed area in source pixels; the screen is after turning and flipping.

    Attributes:
        start: Source x and y at the top left corner of the screen.
        stop: Source x and y at its bottom right corner.
        is_sideways: True where the image is turned by 90 or 270 degrees.
    """

    start: Point
    stop: Point
    is_sideways: bool

    def to_pixels(self, point: Point) -> Point:
        """A point in fractions of the displayed area, in source pixels."""
        across, down = point
        x_part, y_part = (down, across) if self.is_sideways else (across, down)
        return (
            self.start[0] + (self.stop[0] - self.start[0]) * x_part,
            self.start[1] + (self.stop[1] - self.start[1]) * y_part,
        )


def _displayed_area(dataset: Dataset, uid: str) -> _DisplayedArea | None:
    """The area displayed of an image.

    Its corners are pixels of the source, counted from 1, that stand top left and bottom right after
    the spatial transformation; a corner beyond the other says that the axis runs backwards.
    """
    for item in dataset.get("DisplayedAreaSelectionSequence") or ():
        uids = _uids(item)
        if uids and uid not in uids:
            continue
        try:
            first = [int(value) for value in item.DisplayedAreaTopLeftHandCorner]
            last = [int(value) for value in item.DisplayedAreaBottomRightHandCorner]
            rotation = int(dataset.get("ImageRotation") or 0)
        except (AttributeError, TypeError, ValueError):
            return None
        if len(first) != 2 or len(last) != 2:
            return None
        edges = [(a - 1, b) if a <= b else (a, b - 1) for a, b in zip(first, last, strict=True)]
        (x_start, x_stop), (y_start, y_stop) = edges
        return _DisplayedArea(
            (float(x_start), float(y_start)), (float(x_stop), float(y_stop)), rotation % 180 == 90
        )
    return None
