"""DICOM structured reports of TID 1500 with planar regions (PS3.16 TID 1410), read by highdicom.

A region's finding is its coded finding, else its tracking identifier. Coordinates are column and
row with the origin at the top left corner of the first pixel (PS3.3 C.18.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from typing import Any

import highdicom
from pydicom.dataset import Dataset

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.dicom_content import content_moment, person, referenced_images
from etl.annotations.box_formats.shapes import (
    Point,
    hull_of_axes,
    hull_of_circle,
    hull_of_points,
    is_upright,
)
from etl.annotations.box_formats.source_box import (
    Box,
    SourceBox,
    SourceEntry,
    SourceImage,
    SourceLook,
)

TITLE = "DICOM SR (TID 1500)"
Person = highdicom.sr.PersonObserverIdentifyingAttributes
SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
GROUP_KINDS = ("get_planar_roi_measurement_groups", "get_volumetric_roi_measurement_groups")


def is_dicom_sr(file: AnnotationFile) -> bool:
    """True for any structured report."""
    return file.kind == "dicom" and str(file.dataset.get("SOPClassUID", "")).startswith(SR_CLASSES)


def read_dicom_sr(file: AnnotationFile) -> Iterator[SourceEntry]:
    """Regions in the report's order, and a look for each image that it refers to.

    Raises:
        InputError: It is not a report of TID 1500.
    """
    content = _content(file)
    reader = _observer(content) or person(file.dataset, "VerifyingObserverSequence")
    annotated = content_moment(file.dataset)
    for place, uid in enumerate(referenced_images(file.dataset), start=1):
        image = SourceImage(sop_instance_uid=uid)
        yield SourceLook(
            key=f"image {place}",
            image=image,
            reader=reader,
            is_implied=reader is None,
            annotated=annotated,
        )
    planar, volumetric = (_groups(file, content, kind) for kind in GROUP_KINDS)
    for place, group in enumerate(planar, start=1):
        yield _box(f"region {place}", group, reader, annotated)
    for place, _ in enumerate(volumetric, start=1):
        yield SourceBox(key=f"volume {place}", fault="a region over several images is no box")


def _content(file: AnnotationFile) -> Any:
    """The report's measurement template.

    highdicom checks what it reads and raises by what is wrong; anything means "no TID 1500".
    """
    try:
        report = highdicom.sr.srread(BytesIO(file.content))
        content: Any = report.content
        content.get_planar_roi_measurement_groups  # noqa: B018
    except Exception:  # noqa: BLE001 - see above
        raise file.wrong("DICOM SR of TID 1500 (Enhanced, Comprehensive or 3D)") from None
    return content


def _groups(file: AnnotationFile, content: Any, kind: str) -> list[Any]:
    try:
        return list(getattr(content, kind)())
    except Exception:  # noqa: BLE001 - as above
        raise file.wrong("DICOM SR of TID 1500: a measurement group is broken") from None


def _observer(content: Any) -> str | None:
    try:
        contexts = content.get_observer_contexts()
        names = [
            str(attributes.name)
            for context in contexts
            if isinstance(attributes := context.observer_identifying_attributes, Person)
        ]
    except Exception:  # noqa: BLE001 - an observer that cannot be read is none
        return None
    return names[0] if names else None


def _box(key: str, group: Any, reader: str | None, annotated: datetime | None) -> SourceBox:
    try:
        region = group.roi
        finding = _finding(group)
        image, hull, shape = _region(region)
    except Exception:  # noqa: BLE001 - a region that highdicom cannot read costs itself alone
        return SourceBox(key=key, fault="the region cannot be read")
    fault = None if finding else "it names no finding"
    if isinstance(hull, str):
        fault, hull = hull, (0.0, 0.0, 0.0, 0.0)
    return SourceBox(
        key=key,
        fault=fault,
        image=image,
        finding=finding or "",
        box=hull,
        drawn_shape=shape,
        reader=reader,
        annotated=annotated,
    )


def _finding(group: Any) -> str | None:
    coded = group.finding_type
    meaning = None if coded is None else str(coded.meaning).strip()
    tracked = group.tracking_identifier
    return meaning or (None if tracked is None else str(tracked).strip()) or None


def _region(region: Any) -> tuple[SourceImage, Box | str, str]:
    """The image, the hull or a fault, and the shape of an image region."""
    none = SourceImage()
    if region is None:
        return none, "it refers to a segmentation, not to a region", "rectangle"
    if isinstance(region, highdicom.sr.ImageRegion3D):
        return none, "its region is in the patient's space, not on an image", "rectangle"
    sources: list[Dataset] = list(region.ContentSequence)
    uids = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in sources]
    if len(uids) != 1:
        return none, "it refers to several images", "rectangle"
    image = SourceImage(sop_instance_uid=str(uids[0]))
    points: list[Point] = [(float(x), float(y)) for x, y in region.value.reshape(-1, 2)]
    kind = str(region.graphic_type.value).lower()
    if kind in {"point", "multipoint"}:
        return image, "a point is no box", kind
    hull = {"ellipse": hull_of_axes, "circle": hull_of_circle}.get(kind, hull_of_points)(points)
    shape = "rectangle" if kind == "polyline" and is_upright(points) else kind
    return image, hull or "its points are no closed shape", shape
