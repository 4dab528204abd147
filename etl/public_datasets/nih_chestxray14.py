"""NIH ChestX-ray14 (Wang et al., CVPR 2017): published tables and PNG films to the warehouse.

Labels are the published ones: positive where the finding is listed, negative where it is not (the
fourteen findings were mined for every film). Boxes are published in a 1024 x 1024 frame and are
scaled to the PNG. Films carry no date, so there is no study_year.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.box_import import annotation_id
from etl.film_pixels import square_film
from etl.pixel_cache import ShardWriter
from etl.pseudonym import Pseudonymizer
from etl.quarantine import QuarantineList
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES, PATIENTS

STAGE = "import-public"
SOURCE = "nih_chestxray14"
NO_FINDING = "No Finding"
BOX_FRAME_PX = 1024.0
RULE = "public label"
# The table of boxes says Infiltrate where the table of labels says Infiltration.
BOX_NAMES = {"Infiltrate": "Infiltration"}
COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What one import found.

    Attributes:
        n_images: Films.
        n_patients: Their patients.
        n_positive: Films with the finding.
        n_negative: Films without it.
        n_boxes: Boxes of all findings.
        n_quarantined: Rows and files set aside.
        quarantine_reasons: How many for each reason.
    """

    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    n_boxes: int
    n_quarantined: int
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


def finding_name(published: str) -> str:
    """A published finding as the warehouse spells it."""
    return BOX_NAMES.get(published, published).strip().lower().replace(" ", "_")


def import_nih_chestxray14(
    *,
    store: Store,
    folder: Path,
    finding: str,
    size_px: int,
    pseudonym_key: bytes | str,
    progress: Progress = SILENT,
) -> ImportSummary:
    """Import films, labels of one finding, and all boxes.

    Args:
        store: The store.
        folder: Folder with Data_Entry_2017*.csv, BBox_List_2017.csv and images/.
        finding: A published finding, for example Pneumonia; case does not matter.
        size_px: Side of the square cached film.
        pseudonym_key: Secret of the pseudonyms.
        progress: Listener.

    Raises:
        InputError: A table is missing or has other columns.
        ArgumentError: No film has the finding.
    """
    entries = _read_entries(folder)
    name = _check_finding(finding, entries)
    quarantine = QuarantineList(stage=STAGE, source=SOURCE)
    rows = _DatasetRows(
        names=Pseudonymizer(key=pseudonym_key, source=SOURCE),
        finding=name,
        writer=ShardWriter(cache=store.home.cache, size_px=size_px),
        quarantine=quarantine,
        definition_hash=_definition_hash(folder),
    )
    progress.start(STAGE, len(entries))
    for entry in entries:
        rows.add_film(folder / "images", entry)
        progress.advance()
    for number, box in enumerate(_read_rows(folder / "BBox_List_2017.csv"), start=1):
        rows.add_box(number, box)
    rows.writer.flush()
    progress.finish()
    with store.commit(stage=STAGE, configuration={"finding": name, "size_px": size_px}) as commit:
        for table, found in rows.tables():
            commit.upsert(table, pa.Table.from_pylist(found, schema=table.schema))
        quarantine.replace_in(commit)
    labels = [row["label"] for row in rows.labels]
    return ImportSummary(
        n_images=len(rows.images),
        n_patients=len(rows.patients),
        n_positive=labels.count("positive"),
        n_negative=labels.count("negative"),
        n_boxes=len(rows.annotations),
        n_quarantined=len(quarantine),
        quarantine_reasons=quarantine.reasons,
    )


class _DatasetRows:
    """Collects the rows of one import."""

    def __init__(
        self,
        *,
        names: Pseudonymizer,
        finding: str,
        writer: ShardWriter,
        quarantine: QuarantineList,
        definition_hash: str,
    ) -> None:
        self.writer = writer
        self._names = names
        self._finding = finding
        self._quarantine = quarantine
        self._definition_hash = definition_hash
        self.patients: dict[str, Row] = {}
        self.identities: dict[tuple[str, str], Row] = {}
        self.images: dict[str, Row] = {}
        self.sources: list[Row] = []
        self.labels: list[Row] = []
        self.evidence: list[Row] = []
        self.annotations: dict[str, Row] = {}

    def tables(self) -> Iterator[tuple[Table, list[Row]]]:
        """Tables and their rows."""
        yield PATIENTS, list(self.patients.values())
        yield IDENTITIES, list(self.identities.values())
        yield IMAGES, list(self.images.values())
        yield IMAGE_PIXELS, list(self.writer.rows.values())
        yield IMAGE_SOURCES, self.sources
        yield IMAGE_LABELS, self.labels
        yield LABEL_EVIDENCE, self.evidence
        yield ANNOTATIONS, list(self.annotations.values())

    def add_film(self, folder: Path, entry: Mapping[str, str]) -> None:
        """Take up one row of the table of films."""
        file_name = entry["Image Index"].strip()
        image_id = self._names.pseudonym("image", file_name)
        key = f"film {image_id}"
        if image_id in self.images:
            self._quarantine.add(key, "a second row for the same film")
            return
        # The name comes from a file: it must not lead out of the folder.
        content = _read_file(folder / file_name) if Path(file_name).name == file_name else None
        if content is None:
            self._quarantine.add(key, "the film is not in images/")
            return
        grey = _decode(content)
        if grey is None:
            self._quarantine.add(key, "the film is no readable PNG")
            return
        self._add_image(image_id, file_name, entry, grey, hashlib.sha256(content).hexdigest())
        self.sources[-1]["file_path"] = str(folder / file_name)
        self.writer.add(image_id, *square_film(grey, self.writer.size_px))
        self._add_label(image_id, entry)

    def add_box(self, number: int, cells: list[str]) -> None:
        """Take up one row of the table of boxes: image, finding, x, y, width, height."""
        key = f"box {number}"
        try:
            box = [float(cell) for cell in cells[2:6]]
        except ValueError:
            box = []
        if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0:
            self._quarantine.add(key, "it is not a box of four numbers")
            return
        image_id = self._names.pseudonym("image", cells[0].strip())
        image = self.images.get(image_id)
        if image is None:
            self._quarantine.add(key, "its image is not known")
            return
        scale = image["columns_px"] / BOX_FRAME_PX
        left, top = max(box[0] * scale, 0.0), max(box[1] * scale, 0.0)
        right = min((box[0] + box[2]) * scale, float(image["columns_px"]))
        bottom = min((box[1] + box[3]) * scale, float(image["rows_px"]))
        if right - left < 1 or bottom - top < 1:
            self._quarantine.add(key, "it lies outside its image")
            return
        box_px = (left, top, right - left, bottom - top)
        is_clipped = abs(box_px[2] - box[2] * scale) + abs(box_px[3] - box[3] * scale) > 0.5
        finding = finding_name(cells[1])
        identifier = annotation_id(
            image_id=image_id, reader_id=None, finding=finding, box_px=box_px
        )
        self.annotations[identifier] = {
            "annotation_id": identifier,
            "image_id": image_id,
            "finding": finding,
            "x_px": box_px[0],
            "y_px": box_px[1],
            "width_px": box_px[2],
            "height_px": box_px[3],
            "reader_id": None,
            "tool": SOURCE,
            "status": "drawn",
            "annotated_datetime": None,
            "is_clipped": is_clipped,
        }

    def _add_image(
        self,
        image_id: str,
        file_name: str,
        entry: Mapping[str, str],
        grey: NDArray[np.uint8],
        sha256: str,
    ) -> None:
        patient_id, sex_code = self._patient(entry)
        rows_px, columns_px = grey.shape
        age = _number(entry.get("Patient Age"))
        self.images[image_id] = {
            "image_id": image_id,
            "patient_id": patient_id,
            "source": SOURCE,
            # The data set does not say which films share a study.
            "study_id": self._names.pseudonym("study", file_name),
            "series_id": self._names.pseudonym("series", file_name),
            "accession_id": None,
            "acquired_datetime": None,
            "study_year": None,
            "age_years": None if age is None or age > 120 else min(age, 90.0),
            "sex_code": sex_code,
            "modality_code": "DX",
            "view_position_code": (entry.get("View Position") or "").strip().upper() or None,
            "body_part": "CHEST",
            "manufacturer": None,
            "rows_px": rows_px,
            "columns_px": columns_px,
            "pixel_spacing_mm": _spacing(entry, columns_px),
            "is_frontal_chest": True,
            "selection_reason": "published as a frontal chest film",
            "source_sha256": sha256,
            "is_synthetic": False,
        }
        self._identify("image", image_id, file_name)
        self.sources.append(
            {
                "image_id": image_id,
                "sop_instance_uid": file_name,
                "file_path": file_name,
                "source_sha256": sha256,
            }
        )

    def _patient(self, entry: Mapping[str, str]) -> tuple[str, str | None]:
        identifier = entry["Patient ID"].strip()
        patient_id = self._names.pseudonym("patient", identifier)
        sex = entry["Patient Gender"].strip().upper()
        sex_code = sex if sex in {"F", "M", "O"} else None
        self._identify("patient", patient_id, identifier)
        self.patients.setdefault(
            patient_id,
            {
                "patient_id": patient_id,
                "source": SOURCE,
                "sex_code": sex_code,
                "birth_datetime": None,
                "is_over_89": False,
                "is_synthetic": False,
            },
        )
        return patient_id, sex_code

    def _add_label(self, image_id: str, entry: Mapping[str, str]) -> None:
        is_positive = self._finding in _findings(entry)
        label = "positive" if is_positive else "negative"
        text = f"{image_id}|{self._finding}|{RULE}"
        self.labels.append(
            {
                "image_id": image_id,
                "finding": self._finding,
                "label": label,
                "reason": RULE,
                "acuity": "unknown" if is_positive else None,
                # The labels were mined from the reports on these very films.
                "visibility_tier": "chest_film_report" if is_positive else None,
                "encounter_id": None,
                "score": 1.0 if is_positive else -1.0,
                "n_evidence": 1,
                "is_conflict": False,
                "definition_hash": self._definition_hash,
            }
        )
        self.evidence.append(
            {
                "evidence_id": f"V-{hashlib.sha256(text.encode()).hexdigest()[:20]}",
                "image_id": image_id,
                "finding": self._finding,
                "encounter_id": None,
                "evidence_type": "public_label",
                "diagnosis_id": None,
                "mention_id": None,
                "polarity": label,
                "weight": 1.0,
                "rule_id": RULE,
                "reason": "the published labels name the finding"
                if is_positive
                else "the published labels do not name the finding",
                "definition_hash": self._definition_hash,
            }
        )

    def _identify(self, kind: str, pseudonym: str, identifier: str) -> None:
        self.identities[kind, pseudonym] = {
            "kind": kind,
            "pseudonym": pseudonym,
            "source": SOURCE,
            "source_identifier": identifier,
            "date_shift_days": 0 if kind == "patient" else None,
        }


def _read_entries(folder: Path) -> list[dict[str, str]]:
    """Rows of the table of films, by column name."""
    found = sorted(folder.glob("Data_Entry_2017*.csv"))
    rows = list(_read_rows(found[0] if found else folder / "Data_Entry_2017.csv", skip=0))
    header = rows[0] if rows else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"Data_Entry_2017*.csv: column {missing[0]} is missing. It has: "
            f"{', '.join(header) or 'no header'}. Take the table as published."
        )
    return [dict(zip(header, row, strict=False)) for row in rows[1:] if len(row) >= len(COLUMNS)]


def _read_rows(path: Path, skip: int = 1) -> Iterator[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file)):
                if number >= skip and row:
                    yield row
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(
            f"{path.name} is missing or unreadable in the folder given. It needs "
            "Data_Entry_2017*.csv, BBox_List_2017.csv and images/, as published."
        ) from None


def _check_finding(finding: str, entries: list[dict[str, str]]) -> str:
    present = sorted({name for entry in entries for name in _findings(entry)})
    name = finding_name(finding)
    if name not in present:
        raise ArgumentError(
            f"finding is {finding!r}; the data set's films have {', '.join(present) or 'none'}. "
            "Give one of these."
        )
    return name


def _findings(entry: Mapping[str, str]) -> set[str]:
    published = {label.strip() for label in entry["Finding Labels"].split("|")}
    return {finding_name(label) for label in published if label and label != NO_FINDING}


def _definition_hash(folder: Path) -> str:
    """Hash of the rule and the published tables."""
    digest = hashlib.sha256(RULE.encode())
    for path in sorted([*folder.glob("Data_Entry_2017*.csv"), folder / "BBox_List_2017.csv"]):
        digest.update(_read_file(path) or b"")
    return digest.hexdigest()


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return None


def _decode(content: bytes) -> NDArray[np.uint8] | None:
    """Grey levels of a PNG; some were published as RGBA with three equal channels."""
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.dtype != np.uint8:
        return None
    return np.ascontiguousarray(image if image.ndim == 2 else image[:, :, 0])


def _number(text: str | None) -> float | None:
    try:
        return float((text or "").strip().rstrip("Y"))
    except ValueError:
        return None


def _spacing(entry: Mapping[str, str], columns_px: int) -> float | None:
    """Spacing of the PNG's pixels: the original's, times how much it was reduced."""
    spacing = _number(entry.get("OriginalImagePixelSpacing[x"))
    width = _number(entry.get("OriginalImage[Width"))
    return None if spacing is None or not width else spacing * width / columns_px
