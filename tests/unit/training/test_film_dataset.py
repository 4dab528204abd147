"""Films of a fold: geometry, roles, and clear refusals."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fabricated_films import FINDINGS, FilmPlan, plan_cohort

from training.film_dataset import FilmSet, Role, load_films
from warehouse_schema.errors import CohortError, WarehouseError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS


def load(store: Store, *, splits=("train",), size=64, fold=0, findings=FINDINGS) -> FilmSet:
    return load_films(
        store=store, fold=fold, splits=list(splits), findings=findings, image_size_px=size
    )


def test_boxes_lie_on_what_they_show(make_store):
    films = load(make_store())
    row = int(np.flatnonzero(films.subsets == "R")[0])
    pixels, masks = films.films(np.array([row]))[0], films.masks(np.array([row]))[0]
    assert (pixels[masks[0] == 1] == 230).all()
    assert (pixels[masks[0] == 0] < 111).all()
    assert masks[0].sum() == 20 * 8
    assert masks[1].sum() == 0


def test_another_input_size_scales_films_boxes_and_valid_area(make_store):
    store = make_store()
    full, half = load(store), load(store, size=32)
    rows = np.arange(len(full))
    expected = np.stack(
        [cv2.resize(film, (32, 32), interpolation=cv2.INTER_AREA) for film in full.films(rows)]
    )
    assert np.array_equal(half.films(rows), expected)
    for row in range(len(full)):
        for finding in range(2):
            np.testing.assert_allclose(half.boxes[row][finding] * 2, full.boxes[row][finding])
    area = half.valid_areas[0]
    assert (area.column_start, area.column_stop, area.row_start, area.row_stop) == (4, 28, 0, 32)


def test_valid_area_is_the_last_mask(make_store):
    masks = load(make_store()).masks(np.array([0]))[0]
    assert masks[2, :, 8:56].all()
    assert not masks[2, :, :8].any()
    assert not masks[2, :, 56:].any()


POSITIVE, NEGATIVE, UNCERTAIN, EXCLUDED = "positive", "negative", "uncertain", "excluded"


@pytest.mark.parametrize(
    ("subset", "labels", "is_boxed", "roles"),
    [
        ("N", (NEGATIVE, NEGATIVE), (False, False), (Role.BOXES, Role.BOXES)),
        ("R", (POSITIVE, NEGATIVE), (True, False), (Role.BOXES, Role.RECORD_NEGATIVE)),
        ("R", (POSITIVE, POSITIVE), (True, True), (Role.BOXES, Role.BOXES)),
        ("R", (POSITIVE, POSITIVE), (True, False), (Role.BOXES, Role.DISTILL)),
        ("R", (POSITIVE, UNCERTAIN), (True, False), (Role.BOXES, Role.MASKED)),
        ("P", (POSITIVE, NEGATIVE), (False, False), (Role.DISTILL, Role.RECORD_NEGATIVE)),
        ("P", (POSITIVE, EXCLUDED), (False, False), (Role.DISTILL, Role.MASKED)),
        ("P", (POSITIVE, POSITIVE), (False, False), (Role.DISTILL, Role.DISTILL)),
    ],
)
def test_role_of_each_finding(make_store, subset, labels, is_boxed, roles):
    films = load(make_store([FilmPlan(subset, "train", labels, is_boxed)]))
    assert tuple(films.roles[0]) == roles
    codes = {POSITIVE: 1, NEGATIVE: 0, UNCERTAIN: -2, EXCLUDED: -1}
    assert films.labels[0].tolist() == [codes[label] for label in labels]


def test_fingerprint_follows_what_is_trained_on(make_store):
    plans = plan_cohort()
    first, same = load(make_store(plans, "a")), load(make_store(plans, "b"))
    relabelled = [*plans[:-1], FilmPlan("N", "train")]
    assert first.fingerprint == same.fingerprint
    assert load(make_store(relabelled, "c")).fingerprint != first.fingerprint


def test_an_unknown_fold_or_finding_is_refused(make_store):
    store = make_store()
    with pytest.raises(
        CohortError, match=r"fold 3 has no train images\. Run `ribline build-cohort`"
    ):
        load(store, fold=3)
    with pytest.raises(CohortError, match="no image is labelled for hip_fracture"):
        load(store, findings=("rib_fracture", "hip_fracture"))


def test_missing_pixels_are_counted(make_store):
    store = make_store()
    kept = store.read(IMAGE_PIXELS)
    kept = kept.filter(pc.invert(pc.is_in(kept["image_id"], pa.array(["image-000", "image-001"]))))
    with store.commit(stage="lose") as commit:
        commit.replace(IMAGE_PIXELS, kept)
    with pytest.raises(
        CohortError, match="2 of 28 images have no cached film, the first is image-000"
    ):
        load(store)


def test_a_missing_shard_is_named(make_store):
    store = make_store()
    (store.home.cache / "films.npy").unlink()
    with pytest.raises(WarehouseError, match=r"films\.npy is missing or torn"):
        load(store).films(np.array([0]))
