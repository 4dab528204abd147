"""What subgroup an image or a box belongs to.

Sex, age band, view, manufacturer and year hold for every image. Visibility tier and number of
fractures are known of positives alone, and are compared with all negatives; box size is of boxes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.scored_run import ScoredImages, ScoredRun
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS
from warehouse_schema.tables.records import PATIENTS

UNKNOWN = "unknown"
AGE_BANDS = ((18, "under 18"), (40, "18 to 39"), (60, "40 to 59"), (80, "60 to 79"))
OLDEST = "80 and over"
FRACTURE_COUNTS = ("1", "2", "3 and more")
BOX_SIZES = ("small", "middle", "large")
IMAGE_ATTRIBUTES = ("sex", "age_band", "view", "manufacturer", "study_year")
POSITIVE_ATTRIBUTES = ("visibility_tier", "n_fractures")
TIERS = ("chest_film_report", "other_imaging", "clinical_text", "code_only")

ATTRIBUTE_NAMES = {
    "sex": "Sex",
    "age_band": "Age, years",
    "view": "View",
    "manufacturer": "Maker",
    "study_year": "Year",
    "visibility_tier": "Seen on",
    "n_fractures": "Boxes on the film",
    "box_size": "Size of the box",
}
LEVEL_NAMES = {
    "F": "women",
    "M": "men",
    "O": "other",
    "chest_film_report": "chest film",
    "other_imaging": "other imaging",
    "clinical_text": "clinical text",
    "code_only": "code alone",
}


@dataclass(frozen=True)
class Attributes:
    """Levels by attribute and image; an image that an attribute says nothing of is left out."""

    levels: Mapping[str, Mapping[str, str]]

    def of(self, attribute: str, images: ScoredImages) -> NDArray[np.str_]:
        """Level of each image (n,), empty where the attribute says nothing of it."""
        known = self.levels[attribute]
        return np.array([known.get(image_id, "") for image_id in images.image_ids], dtype=np.str_)


def level_name(level: str) -> str:
    """A level of an attribute as pages write it."""
    return LEVEL_NAMES.get(level, level.replace("_", " "))


def age_band(age_years: float | None) -> str:
    """The band of an age in years."""
    if age_years is None:
        return UNKNOWN
    return next((name for limit, name in AGE_BANDS if age_years < limit), OLDEST)


def fracture_count(n_boxes: int) -> str:
    """The level of a number of boxes, at least one."""
    return FRACTURE_COUNTS[min(n_boxes, len(FRACTURE_COUNTS)) - 1]


def ordered_levels(attribute: str, levels: set[str]) -> list[str]:
    """Levels of an attribute in the order in which they are shown; unknown comes last."""
    natural = {
        "age_band": (*(name for _, name in AGE_BANDS), OLDEST),
        "visibility_tier": TIERS,
        "n_fractures": FRACTURE_COUNTS,
        "box_size": BOX_SIZES,
    }.get(attribute, ())
    place = {level: number for number, level in enumerate(natural)}
    return sorted(
        levels - {""}, key=lambda level: (level == UNKNOWN, place.get(level, len(place)), level)
    )


def read_attributes(*, store: Store, run: ScoredRun, finding: str) -> Attributes:
    """Attributes of the images of a run's fold, for one finding."""
    images = store.read(IMAGES, at=run.version).to_pylist()
    patients = store.read(PATIENTS, columns=["patient_id", "sex_code"], at=run.version)
    sex_of = {row["patient_id"]: row["sex_code"] for row in patients.to_pylist()}
    chosen = [row for row in images if row["image_id"] in run.cohort]
    levels: dict[str, dict[str, str]] = {
        "sex": {
            row["image_id"]: row["sex_code"] or sex_of.get(row["patient_id"]) or UNKNOWN
            for row in chosen
        },
        "age_band": {row["image_id"]: age_band(row["age_years"]) for row in chosen},
    }
    for attribute, column in (
        ("view", "view_position_code"),
        ("manufacturer", "manufacturer"),
        ("study_year", "study_year"),
    ):
        levels[attribute] = {
            row["image_id"]: UNKNOWN if row[column] is None else str(row[column]) for row in chosen
        }
    where = {"finding": finding, "label": "positive"}
    labels = store.read(IMAGE_LABELS, where=where, at=run.version).to_pylist()
    levels["visibility_tier"] = {
        row["image_id"]: row["visibility_tier"] or UNKNOWN for row in labels
    }
    levels["n_fractures"] = {
        image_id: fracture_count(len(boxes))
        for (image_id, name), boxes in run.boxes.items()
        if name == finding
    }
    return Attributes(levels)


def box_sizes(run: ScoredRun, images: ScoredImages, finding: str) -> NDArray[np.str_]:
    """Size of every box of the images, in their order and that of the boxes, (m,).

    Thirds of all boxes of the finding in the cohort, by area on the cached film.
    """
    areas = {
        image_id: [run.geometry[image_id].box_area(box) for box in boxes]
        for (image_id, name), boxes in run.boxes.items()
        if name == finding and image_id in run.geometry
    }
    limits = np.quantile([area for found in areas.values() for area in found], [1 / 3, 2 / 3])
    chosen = [area for image_id in images.image_ids for area in areas.get(image_id, [])]
    return np.array(BOX_SIZES)[np.searchsorted(limits, chosen, side="left")]
