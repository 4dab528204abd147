"""The FROC equals a sweep over all thresholds, by brute force and by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.froc import (
    FALSE_POSITIVE_RATIOS,
    FrocCounter,
    FrocCurve,
    distinct_centre_scores,
    froc_counts,
    froc_curve,
    resampled_recalls,
)
from evaluation.score_maps import ScoredImage, ValidArea, box_pixels, centre_pixel


def brute_force(
    images: list[ScoredImage], *, denominator: str, rows: list[int]
) -> list[tuple[int, Fraction, Fraction]]:
    """(threshold, recall, ratio) at every threshold from 65,536 down to 0, in whole numbers."""
    per_image = []
    for image in images:
        area = image.area()
        inside = np.zeros(image.score_map.shape, bool)
        hits = []
        for box in image.boxes_px:
            inside[box_pixels(box, area)] = True
            hits.append(int(image.score_map[centre_pixel(box, area)]))
        outside = [
            int(image.score_map[r, c])
            for r in range(area.row_start, area.row_stop)
            for c in range(area.column_start, area.column_stop)
            if not inside[r, c]
        ]
        pixels = image.score_map.size if denominator == "whole_image" else area.n_pixels
        per_image.append((hits, outside, pixels))
    n_boxes = sum(len(hits) for hits, _, _ in per_image)
    levels = {65536} | {s for _, outside, _ in per_image for s in outside}
    levels |= {s for hits, _, _ in per_image for s in hits}
    points = []
    for threshold in sorted(levels, reverse=True):
        recalled = sum(score >= threshold for hits, _, _ in per_image for score in hits)
        ratio = sum(
            Fraction(sum(s >= threshold for s in per_image[row][1]), per_image[row][2])
            for row in rows
        ) / len(rows)
        points.append((threshold, Fraction(recalled, n_boxes), ratio))
    return points


def brute_force_score(points: list[tuple[int, Fraction, Fraction]]) -> float:
    recalls = [
        max(recall for _, recall, ratio in points if ratio <= Fraction(percent, 100))
        for percent in range(1, 11)
    ]
    return float(sum(recalls) / 10)


@st.composite
def scored_images(draw: st.DrawFn) -> list[ScoredImage]:
    """One to five maps with few distinct scores, boxes anywhere near the film, padding."""
    images = []
    for index in range(draw(st.integers(1, 5))):
        height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        seed = draw(st.integers(0, 2**32 - 1))
        levels = draw(st.sampled_from([1, 2, 4, 65536]))
        score_map = np.random.default_rng(seed).integers(0, levels, (height, width))
        score_map = (score_map * (65535 // max(levels - 1, 1))).astype(np.uint16)
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        area = ValidArea(
            top,
            draw(st.integers(top + 1, height)),
            left,
            draw(st.integers(left + 1, width)),
        )
        n_boxes = draw(st.integers(1 if index == 0 else 0, 3))
        corners = [
            sorted(draw(st.tuples(st.floats(-1, limit + 1), st.floats(-1, limit + 1))))
            for limit in [width, height] * n_boxes
        ]
        boxes = np.array(
            [
                (corners[2 * i][0], corners[2 * i + 1][0], corners[2 * i][1], corners[2 * i + 1][1])
                for i in range(n_boxes)
            ],
            dtype=np.float64,
        ).reshape(-1, 4)
        images.append(ScoredImage(score_map, boxes, draw(st.sampled_from([None, area]))))
    return images


@settings(max_examples=100, deadline=None)
@given(images=scored_images(), denominator=st.sampled_from(["whole_image", "valid_area"]))
def test_curve_and_score_equal_brute_force(images: list[ScoredImage], denominator: str) -> None:
    rows = list(range(len(images)))
    points = brute_force(images, denominator=denominator, rows=rows)
    curve = froc_curve(froc_counts(images), denominator=denominator)  # type: ignore[arg-type]
    expected = {threshold: (recall, ratio) for threshold, recall, ratio in points}
    for threshold, recall, ratio in zip(
        curve.thresholds, curve.recalls, curve.false_positive_ratios, strict=True
    ):
        assert recall == pytest.approx(float(expected[int(threshold)][0]), abs=1e-12)
        assert ratio == pytest.approx(float(expected[int(threshold)][1]), abs=1e-12)
    assert curve.score() == pytest.approx(brute_force_score(points), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(images=scored_images(), data=st.data())
def test_false_positives_of_a_subset_equal_brute_force(
    images: list[ScoredImage], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.sampled_from(range(len(images))), min_size=1, unique=True))
    mask = np.isin(np.arange(len(images)), rows)
    curve = froc_curve(froc_counts(images), false_positive_rows=mask)
    points = brute_force(images, denominator="whole_image", rows=rows)
    assert curve.score() == pytest.approx(brute_force_score(points), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(images=scored_images(), data=st.data())
def test_order_of_images_does_not_matter(images: list[ScoredImage], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(images))
    first, second = froc_curve(froc_counts(images)), froc_curve(froc_counts(shuffled))
    assert first.score() == second.score()
    np.testing.assert_array_equal(first.thresholds, second.thresholds)
    np.testing.assert_allclose(first.recalls, second.recalls, rtol=0, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(images=scored_images(), data=st.data())
def test_resampling_equals_repeating_the_images(
    images: list[ScoredImage], data: st.DataObject
) -> None:
    times = [data.draw(st.integers(0, 3)) for _ in images]
    times[0] = max(times[0], 1)
    repeated = [image for image, n in zip(images, times, strict=True) for _ in range(n)]
    counts = froc_counts(images)
    weights = np.array([times], dtype=np.float64)
    for denominator in ("whole_image", "valid_area"):
        recalls = resampled_recalls(
            counts,
            weights,
            FALSE_POSITIVE_RATIOS,
            rows=np.ones(len(images), bool),
            denominator=denominator,
        )
        expected = froc_curve(froc_counts(repeated), denominator=denominator)
        np.testing.assert_allclose(
            recalls[0], expected.recall_at(FALSE_POSITIVE_RATIOS), rtol=0, atol=1e-12
        )


def square_map(values: dict[tuple[int, int], int], side: int = 10) -> NDArray[np.uint16]:
    score_map = np.zeros((side, side), np.uint16)
    for pixel, value in values.items():
        score_map[pixel] = value
    return score_map


def boxes(*corners: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


def ten_images() -> list[ScoredImage]:
    """The example that docs/evaluation.md works out by hand: 10 x 10 pixels, four boxes."""
    box = (2.0, 2.0, 5.0, 5.0)  # centre pixel (3, 3)
    far = (6.0, 6.0, 9.0, 9.0)  # centre pixel (7, 7)
    line = {(0, column): 500 for column in range(10)}
    return [
        ScoredImage(square_map({(3, 3): 900}), boxes(box)),
        ScoredImage(square_map({(3, 3): 600, (7, 7): 400}), boxes(box, far)),
        ScoredImage(square_map({(3, 3): 100, (2, 2): 950}), boxes(box)),
        ScoredImage(square_map(line), boxes()),
        ScoredImage(square_map({(r, c): 500 for r in range(2) for c in range(10)}), boxes()),
        ScoredImage(square_map({(r, c): 450 for r in range(3) for c in range(10)}), boxes()),
        *[ScoredImage(square_map({}), boxes()) for _ in range(4)],
    ]


def test_ten_images_by_hand() -> None:
    # Of 1,000 pixels: none outside boxes at 900 and 600; 10 + 20 + 30 = 60 at 400 and at 100.
    curve = froc_curve(froc_counts(ten_images()))
    assert curve.thresholds.tolist() == [65536, 900, 600, 400, 100]
    assert curve.recalls.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert curve.false_positive_ratios.tolist() == [0.0, 0.0, 0.0, 0.06, 0.06]
    # Recall 0.5 at 1 % to 5 %, 1.0 at 6 % to 10 %.
    assert curve.score() == pytest.approx(0.75, abs=1e-15)


@pytest.mark.parametrize(
    ("rows", "score"),
    [
        ("boxed images only", 1.0),  # no activated pixel outside boxes at all
        ("negatives only", (8 * 0.5 + 2 * 1.0) / 10),  # 60 of 700 pixels: 8.57 %
    ],
)
def test_ten_images_variants(rows: str, score: float) -> None:
    images = ten_images()
    has_boxes = np.array([len(image.boxes_px) > 0 for image in images])
    mask = has_boxes if rows == "boxed images only" else ~has_boxes
    curve = froc_curve(froc_counts(images), false_positive_rows=mask)
    assert curve.score() == pytest.approx(score, abs=1e-15)


def test_padding_counts_only_in_the_whole_image_denominator() -> None:
    score_map = square_map({(0, 0): 9999, (4, 4): 700, (4, 9): 700, (5, 9): 700})
    area = ValidArea(2, 7, 0, 10)  # 50 of 100 pixels; (0, 0) is padding
    image = ScoredImage(score_map, boxes((4.0, 4.0, 5.0, 5.0)), area)
    counts = froc_counts([image])
    assert counts.maximum_scores.tolist() == [700]
    assert froc_curve(counts).false_positive_ratios.tolist() == [0.0, 0.02]
    by_area = froc_curve(counts, denominator="valid_area")
    assert by_area.false_positive_ratios.tolist() == [0.0, 0.04]


def test_a_ratio_of_exactly_one_percent_counts_as_reached() -> None:
    image = ScoredImage(square_map({(5, 5): 10, (0, 0): 10}), boxes((5.0, 5.0, 6.0, 6.0)))
    assert froc_curve(froc_counts([image])).recall_at(np.array([0.01, 0.00999])).tolist() == [1, 0]


def test_overlapping_boxes_are_two_sites_and_one_region() -> None:
    image = ScoredImage(
        square_map({(3, 3): 50, (4, 4): 40}), boxes((2.0, 2.0, 5.0, 5.0), (3.0, 3.0, 6.0, 6.0))
    )
    curve = froc_curve(froc_counts([image]))
    assert curve.recalls.tolist() == [0.0, 0.5, 1.0]
    assert curve.false_positive_ratios.tolist() == [0.0, 0.0, 0.0]


def test_an_empty_map_recalls_everything_at_ratio_one_only() -> None:
    image = ScoredImage(np.zeros((10, 10), np.uint16), boxes((0.0, 0.0, 1.0, 1.0)))
    curve = froc_curve(froc_counts([image]))
    assert curve.false_positive_ratios.tolist() == [0.0, 0.99]
    assert curve.score() == 0.0


def test_a_resample_without_false_positive_images_is_undefined() -> None:
    counts = froc_counts(ten_images())
    rows = np.arange(10) == 9
    weights = np.ones((2, 10))
    weights[1, 9] = 0
    recalls = resampled_recalls(counts, weights, FALSE_POSITIVE_RATIOS, rows=rows)
    assert np.isfinite(recalls[0]).all()
    assert np.isnan(recalls[1]).all()


def test_counter_streams_a_generator_of_maps() -> None:
    images = ten_images()
    counter = FrocCounter(distinct_centre_scores(image for image in images))
    for image in (ScoredImage(i.score_map.copy(), i.boxes_px) for i in images):
        counter.add(image)
    assert froc_curve(counter.counts()).score() == pytest.approx(0.75)


def test_counter_refuses_a_box_whose_score_is_not_a_threshold() -> None:
    counter = FrocCounter(np.array([5], dtype=np.int64))
    with pytest.raises(ValueError, match="not among the thresholds"):
        counter.add(ten_images()[0])


@pytest.mark.parametrize("images", [[], [ScoredImage(square_map({}), boxes())]])
def test_no_boxes_is_an_error(images: list[ScoredImage]) -> None:
    with pytest.raises(ValueError, match="at least one box"):
        froc_curve(froc_counts(images))


def test_a_generator_cannot_be_walked_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        froc_counts(iter(ten_images()))


def test_recall_at_is_a_step_function() -> None:
    curve = FrocCurve(
        np.array([65536, 5]), np.array([0.0, 1.0]), np.array([0.0, 0.05], dtype=np.float64)
    )
    assert curve.recall_at(np.array([0.0, 0.049, 0.05, 1.0])).tolist() == [0.0, 0.0, 1.0, 1.0]
