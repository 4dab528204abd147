"""Agreement of readers against published examples, scikit-learn and brute force."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from etl.annotations.box_overlap import corners_of, match, overlaps
from etl.annotations.kappa import (
    cohen_kappa,
    cohen_kappa_of_counts,
    fleiss_kappa,
    patient_interval,
    ratio_of_terms,
)
from etl.annotations.reader_agreement import measure_agreement
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import BOX_MATCHES, IMAGE_READINGS, READER_AGREEMENT
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGES

YES_NO = arrays(bool, st.integers(2, 40))
# The worked example of https://en.wikipedia.org/wiki/Fleiss%27_kappa: 14 readers, 5 categories.
FLEISS_EXAMPLE = """
0 0 0 0 14
0 2 6 4 2
0 0 3 5 6
0 3 9 2 0
2 2 8 1 1
7 7 0 0 0
3 2 6 3 0
2 5 3 2 2
6 5 2 1 0
0 2 2 3 7
"""


@settings(max_examples=60, deadline=None)
@given(a=YES_NO, seed=st.integers(0, 99))
def test_cohens_kappa_is_that_of_scikit_learn(a: np.ndarray, seed: int) -> None:
    b = np.random.default_rng(seed).random(len(a)) < 0.5
    table = np.array([(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()], float)
    if len(set(a)) == 1 and set(a) == set(b):
        assert np.isnan(cohen_kappa(a, b))
        assert np.isnan(cohen_kappa_of_counts(table))
    else:
        assert cohen_kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
        assert float(cohen_kappa_of_counts(table)) == pytest.approx(cohen_kappa_score(a, b))


def test_fleiss_kappa_of_the_published_example() -> None:
    counts = np.array([line.split() for line in FLEISS_EXAMPLE.split("\n") if line], float)
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_of_two_readers_is_scotts_pi() -> None:
    a, b = np.random.default_rng(0).random((2, 200)) < [[0.4], [0.5]]
    counts = np.column_stack([a.astype(float) + b, 2.0 - a - b])
    share = (a.mean() + b.mean()) / 2
    expected = share**2 + (1 - share) ** 2
    assert fleiss_kappa(counts) == pytest.approx(((a == b).mean() - expected) / (1 - expected))
    assert np.isnan(fleiss_kappa(np.array([[2.0, 0.0], [2.0, 0.0]])))


def test_the_interval_is_that_of_drawing_patients_by_hand() -> None:
    rng = np.random.default_rng(1)
    a = rng.random(120) < 0.5
    b = np.where(rng.random(120) < 0.8, a, ~a)
    patients = np.repeat(np.arange(60), 2)
    table = np.column_stack([a & b, a & ~b, ~a & b, ~a & ~b]).astype(float)
    interval = patient_interval(table, patients, cohen_kappa_of_counts, n_bootstrap=2000, seed=0)
    draws = []
    for _ in range(1000):
        rows = np.concatenate(
            [np.flatnonzero(patients == each) for each in rng.integers(0, 60, 60)]
        )
        draws.append(cohen_kappa_score(a[rows], b[rows]))
    assert interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.04)
    again = patient_interval(table, patients, cohen_kappa_of_counts, n_bootstrap=2000, seed=0)
    assert again == interval


@pytest.mark.parametrize(
    ("terms", "patients"), [([[1.0, 1.0], [1.0, 1.0]], [0, 0]), ([[0.0, 0.0]] * 3, [0, 1, 2])]
)
def test_no_interval_without_two_patients_or_values(
    terms: list[list[float]], patients: list[int]
) -> None:
    numbers = np.array(patients)
    assert (
        patient_interval(np.array(terms), numbers, ratio_of_terms, n_bootstrap=100, seed=0) is None
    )


SIDES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40))


def _rows(boxes: list[tuple[int, ...]]) -> list[dict[str, Any]]:
    names = ("x_px", "y_px", "width_px", "height_px")
    return [dict(zip(names, box, strict=True)) for box in boxes]


@settings(max_examples=60, deadline=None)
@given(a=st.lists(SIDES, max_size=4), b=st.lists(SIDES, max_size=4))
def test_overlaps_are_those_of_counted_pixels_and_matching_is_the_best(
    a: list[tuple[int, ...]], b: list[tuple[int, ...]]
) -> None:
    iou = overlaps(corners_of(_rows(a)), corners_of(_rows(b)))
    masks = []
    for x, y, w, h in a + b:
        mask = np.zeros((100, 100), bool)
        mask[y : y + h, x : x + w] = True
        masks.append(mask)
    for i, first in enumerate(masks[: len(a)]):
        for j, second in enumerate(masks[len(a) :]):
            counted = (first & second).sum() / (first | second).sum()
            assert iou[i, j] == pytest.approx(counted)
    found = sum(iou[i, j] for i, j in match(iou))
    short, long = (iou, range(len(b))) if len(a) <= len(b) else (iou.T, range(len(a)))
    best = max(
        sum(short[i, j] for i, j in enumerate(chosen)) for chosen in permutations(long, len(short))
    )
    assert found == pytest.approx(best)
    assert all(iou[i, j] > 0 for i, j in match(iou))


@pytest.fixture
def read_by(
    store: Store, put: Callable[..., None], make_image: Callable[..., dict[str, Any]]
) -> Callable[..., None]:
    """Fills the store: for each image, each reader's left edges of 100 px boxes, or '-'."""

    def fill(*images: dict[str, str], status: str = "drawn") -> None:
        put(IMAGES, [make_image(f"i{n}", patient_id=f"p{n}") for n in range(len(images))])
        boxes, readings = [], []
        for number, image in enumerate(images):
            for reader, drawn in image.items():
                lefts = [] if drawn == "-" else drawn.split()
                readings.append(
                    {
                        "reading_id": f"L{number}{reader}",
                        "image_id": f"i{number}",
                        "reader_id": reader,
                        "tool": "coco",
                        "n_boxes": len(lefts),
                        "n_refused": 0,
                        "file_sha256": "f",
                    }
                )
                boxes += [
                    {
                        "annotation_id": f"B{number}{reader}{left}",
                        "image_id": f"i{number}",
                        "finding": "rib_fracture",
                        "x_px": float(left),
                        "y_px": 0.0,
                        "width_px": 100.0,
                        "height_px": 100.0,
                        "reader_id": reader,
                        "tool": "coco",
                        "status": "confirmed" if reader == "chief" else status,
                        "is_clipped": False,
                    }
                    for left in lefts
                ]
        put(ANNOTATIONS, boxes)
        put(IMAGE_READINGS, readings)

    return fill


def _measures(store: Store) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (f"{row['reader_id_a']}{row['reader_id_b']}", row["measure"]): row
        for row in store.read(READER_AGREEMENT).to_pylist()
    }


def test_measures_of_a_small_reading(store: Store, read_by: Callable[..., None]) -> None:
    read_by(
        {"a": "0", "b": "20", "c": "-"},  # IoU 2/3
        {"a": "0 500", "b": "0", "chief": "500"},  # IoU 1; a's second has no partner
        {"a": "-", "b": "-"},
        {"a": "0", "b": "60"},  # IoU 0.25: partners, but not of one place
        {"a": "-", "b": "0"},
        {"a": "0"},
    )
    summary = measure_agreement(store=store, n_bootstrap=200, seed=0)
    assert (summary.n_readers, summary.n_images, summary.n_single) == (3, 5, 1)
    found = _measures(store)
    kappa = found["ab", "cohen_kappa"]
    a, b = [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]
    assert kappa["value"] == pytest.approx(cohen_kappa_score(a, b))
    assert kappa["ci_low"] <= kappa["value"] <= kappa["ci_high"]
    assert (kappa["n_images"], kappa["n_positive"], kappa["n_boxes"]) == (5, 4, 8)
    assert found["ab", "observed_agreement"]["value"] == pytest.approx(4 / 5)
    assert found["ab", "box_agreement"]["value"] == pytest.approx(2 * 2 / 8)
    assert found["ab", "box_agreement"]["n_matched"] == 2
    assert found["ab", "mean_iou"]["value"] == pytest.approx((2 / 3 + 1 + 0.25) / 3)
    assert found["ab", "mean_iou"]["n_matched"] == 3
    assert found["ac", "cohen_kappa"]["n_images"] == 1
    assert found["ac", "mean_iou"]["value"] is None
    counts = np.array([[2, 1], [2, 0], [0, 2], [2, 0], [1, 1]], float)
    overall = found["allall", "fleiss_kappa"]
    assert overall["value"] == pytest.approx(fleiss_kappa(counts))
    assert overall["n_images"] == 5
    assert not any("chief" in pair for pair, _ in found)
    matches = store.read(BOX_MATCHES).to_pylist()
    assert sorted(row["iou"] for row in matches) == pytest.approx([0.25, 2 / 3, 1])


def test_a_measurement_replaces_the_last_one(store: Store, read_by: Callable[..., None]) -> None:
    read_by({"a": "0", "b": "0"}, {"a": "-", "b": "-"})
    measure_agreement(store=store, n_bootstrap=100, seed=0)
    assert _measures(store)["ab", "cohen_kappa"]["value"] == 1
    read_by({"a": "0"}, {"b": "0"})
    summary = measure_agreement(store=store, n_bootstrap=100, seed=0)
    assert (summary.n_readers, summary.n_images, summary.n_measures) == (0, 0, 0)
    assert store.read(READER_AGREEMENT).num_rows == 0
    assert store.read(BOX_MATCHES).num_rows == 0


def test_readers_who_only_look_agree_without_a_measure(
    store: Store, read_by: Callable[..., None]
) -> None:
    read_by({"a": "-", "b": "-"})
    assert measure_agreement(store=store, n_bootstrap=100, seed=0).n_measures == 0
