"""Published labels as image_labels and label_evidence, and published boxes as annotations."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from etl.annotations.box_rows import annotation_id, reading_id
from etl.quarantine import QuarantineList
from warehouse_schema.errors import ArgumentError
from warehouse_schema.table import Table
from warehouse_schema.tables.annotation import IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE

RULE = "public label"
SCORES = {"positive": 1.0, "negative": -1.0}
Row = dict[str, Any]


def finding_name(published: str) -> str:
    """A published finding as the warehouse spells it."""
    return re.sub(r"\W+", "_", published.strip().lower()).strip("_")


def check_findings(findings: Sequence[str], known: Sequence[str], title: str) -> list[str]:
    """The findings asked for, as the warehouse spells them.

    Raises:
        ArgumentError: None is given, or the data set has no label for one of them.
    """
    names = list(dict.fromkeys(finding_name(each) for each in findings))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ArgumentError(
            f"finding is {unknown[0] if unknown else 'not given'!r}; {title} has "
            f"{', '.join(sorted(known)) or 'none'}. Give one or more of these with --finding."
        )
    return names


class PublishedLabels:
    """Collects labels.

    Args:
        definition_hash: Hash of the rule and the published tables.
    """

    def __init__(self, *, definition_hash: str) -> None:
        self._definition_hash = definition_hash
        self._labels: dict[tuple[str, str], Row] = {}
        self._evidence: dict[str, Row] = {}

    def tables(self) -> Iterator[tuple[Table, list[Row]]]:
        """Tables and their rows."""
        yield IMAGE_LABELS, list(self._labels.values())
        yield LABEL_EVIDENCE, list(self._evidence.values())

    def count(self, label: str) -> int:
        """How many labels are of a kind."""
        return sum(row["label"] == label for row in self._labels.values())

    def add(
        self, image_id: str, finding: str, label: str, why: str, *, is_old: bool = False
    ) -> None:
        """Take up one label.

        Args:
            image_id: Image.
            finding: Finding, as the warehouse spells it.
            label: positive, negative, uncertain or excluded.
            why: Reason in words; kept with the evidence.
            is_old: True where an excluded film shows an old fracture.
        """
        is_positive = label == "positive"
        self._labels[image_id, finding] = {
            "image_id": image_id,
            "finding": finding,
            "label": label,
            "reason": RULE,
            "acuity": "unknown" if is_positive else None,
            # The labels were made from these very films or from the reports on them.
            "visibility_tier": "chest_film_report" if is_positive else None,
            "encounter_id": None,
            "score": SCORES.get(label, 0.0),
            "n_evidence": 1,
            "is_conflict": False,
            "definition_hash": self._definition_hash,
        }
        text = f"{image_id}|{finding}|{RULE}"
        evidence_id = f"V-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
        self._evidence[evidence_id] = {
            "evidence_id": evidence_id,
            "image_id": image_id,
            "finding": finding,
            "encounter_id": None,
            "evidence_type": "public_label",
            "diagnosis_id": None,
            "mention_id": None,
            "polarity": ("old" if is_old else "ignored") if label == "excluded" else label,
            "weight": 1.0,
            "rule_id": RULE,
            "reason": why,
            "definition_hash": self._definition_hash,
        }


class PublishedBoxes:
    """Collects boxes; one that cannot be used costs one quarantine row.

    Args:
        quarantine: Takes the boxes that cannot be used.
        tool: Name of the data set, kept with every box.
    """

    def __init__(self, *, quarantine: QuarantineList, tool: str) -> None:
        self._quarantine = quarantine
        self._tool = tool
        self._rows: dict[str, Row] = {}
        self._readings: dict[tuple[str, str | None], Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def tables(self) -> Iterator[tuple[Table, list[Row]]]:
        """Tables and their rows."""
        yield ANNOTATIONS, list(self._rows.values())
        yield IMAGE_READINGS, list(self._readings.values())

    def add_reading(self, image_id: str, reader_id: str) -> None:
        """Take up that a reader has looked at an image, before any of their boxes."""
        self._readings[image_id, reader_id] = {
            "reading_id": reading_id(image_id, reader_id),
            "image_id": image_id,
            "reader_id": reader_id,
            "tool": self._tool,
            "n_boxes": 0,
            "n_refused": 0,
        }

    def add(
        self,
        key: str,
        image: Row | None,
        finding: str,
        box_px: Sequence[float] | None,
        *,
        reader_id: str | None = None,
        status: str = "drawn",
    ) -> None:
        """Take up one box.

        Args:
            key: Key for the quarantine table.
            image: Row of images; None where the box names none that is known.
            finding: Finding, as the warehouse spells it.
            box_px: Left, top, width and height in source pixels; None where they are no numbers.
            reader_id: Pseudonym of the reader.
            status: drawn or confirmed.
        """
        reading = self._readings.get((image["image_id"], reader_id)) if image else None
        if box_px is None or not all(map(math.isfinite, box_px)) or min(box_px[2:]) <= 0:
            self._refuse(key, "it is not a box of four numbers", reading)
            return
        if image is None:
            self._quarantine.add(key, "its image is not known")
            return
        left, top = max(box_px[0], 0.0), max(box_px[1], 0.0)
        width = min(box_px[0] + box_px[2], float(image["columns_px"])) - left
        height = min(box_px[1] + box_px[3], float(image["rows_px"])) - top
        if width < 1 or height < 1:
            self._refuse(key, "it lies outside its image", reading)
            return
        identifier = annotation_id(
            image_id=image["image_id"],
            reader_id=reader_id,
            finding=finding,
            box_px=(left, top, width, height),
        )
        if identifier in self._rows:
            self._quarantine.add(key, "the same box twice")
            return
        if reading is not None:
            reading["n_boxes"] += 1
        self._rows[identifier] = {
            "annotation_id": identifier,
            "image_id": image["image_id"],
            "finding": finding,
            "x_px": left,
            "y_px": top,
            "width_px": width,
            "height_px": height,
            "reader_id": reader_id,
            "tool": self._tool,
            "status": status,
            "annotated_datetime": None,
            # Half a pixel is rounding, not a reader's slip.
            "is_clipped": abs(width - box_px[2]) + abs(height - box_px[3]) > 0.5,
        }

    def _refuse(self, key: str, reason: str, reading: Row | None) -> None:
        self._quarantine.add(key, reason)
        if reading is not None:
            reading["n_refused"] += 1
