"""Readers' boxes from annotation files to annotations, in source pixels."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from etl.box_formats.coco import read_coco
from etl.box_formats.source_box import SourceBox
from etl.pseudonym import Pseudonymizer, shift_datetime
from etl.quarantine import QuarantineList
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES

STAGE = "import-boxes"
# A resized copy keeps the sides' ratio but for rounding to whole pixels.
MAX_RATIO_DIFFERENCE = 0.01
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BoxImportSummary:
    """What one import found.

    Attributes:
        n_boxes: Boxes kept.
        n_images: Images with a box.
        n_clipped: Boxes that reached over their image's edge.
        n_quarantined: Boxes set aside.
        quarantine_reasons: How many for each reason.
    """

    n_boxes: int
    n_images: int
    n_clipped: int
    n_quarantined: int
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


def import_boxes(
    *,
    store: Store,
    file: Path,
    source: str,
    pseudonym_key: bytes | str,
    findings: Collection[str] | None = None,
) -> BoxImportSummary:
    """Import a COCO file; boxes that cannot be used cost one quarantine row each.

    An image is found by SOP Instance UID, else by accession number where its study has one
    frontal film, else by file name. A box drawn on a resized copy is scaled back. Boxes that the
    same reader drew on the same image before are replaced.

    Args:
        store: The store.
        file: COCO detection file.
        source: Site mapping whose images they are.
        pseudonym_key: The key that the images were ingested with.
        findings: Findings that are defined; None takes every category.

    Raises:
        InputError: The file cannot be read as a whole.
    """
    quarantine = QuarantineList(stage=STAGE, source=source)
    finder = _ImageFinder(store, Pseudonymizer(key=pseudonym_key, source=source))
    rows: dict[str, Row] = {}
    for box in read_coco(file):
        outcome = _annotation(box, finder, findings)
        if isinstance(outcome, str):
            quarantine.add(box.key, outcome)
        elif outcome["annotation_id"] in rows:
            quarantine.add(box.key, "the same box twice")
        else:
            rows[outcome["annotation_id"]] = outcome
    configuration = {"source": source, "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        commit.uses(IMAGES, IMAGE_SOURCES)
        redrawn = {(row["image_id"], row["reader_id"]) for row in rows.values()}
        kept = [
            row
            for row in commit.read(ANNOTATIONS).to_pylist()
            if (row["image_id"], row["reader_id"]) not in redrawn
        ]
        table = pa.Table.from_pylist([*kept, *rows.values()], schema=ANNOTATIONS.schema)
        commit.replace(ANNOTATIONS, table)
        quarantine.replace_in(commit)
    return BoxImportSummary(
        n_boxes=len(rows),
        n_images=len({row["image_id"] for row in rows.values()}),
        n_clipped=sum(row["is_clipped"] for row in rows.values()),
        n_quarantined=len(quarantine),
        quarantine_reasons=quarantine.reasons,
    )


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


def _annotation(
    box: SourceBox, finder: _ImageFinder, findings: Collection[str] | None
) -> Row | str:
    """The annotation row of a box, or the reason why there is none."""
    if box.fault is not None:
        return box.fault
    finding = re.sub(r"\W+", "_", box.finding.strip().lower())
    if findings is not None and finding not in findings:
        return "its finding is not defined"
    image = finder.find(box)
    if isinstance(image, str):
        return image
    placed = _place(box, image)
    if isinstance(placed, str):
        return placed
    box_px, is_clipped = placed
    reader_id = finder.names.pseudonym("reader", box.reader) if box.reader else None
    return {
        "annotation_id": annotation_id(
            image_id=image["image_id"], reader_id=reader_id, finding=finding, box_px=box_px
        ),
        "image_id": image["image_id"],
        "finding": finding,
        "x_px": box_px[0],
        "y_px": box_px[1],
        "width_px": box_px[2],
        "height_px": box_px[3],
        "reader_id": reader_id,
        "tool": "coco",
        "status": box.status,
        "annotated_datetime": shift_datetime(
            box.annotated, finder.shift_days.get(image["patient_id"], 0)
        ),
        "is_clipped": is_clipped,
    }


def _copy_scale(box: SourceBox, image: Row) -> tuple[float, float] | None:
    """Source pixels per pixel of the annotated image, in x and y; None where shapes differ."""
    if not box.image_width_px or not box.image_height_px:
        return 1.0, 1.0
    scale_x = image["columns_px"] / box.image_width_px
    scale_y = image["rows_px"] / box.image_height_px
    return (scale_x, scale_y) if abs(scale_x / scale_y - 1) <= MAX_RATIO_DIFFERENCE else None


def _place(box: SourceBox, image: Row) -> tuple[tuple[float, float, float, float], bool] | str:
    """The box in source pixels, cut at the image's edges, and whether it was; or its fault."""
    if box.width_px <= 0 or box.height_px <= 0:
        return "it has no area"
    scale = _copy_scale(box, image)
    if scale is None:
        return "the annotated image has another shape than the source image"
    left, right = box.x_px * scale[0], (box.x_px + box.width_px) * scale[0]
    top, bottom = box.y_px * scale[1], (box.y_px + box.height_px) * scale[1]
    inside = (
        max(left, 0.0),
        max(top, 0.0),
        min(right, float(image["columns_px"])),
        min(bottom, float(image["rows_px"])),
    )
    width, height = inside[2] - inside[0], inside[3] - inside[1]
    if width < 1 or height < 1:
        return "it lies outside its image"
    # Half a pixel is the rounding of a copy, not a reader's slip.
    is_clipped = any(
        abs(a - b) > 0.5 for a, b in zip(inside, (left, top, right, bottom), strict=True)
    )
    return (inside[0], inside[1], width, height), is_clipped


class _ImageFinder:
    """Finds an image by the ways in which annotation files name it."""

    def __init__(self, store: Store, names: Pseudonymizer) -> None:
        self.names = names
        images = store.read(IMAGES, where={"source": names.source}).to_pylist()
        self._images = {image["image_id"]: image for image in images}
        self._by_accession: dict[str, list[Row]] = defaultdict(list)
        for image in images:
            if image["accession_id"] is not None and image["is_frontal_chest"]:
                self._by_accession[image["accession_id"]].append(image)
        self._by_name: dict[str, list[Row]] = defaultdict(list)
        for row in store.read(IMAGE_SOURCES, columns=["image_id", "file_path"]).to_pylist():
            if row["image_id"] in self._images:
                name = PurePosixPath(row["file_path"]).name
                self._by_name[name].append({**row, "image": self._images[row["image_id"]]})
        identities = store.read(
            IDENTITIES,
            columns=["pseudonym", "date_shift_days"],
            where={"source": names.source, "kind": "patient"},
        )
        self.shift_days = {
            row["pseudonym"]: row["date_shift_days"] for row in identities.to_pylist()
        }

    def find(self, box: SourceBox) -> Row | str:
        """The image of a box, or the reason why it is not known."""
        if box.sop_instance_uid:
            image_id = self.names.pseudonym("image", box.sop_instance_uid)
            known: Row | None = self._images.get(image_id)
            if known is not None:
                return known
        if box.accession_number:
            accession_id = self.names.pseudonym("accession", box.accession_number)
            found = self._by_accession.get(accession_id, [])
            if len(found) == 1:
                return found[0]
            if found and not box.file_name:
                return "its accession number has several frontal films"
        if box.file_name:
            return self._find_by_name(box.file_name)
        return "its image is not known"

    def _find_by_name(self, file_name: str) -> Row | str:
        path = PurePosixPath(file_name.replace("\\", "/"))
        found = self._by_name.get(path.name, [])
        if len(found) > 1:
            found = [each for each in found if each["file_path"].endswith(f"/{path}")]
        if len(found) > 1:
            return "its file name is that of several images"
        image: Row | None = found[0]["image"] if found else None
        return image if image is not None else "its image is not known"
