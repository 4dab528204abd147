"""The readers' boxes around visible acute fractures, as a COCO file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from etl.synthetic_hospital.film import FilmBox
from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.truth import ImageTruth

_READERS = ("reader_a", "reader_b")
# Readers' hands: the shift of each edge, as a part of the box's side.
_EDGE_SPREAD = 0.05
_READ_AFTER = timedelta(days=400)


def choose_boxed(images: Sequence[ImageTruth], *, n_boxed: int, seed: int) -> list[ImageTruth]:
    """The films that readers went through, in reading order, one per positive patient.

    Positives are drawn at random until n_boxed of them have a box; those drawn on which nothing
    is visible stand in the list too, since a reader has seen them.
    """
    first: dict[int, ImageTruth] = {}
    for image in images:
        if image.is_index_film and image.is_positive:
            first.setdefault(image.patient_index, image)
    candidates = list(first.values())
    order = np.random.default_rng([seed, 2]).permutation(len(candidates))
    chosen: list[ImageTruth] = []
    n_with_box = 0
    for place in order:
        if n_with_box >= n_boxed:
            break
        chosen.append(candidates[int(place)])
        n_with_box += bool(visible_acute(chosen[-1].boxes))
    return chosen


def visible_acute(boxes: Sequence[FilmBox]) -> list[FilmBox]:
    """The boxes a reader would draw."""
    return [box for box in boxes if box.is_visible and not box.is_old]


def write_boxes(path: Path, chosen: Sequence[ImageTruth], *, seed: int) -> int:
    """Writes the COCO file; returns how many of its images have a box."""
    rng = np.random.default_rng([seed, 3])
    categories = [{"id": number, "name": name} for number, name in enumerate(FINDINGS, 1)]
    category_id = {name: number for number, name in enumerate(FINDINGS, 1)}
    annotations: list[dict[str, Any]] = []
    images = []
    n_with_box = 0
    for image_id, image in enumerate(chosen, 1):
        images.append(_coco_image(image_id, image))
        reader = _READERS[int(rng.integers(len(_READERS)))]
        read_at = image.acquired_at + _READ_AFTER + timedelta(minutes=int(rng.integers(60_000)))
        drawn = visible_acute(image.boxes)
        n_with_box += bool(drawn)
        for box in drawn:
            x_px, y_px, width_px, height_px = _drawn(rng, box, image)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id[box.finding],
                    "bbox": [x_px, y_px, width_px, height_px],
                    "area": round(width_px * height_px, 2),
                    "iscrowd": 0,
                    "segmentation": [],
                    "attributes": {
                        "reader": reader,
                        "date": read_at.isoformat(sep=" ", timespec="minutes"),
                        "status": "confirmed",
                    },
                }
            )
    content = {
        "info": {"description": "SYNTHETIC boxes of the synthetic hospital", "version": "1"},
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": annotations,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return n_with_box


def _coco_image(image_id: int, image: ImageTruth) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": image.file_name,
        "width": image.columns_px,
        "height": image.rows_px,
        "sop_instance_uid": image.sop_instance_uid,
        "accession_number": image.accession_no,
    }


def _drawn(
    rng: np.random.Generator, box: FilmBox, image: ImageTruth
) -> tuple[float, float, float, float]:
    """The box as a hand draws it, inside the film: x, y, width, height in pixels."""
    shift = rng.normal(0.0, _EDGE_SPREAD, 4)
    left = float(np.clip(box.x_px + shift[0] * box.width_px, 0, image.columns_px - 2))
    top = float(np.clip(box.y_px + shift[1] * box.height_px, 0, image.rows_px - 2))
    right = box.x_px + box.width_px * (1 + shift[2])
    bottom = box.y_px + box.height_px * (1 + shift[3])
    right = float(np.clip(right, left + 1, image.columns_px))
    bottom = float(np.clip(bottom, top + 1, image.rows_px))
    return round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)
