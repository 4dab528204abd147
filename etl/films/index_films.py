"""Which frontal film stands for a patient: a rule on dates alone, fixed before labels are seen."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import UTC, datetime
from typing import Any

# Published data sets come with labels of their own for every film, and without encounters.
PUBLIC_SOURCES = frozenset({"chexpert", "nih_chestxray14", "padchest", "vindr_cxr"})
LATEST = datetime.max.replace(tzinfo=UTC)
Row = dict[str, Any]


def choose_index_films(images: Iterable[Row], linked_images: Set[str]) -> set[str]:
    """The earliest linked frontal film of each patient; the lesser image_id on equal times.

    Args:
        images: Rows with image_id, patient_id, acquired_datetime and is_frontal_chest. Films
            without a time come after all others.
        linked_images: Images with a chosen encounter.

    Returns:
        image_id of the film of each patient who has one.
    """
    best: dict[str, tuple[datetime, str]] = {}
    for image in images:
        if not image["is_frontal_chest"] or image["image_id"] not in linked_images:
            continue
        candidate = (image["acquired_datetime"] or LATEST, image["image_id"])
        patient_id = image["patient_id"]
        best[patient_id] = min(best.get(patient_id, candidate), candidate)
    return {image_id for _, image_id in best.values()}
