"""Fabricated films: a bright bar is a rib fracture, a bright square one of the clavicle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import write_array
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.annotation import CONSENSUS_BOXES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS

FINDINGS = ("rib_fracture", "clavicle_fracture")
SIZE_PX = 64
SCALE = 0.5


@dataclass(frozen=True)
class FilmPlan:
    """One film: subset, split, label of each finding, and which findings are boxed."""

    subset: str
    split: str
    labels: tuple[str, str] = ("negative", "negative")
    is_boxed: tuple[bool, bool] = (False, False)


def plan_cohort(*, n_r: int = 6, n_p: int = 6, n_n: int = 16) -> list[FilmPlan]:
    """A balanced plan; every split has all subsets and both findings."""
    plans = []
    kinds = (("positive", "negative"), ("negative", "positive"))
    for split, share in (("train", 1.0), ("validation", 0.5), ("test", 0.5)):
        for subset, count in (("R", n_r), ("P", n_p), ("N", n_n)):
            for number in range(round(count * share)):
                labels = kinds[number % 2] if subset != "N" else ("negative", "negative")
                is_boxed = tuple(subset == "R" and label == "positive" for label in labels)
                plans.append(FilmPlan(subset, split, labels, is_boxed))  # type: ignore[arg-type]
    return plans


def fabricate(root: Path, plans: list[FilmPlan], *, seed: int = 0) -> Store:
    """A store with the films of a plan, fold 0, 64 x 64 pixels with 8 columns of padding."""
    store = Store(Home(root))
    rng = np.random.default_rng(seed)
    films = np.zeros((len(plans), SIZE_PX, SIZE_PX), dtype=np.uint8)
    rows: dict[Table, list[dict[str, object]]] = {
        table: [] for table in (IMAGE_PIXELS, IMAGE_LABELS, CONSENSUS_BOXES, COHORT)
    }
    for number, plan in enumerate(plans):
        image_id = f"image-{number:03d}"
        films[number, :, 8:56] = rng.integers(60, 110, (SIZE_PX, 48))
        for column, label in enumerate(plan.labels):
            rows[IMAGE_LABELS].append(_label(image_id, FINDINGS[column], label))
            if label != "positive":
                continue
            width, height = ((20, 8), (12, 12))[column]
            left, top = int(rng.integers(10, 54 - width)), int(rng.integers(2, 60 - height))
            films[number, top : top + height, left : left + width] = (230, 255)[column]
            if plan.is_boxed[column]:
                box = (left, top, width, height)
                rows[CONSENSUS_BOXES].append(_box(image_id, FINDINGS[column], box))
        rows[IMAGE_PIXELS].append(_pixels(image_id, number, films[number]))
        rows[COHORT].append(_cohort(image_id, plan))
    write_array(store.home.cache / "films.npy", films)
    with store.commit(stage="fabricate") as commit:
        for table, entries in rows.items():
            commit.replace(table, pa.Table.from_pylist(entries, schema=table.schema))
    return store


def _label(image_id: str, finding: str, label: str) -> dict[str, object]:
    is_positive = label == "positive"
    return {
        "image_id": image_id,
        "finding": finding,
        "label": label,
        "reason": "fabricated",
        "acuity": "acute" if is_positive else None,
        "visibility_tier": "code_only" if is_positive else None,
        "encounter_id": None,
        "score": 1.0,
        "n_evidence": 1,
        "is_conflict": False,
        "definition_hash": "fabricated",
    }


def _box(image_id: str, finding: str, box: tuple[int, ...]) -> dict[str, object]:
    """A box in source pixels: the cached film is the source at half size, 8 columns further."""
    left, top, width, height = box
    return {
        "consensus_id": f"{image_id}-{finding}",
        "image_id": image_id,
        "finding": finding,
        "x_px": (left - 8) / SCALE,
        "y_px": top / SCALE,
        "width_px": width / SCALE,
        "height_px": height / SCALE,
        "rule": "single",
        "n_readers": 1,
        "n_agreeing": 1,
        "annotation_ids": [f"{image_id}-{finding}"],
    }


def _pixels(image_id: str, number: int, film: np.ndarray) -> dict[str, object]:
    return {
        "image_id": image_id,
        "transform_hash": "fabricated",
        "shard_name": "films.npy",
        "shard_row": number,
        "size_px": SIZE_PX,
        "scale": SCALE,
        "pad_left_px": 8,
        "pad_top_px": 0,
        "valid_width_px": 48,
        "valid_height_px": 64,
        "pixel_sha256": hashlib.sha256(film.tobytes()).hexdigest(),
    }


def _cohort(image_id: str, plan: FilmPlan) -> dict[str, object]:
    return {
        "fold": 0,
        "image_id": image_id,
        "patient_id": image_id,
        "subset": plan.subset,
        "split": plan.split,
        "exclusion_reason": None,
        "source": "fabricated",
    }
