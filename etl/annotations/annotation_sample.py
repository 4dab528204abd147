"""The seeded random worklist of positives that readers annotate (the paper's 808 of 6,792)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from etl.films.index_films import choose_index_films
from warehouse_schema.errors import ArgumentError, CohortError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import ANNOTATION_WORKLIST, IMAGE_LABELS

STAGE = "annotation-sample"


def draw_annotation_sample(*, store: Store, n_images: int, seed: int) -> int:
    """Draw images that are positive for at least one finding, each with the same probability.

    Only index films are drawn, one a patient, so that every box lands in the cohort.

    Args:
        store: The store.
        n_images: How many to draw; all positives where there are fewer.
        seed: Seed of the draw.

    Returns:
        Images on the worklist.

    Raises:
        ArgumentError: n_images is below 1.
        CohortError: No index film is positive.
    """
    if n_images < 1:
        raise ArgumentError(f"n_images is {n_images}; give at least 1.")
    links = store.read(IMAGE_LINKS, columns=["image_id"], where={"is_chosen": True})
    images = store.read(
        IMAGES, columns=["image_id", "patient_id", "acquired_datetime", "is_frontal_chest"]
    )
    index_films = choose_index_films(images.to_pylist(), set(links["image_id"].to_pylist()))
    labels = store.read(IMAGE_LABELS, columns=["image_id"], where={"label": "positive"})
    positives = sorted(index_films & set(labels["image_id"].to_pylist()))
    if not positives:
        raise CohortError(
            "annotation-sample: no index film is positive for a finding. Run `ribline label` "
            "first, and see the attrition in the table cohort_flow."
        )
    order = np.random.default_rng(seed).permutation(len(positives))[:n_images]
    rows = [
        {"image_id": positives[place], "order_number": number, "seed": seed}
        for number, place in enumerate(order.tolist(), start=1)
    ]
    configuration = {"n_images": n_images, "seed": seed}
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        commit.uses(IMAGES, IMAGE_LINKS, IMAGE_LABELS)
        commit.replace(
            ANNOTATION_WORKLIST, pa.Table.from_pylist(rows, schema=ANNOTATION_WORKLIST.schema)
        )
    return len(rows)
