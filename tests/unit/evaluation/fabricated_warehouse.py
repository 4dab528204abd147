"""A small fabricated warehouse: every table that evaluation and its report read.

Films of 96 pixels with rib-like stripes, fractures as known boxes, two runs of one fold whose
score maps are drawn, not learnt: the second run is better by construction.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import write_array
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import annotation, imaging, labels, records, runs

SIZE = 96
FINDINGS = ("rib_fracture", "clavicle_fracture")
RUNS = {"supervised-0-1-aa": ("supervised", 0.55), "aals-0-1-bb": ("aals", 0.85)}
WHEN = datetime(2014, 3, 4, 5, 6, tzinfo=UTC)
GEOMETRY = {
    "size_px": SIZE,
    "scale": 0.05,
    "pad_left_px": 8,
    "pad_top_px": 0,
    "valid_width_px": 80,
    "valid_height_px": 96,
}
NOTE_TEXT = "Fall <b>from</b> ladder. CXR: fracture of left 5th rib. No pneumothorax."


@dataclass
class FabricatedImage:
    """An image of the fabricated cohort; boxes are corners in the cached film."""

    number: int
    subset: str
    split: str
    positive: dict[str, bool]
    boxes: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)

    @property
    def image_id(self) -> str:
        return f"img-{self.number:04}"

    @property
    def patient_id(self) -> str:
        return f"pat-{self.number:04}"


def fabricated_images(generator: np.random.Generator, n_images: int) -> list[FabricatedImage]:
    """R, P and N in turn; boxes are drawn for P as well, but only R's have been annotated."""
    images = []
    for number in range(n_images):
        subset = "R" if number % 6 == 0 else "P" if number % 6 == 3 else "N"
        split = ("test", "train", "validation", "test")[number // 6 % 4]
        is_rib = subset != "N" and number % 4 != 3
        is_clavicle = subset != "N" and (number % 4 == 3 or number % 12 == 0)
        image = FabricatedImage(
            number, subset, split, dict(zip(FINDINGS, (is_rib, is_clavicle), strict=True))
        )
        for finding, rows in zip(FINDINGS, ((35, 75), (12, 22)), strict=True):
            if image.positive[finding]:
                n_boxes = int(generator.integers(1, 4)) if finding == "rib_fracture" else 1
                image.boxes[finding] = [
                    _box(generator, rows, 9 if finding == "rib_fracture" else 14)
                    for _ in range(n_boxes)
                ]
        images.append(image)
    return images


def _box(
    generator: np.random.Generator, rows: tuple[int, int], side: int
) -> tuple[float, float, float, float]:
    x, y = float(generator.integers(12, 84 - side)), float(generator.integers(*rows))
    return x, y, x + side, y + side * 0.8


def film(generator: np.random.Generator, image: FabricatedImage) -> NDArray[np.uint8]:
    """Rib-like stripes with a bright middle and dark lungs; 0 in the padding."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    lungs = np.exp(-(((x - 0.3) / 0.14) ** 2) - ((y - 0.5) / 0.3) ** 2)
    lungs += np.exp(-(((x - 0.7) / 0.14) ** 2) - ((y - 0.5) / 0.3) ** 2)
    ribs = 0.12 * np.sin(2 * np.pi * (9 * y + 3.0 * (x - 0.5) ** 2 * np.sign(x - 0.5) * 2))
    values = 0.75 - 0.5 * lungs + ribs * lungs + generator.normal(0, 0.015, (SIZE, SIZE))
    for boxes in image.boxes.values():
        for x_min, y_min, x_max, y_max in boxes:
            row, column = int((y_min + y_max) / 2), int((x_min + x_max) / 2)
            values[row - 1 : row + 2, column - 3 : column + 4] += 0.2
    pixels = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    pixels[:, :8] = 0
    pixels[:, 88:] = 0
    return pixels


def score_map(
    generator: np.random.Generator, image: FabricatedImage, finding: str, skill: float
) -> NDArray[np.uint16]:
    """Bumps on most fractures and on some other places, over a low background."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    probability = generator.random((SIZE, SIZE)) * 0.02
    bumps = [
        ((x0 + x1) / 2, (y0 + y1) / 2, generator.uniform(0.35, 0.98))
        for x0, y0, x1, y1 in image.boxes.get(finding, [])
        if generator.random() < skill
    ]
    bumps.extend(
        (generator.uniform(12, 84), generator.uniform(10, 80), 0.5 * generator.random())
        for _ in range(int(generator.poisson(2.2 * (1 - skill) + 0.3)))
    )
    for centre_x, centre_y, height in bumps:
        bump = height * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / 18.0)
        probability = np.maximum(probability, bump)
    probability[:, :8] = 0.9 * generator.random()  # padding must not count
    return np.rint(np.clip(probability, 0, 1) * 65535).astype(np.uint16)


def write_fabricated_warehouse(
    root: Path, *, n_images: int = 240, is_synthetic: bool = True, seed: int = 11
) -> Store:
    """A home folder with two predicted runs, ready to be evaluated."""
    generator = np.random.default_rng(seed)
    store = Store(Home(root))
    images = fabricated_images(generator, n_images)
    films = np.stack([film(generator, i) for i in images])
    write_array(store.home.cache / "films.npy", films)
    tables = _record_rows(images, films, is_synthetic) | _label_rows(images, is_synthetic)
    tables[runs.TRAINING_RUNS] = [_run_row(run_id) for run_id in RUNS]
    tables[runs.TRAINING_EPOCHS] = _epoch_rows(generator)
    tables[runs.PREDICTIONS] = [
        row for run_id in RUNS for row in _predict(store, generator, run_id, images)
    ]
    with store.commit(stage="fabricate") as commit:
        for table, rows in tables.items():
            commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))
    return store


def rewrite(store: Store, table: Table, rows: list[dict[str, Any]]) -> None:
    """Replace a table's rows."""
    with store.commit(stage="fabricate") as commit:
        commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))


def _predict(
    store: Store, generator: np.random.Generator, run_id: str, images: list[FabricatedImage]
) -> list[dict[str, Any]]:
    skill = RUNS[run_id][1]
    chosen = [image for image in images if image.split in {"validation", "test"}]
    folder = store.home.runs / run_id / "maps"
    folder.mkdir(parents=True)
    rows = []
    for finding in FINDINGS:
        maps = np.stack([score_map(generator, image, finding, skill) for image in chosen])
        write_array(folder / f"{finding}.npy", maps)
        for row, image in enumerate(chosen):
            rows.append(
                {
                    "run_id": run_id,
                    "network": "student",
                    "image_id": image.image_id,
                    "finding": finding,
                    "fold": 0,
                    "split": image.split,
                    "score": int(maps[row][:, 8:88].max()) / 65535,
                    "map_path": f"runs/{run_id}/maps/{finding}.npy",
                    "map_row": row,
                }
            )
    return rows


def _record_rows(
    images: list[FabricatedImage], films: np.ndarray, is_synthetic: bool
) -> dict[Table, list[dict[str, Any]]]:
    tables: dict[Table, list[dict[str, Any]]] = {
        imaging.IMAGES: [],
        imaging.IMAGE_PIXELS: [],
        annotation.CONSENSUS_BOXES: [],
        records.NOTES: [],
        labels.NOTE_MENTIONS: [],
    }
    for image in images:
        tables[imaging.IMAGES].append(_image_row(image, is_synthetic))
        tables[imaging.IMAGE_PIXELS].append(
            {
                "image_id": image.image_id,
                "transform_hash": "t",
                "shard_name": "films.npy",
                "shard_row": image.number,
                "pixel_sha256": hashlib.sha256(films[image.number].tobytes()).hexdigest(),
                **GEOMETRY,
            }
        )
        if image.subset == "R":
            tables[annotation.CONSENSUS_BOXES].extend(_box_rows(image))
        if image.subset != "N":
            tables[records.NOTES].append(_note_row(image, is_synthetic))
            tables[labels.NOTE_MENTIONS].append(_mention_row(image, is_synthetic))
    return tables


def _image_row(image: FabricatedImage, is_synthetic: bool) -> dict[str, Any]:
    return {
        "image_id": image.image_id,
        "patient_id": image.patient_id,
        "source": "fabricated",
        "study_id": f"study-{image.number}",
        "series_id": f"series-{image.number}",
        "accession_id": None,
        "acquired_datetime": WHEN,
        "study_year": 2012 + image.number % 5,
        "age_years": 30.0 + image.number % 50,
        "sex_code": "FM"[image.number % 2],
        "modality_code": "DX",
        "view_position_code": "PA" if image.number % 3 else "AP",
        "body_part": "CHEST",
        "manufacturer": "Fabricated",
        "rows_px": 1920,
        "columns_px": 1600,
        "pixel_spacing_mm": 0.2,
        "is_frontal_chest": True,
        "selection_reason": "view PA",
        "source_sha256": "0",
        "is_synthetic": is_synthetic,
    }


def _box_rows(image: FabricatedImage) -> list[dict[str, Any]]:
    rows = []
    for finding, boxes in image.boxes.items():
        for number, (x_min, y_min, x_max, y_max) in enumerate(boxes):
            rows.append(
                {
                    "consensus_id": f"box-{image.number}-{finding}-{number}",
                    "image_id": image.image_id,
                    "finding": finding,
                    "x_px": (x_min - GEOMETRY["pad_left_px"]) / GEOMETRY["scale"],
                    "y_px": y_min / GEOMETRY["scale"],
                    "width_px": (x_max - x_min) / GEOMETRY["scale"],
                    "height_px": (y_max - y_min) / GEOMETRY["scale"],
                    "rule": "single",
                    "n_readers": 1,
                    "n_agreeing": 1,
                    "annotation_ids": [f"box-{image.number}-{finding}-{number}"],
                }
            )
    return rows


def _note_row(image: FabricatedImage, is_synthetic: bool) -> dict[str, Any]:
    return {
        "note_id": f"note-{image.number}",
        "patient_id": image.patient_id,
        "encounter_id": None,
        "source": "fabricated",
        "note_type": "chest_film_report",
        "note_series_id": f"note-{image.number}",
        "note_version": 1,
        "status": "final",
        "accession_id": None,
        "note_datetime": WHEN,
        "text": NOTE_TEXT,
        "text_sha256": "0",
        "is_synthetic": is_synthetic,
    }


def _mention_row(image: FabricatedImage, is_synthetic: bool) -> dict[str, Any]:
    start = NOTE_TEXT.index("fracture")
    return dict.fromkeys(labels.NOTE_MENTIONS.schema.names) | {
        "mention_id": f"mention-{image.number}",
        "note_id": f"note-{image.number}",
        "patient_id": image.patient_id,
        "note_type": "chest_film_report",
        "note_datetime": WHEN,
        "finding": "rib_fracture" if image.positive["rib_fracture"] else "clavicle_fracture",
        "section": "impression",
        "start_char": start,
        "end_char": start + len("fracture of left 5th rib"),
        "assertion": "present",
        "temporality": "recent",
        "experiencer": "patient",
        "is_hypothetical": False,
        "acuity": "acute",
        "rule_id": "rib_fracture.en.fracture_of_rib",
        "definition_hash": "d",
        "is_synthetic": is_synthetic,
    }


def _label_rows(
    images: list[FabricatedImage], is_synthetic: bool
) -> dict[Table, list[dict[str, Any]]]:
    tables: dict[Table, list[dict[str, Any]]] = {
        labels.IMAGE_LABELS: [],
        labels.LABEL_EVIDENCE: [],
        labels.COHORT: [],
    }
    for image in images:
        for finding in FINDINGS:
            label = "positive" if image.positive[finding] else "negative"
            tables[labels.IMAGE_LABELS].append(
                {
                    "image_id": image.image_id,
                    "finding": finding,
                    "label": label,
                    "reason": "report and code agree",
                    "acuity": "acute" if label == "positive" else None,
                    "visibility_tier": "chest_film_report" if label == "positive" else None,
                    "encounter_id": None,
                    "score": 1.0 if label == "positive" else -1.0,
                    "n_evidence": 2,
                    "is_conflict": False,
                    "definition_hash": "d",
                }
            )
            if label == "positive":
                tables[labels.LABEL_EVIDENCE].extend(_evidence_rows(image, finding))
        tables[labels.COHORT].append(
            {
                "fold": 0,
                "image_id": image.image_id,
                "patient_id": image.patient_id,
                "subset": image.subset,
                "split": image.split,
                "exclusion_reason": None,
                "source": "fabricated",
            }
        )
    n_images = len(images)
    tables[labels.COHORT_FLOW] = [
        {"step_number": n, "step": step, "reason": reason, "n_kept": kept, "n_dropped": dropped}
        for n, step, reason, kept, dropped in [
            (1, "all readable films", "kept", n_images + 60, 0),
            (2, "frontal chest films", "kept", n_images + 30, 0),
            (2, "frontal chest films", "lateral view", 0, 22),
            (2, "frontal chest films", "not a chest film", 0, 8),
            (3, "one film per patient", "kept", n_images + 12, 0),
            (3, "one film per patient", "a later film of the same patient", 0, 18),
            (4, "certain labels", "kept", n_images, 0),
            (4, "certain labels", "uncertain for every finding", 0, 9),
            (4, "certain labels", "old fractures only", 0, 3),
        ]
    ]
    return tables


def _evidence_rows(image: FabricatedImage, finding: str) -> list[dict[str, Any]]:
    base = {
        "image_id": image.image_id,
        "finding": finding,
        "encounter_id": f"enc-{image.number}",
        "polarity": "positive",
        "definition_hash": "d",
    }
    return [
        base
        | {
            "evidence_id": f"ev-{image.number}-{finding}-code",
            "evidence_type": "code",
            "diagnosis_id": f"dx-{image.number}",
            "mention_id": None,
            "weight": 0.6,
            "rule_id": "ICD10CM:S22.3",
            "reason": "initial encounter for a fracture of one rib",
        },
        base
        | {
            "evidence_id": f"ev-{image.number}-{finding}-note",
            "evidence_type": "chest_film_report",
            "diagnosis_id": None,
            "mention_id": f"mention-{image.number}",
            "weight": 1.0,
            "rule_id": "rib_fracture.en.fracture_of_rib",
            "reason": "stated as present in the impression",
        },
    ]


def _run_row(run_id: str) -> dict[str, Any]:
    method = RUNS[run_id][0]
    is_aals = method == "aals"
    return {
        "run_id": run_id,
        "method": method,
        "recipe": "demo",
        "fold": 0,
        "seed": 1,
        "initial_run_id": "supervised-0-1-aa" if is_aals else None,
        "backbone": "plain10",
        "weights_source": "random",
        "image_size_px": SIZE,
        "findings": ",".join(FINDINGS),
        "alpha": 0.98 if is_aals else None,
        "a0": 4.0 if is_aals else None,
        "t": 0.4 if is_aals else None,
        "configuration_json": json.dumps(
            {"n_epochs": 8, "batch_size": 16, "learning_rate": 0.004, "optimizer": "adamw"}
        ),
        "configuration_hash": "c0ffee" * 10,
        "n_train_r": 10,
        "n_train_p": 10,
        "n_train_n": 40,
        "n_steps": 600,
        "best_epoch": 8,
        "status": "completed",
        "checkpoint_path": f"runs/{run_id}/best.safetensors",
        "code_version": "0.1.0",
        "device": "cpu",
        "images_per_s": 50.0,
        "started_datetime": WHEN,
        "wall_s": 120.0,
    }


def _epoch_rows(generator: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for run_id, (method, skill) in RUNS.items():
        for epoch in range(1, 13):
            figures = {("all", "loss"): 0.1 * 0.85**epoch + 0.01}
            for finding in FINDINGS:
                rise = 0.5 + (skill - 0.45) * (1 - 0.75**epoch) + 0.01 * generator.normal()
                figures[finding, "validation_auroc"] = rise
                if method == "aals":
                    figures[finding, "aals_inactive_share"] = 0.9 * 0.9**epoch
                    figures[finding, "aals_mean_boost"] = 0.02 + 0.004 * epoch
            rows.extend(
                {"run_id": run_id, "epoch": epoch, "finding": f, "metric": m, "value": value}
                for (f, m), value in figures.items()
            )
    return rows
