"""Entries of annotation files as rows: images found, boxes placed, readings counted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl.annotations.box_formats.source_box import SourceBox, SourceEntry, SourceLook
from etl.annotations.box_placement import Placement, place_box
from etl.annotations.image_finder import ImageFinder
from etl.pseudonym import shift_datetime
from etl.quarantine import QuarantineList
from warehouse_schema.tables.imaging import ANNOTATION_STATUSES

NOT_DEFINED = "its finding is not defined"
BAD_STATUS = f"its status is not {', '.join(ANNOTATION_STATUSES)}"
Row = dict[str, Any]
ReadingKey = tuple[str, str | None]


def annotation_id(
    *,
    image_id: str,
    reader_id: str | None,
    finding: str,
    box_px: tuple[float, float, float, float],
) -> str:
    """Key of an annotation: hash of image, reader, finding and box (x, y, width, height)."""
    text = "|".join([image_id, reader_id or "", finding, *(f"{value:.3f}" for value in box_px)])
    return f"B-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def finding_name(text: str, findings: Collection[str] | None) -> str | None:
    """The finding that a label names, or None where it is not defined.

    Labels may have spaces and capitals, stand in the plural, or name the place last ("Fracture of
    rib", as coded terms do).
    """
    name = re.sub(r"\W+", "_", text.strip().lower()).strip("_")
    turned = re.sub(r"^(\w+?)_of_(?:the_)?(\w+)$", r"\2_\1", name)
    if findings is None:
        return name or None
    candidates = (name, turned, name.removesuffix("s"), turned.removesuffix("s"))
    return next((each for each in candidates if each in findings), None)


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """The entries of one file."""

    key: str
    sha256: str
    format_name: str
    entries: list[SourceEntry]


class BoxRows:
    """Collects the rows of one import."""

    def __init__(
        self,
        *,
        finder: ImageFinder,
        quarantine: QuarantineList,
        findings: Collection[str] | None,
        reader: str | None,
        status: str,
    ) -> None:
        self._finder = finder
        self._quarantine = quarantine
        self._findings = findings
        self._reader = reader
        self._status = status
        self._reader_ids: dict[str, str] = {}
        self.annotations: dict[str, Row] = {}
        self.readings: dict[ReadingKey, Row] = {}
        self._said: set[ReadingKey] = set()

    @property
    def replacing(self) -> set[ReadingKey]:
        """Readings that replace what their reader said before: with a box, or said to have none."""
        return {
            key
            for key in self._said
            if self.readings[key]["n_boxes"] or not self.readings[key]["n_refused"]
        }

    def take_up(self, file: ReadFile) -> None:
        """Take up one file's boxes, then its looks; an implied look yields to any other."""
        boxes = [each for each in file.entries if isinstance(each, SourceBox)]
        looks = [each for each in file.entries if isinstance(each, SourceLook)]
        boxed = {box.image for box in boxes}
        read_here: set[str] = set()
        for box in boxes:
            self._add_box(file, box, read_here)
        for look in sorted(looks, key=lambda each: each.is_implied):
            if not (look.is_implied and look.image in boxed):
                self._add_look(file, look, read_here)

    def _add_box(self, file: ReadFile, box: SourceBox, read_here: set[str]) -> None:
        found = self._finder.find(box.image)
        if isinstance(found, str):
            self._set_aside(file, box, box.fault or found)
            return
        image, matched_by = found
        finding = finding_name(box.finding, self._findings)
        status = box.status or self._status
        reader_id = self._reader_id(box.reader)
        read_here.add(image["image_id"])
        reading = self._reading(file, image, reader_id, box)
        placed: Placement | str | None = box.fault
        if placed is None and finding is None:
            self._set_aside(file, box, NOT_DEFINED)
            self._said.add((image["image_id"], reader_id))
            return
        if placed is None:
            placed = place_box(box, image) if status in ANNOTATION_STATUSES else BAD_STATUS
        if isinstance(placed, str):
            reading["n_refused"] += 1
            self._set_aside(file, box, placed)
            return
        assert finding is not None
        self._said.add((image["image_id"], reader_id))
        row = self._annotation(
            file, box, image=image, finding=finding, placed=placed, reader_id=reader_id
        )
        row |= {"matched_by": matched_by, "status": status}
        if row["annotation_id"] in self.annotations:
            self._set_aside(file, box, "the same box twice")
        else:
            self.annotations[row["annotation_id"]] = row
            reading["n_boxes"] += 1

    def _add_look(self, file: ReadFile, look: SourceLook, read_here: set[str]) -> None:
        found = self._finder.find(look.image)
        if look.fault is not None or isinstance(found, str):
            self._set_aside(file, look, look.fault or str(found))
            return
        image, _ = found
        if look.is_implied and image["image_id"] in read_here:
            return
        read_here.add(image["image_id"])
        reader_id = self._reader_id(look.reader)
        self._reading(file, image, reader_id, look)
        if not look.is_implied:
            self._said.add((image["image_id"], reader_id))

    def _reader_id(self, reader: str | None) -> str | None:
        name = reader or self._reader
        if name is None:
            return None
        if name not in self._reader_ids:
            self._reader_ids[name] = self._finder.names.pseudonym("reader", name)
        return self._reader_ids[name]

    def _reading(
        self, file: ReadFile, image: Row, reader_id: str | None, entry: SourceEntry
    ) -> Row:
        """The row of a reader's reading of an image, made when it is first met."""
        key = (image["image_id"], reader_id)
        reading = self.readings.setdefault(
            key,
            {
                "reading_id": reading_id(*key),
                "image_id": image["image_id"],
                "reader_id": reader_id,
                "tool": file.format_name,
                "n_boxes": 0,
                "n_refused": 0,
                "file_sha256": file.sha256,
            },
        )
        moment = self._shifted(entry, image)
        last = reading.get("read_datetime")
        reading["read_datetime"] = max(filter(None, (last, moment)), default=None)
        return reading

    def _shifted(self, entry: SourceEntry, image: Row) -> datetime | None:
        return shift_datetime(entry.annotated, self._finder.shift_days(image))

    def _annotation(
        self,
        file: ReadFile,
        box: SourceBox,
        *,
        image: Row,
        finding: str,
        placed: Placement,
        reader_id: str | None,
    ) -> Row:
        left, top, width, height = placed.box_px
        return {
            "annotation_id": annotation_id(
                image_id=image["image_id"],
                reader_id=reader_id,
                finding=finding,
                box_px=placed.box_px,
            ),
            "image_id": image["image_id"],
            "finding": finding,
            "x_px": left,
            "y_px": top,
            "width_px": width,
            "height_px": height,
            "reader_id": reader_id,
            "tool": file.format_name,
            "annotated_datetime": self._shifted(box, image),
            "is_clipped": placed.is_clipped,
            "is_occluded": box.is_occluded,
            "drawn_shape": box.drawn_shape,
            "drawn_scale": placed.scale,
            "drawn_orientation": box.image.orientation,
            "file_sha256": file.sha256,
        }

    def _set_aside(self, file: ReadFile, entry: SourceEntry, reason: str) -> None:
        self._quarantine.add(f"{file.key}#{entry.key}", reason)


def reading_id(image_id: str, reader_id: str | None) -> str:
    """Key of a reading: hash of image and reader."""
    digest = hashlib.sha256(f"{image_id}|{reader_id or ''}".encode()).hexdigest()
    return f"L-{digest[:20]}"
