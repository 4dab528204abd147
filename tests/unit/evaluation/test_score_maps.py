"""Rounding, clipping and counting of score maps."""

import numpy as np
import pytest

from evaluation import score_maps
from evaluation.score_maps import (
    ScoredImage,
    ValidArea,
    box_pixels,
    centre_pixel,
    centre_scores,
    outside_histogram,
    quantise,
    score_histogram,
)

WHOLE = ValidArea(0, 10, 0, 10)


@pytest.mark.parametrize(
    ("box_px", "area", "centre", "rows", "columns"),
    [
        # x_min, y_min, x_max, y_max
        ((2, 3, 4, 7), WHOLE, (5, 3), (3, 7), (2, 4)),
        ((2, 3, 5, 8), WHOLE, (5, 3), (3, 8), (2, 5)),
        ((2.2, 3.4, 4.7, 6.1), WHOLE, (4, 3), (3, 7), (2, 5)),
        ((4, 4, 4, 4), WHOLE, (4, 4), (4, 5), (4, 5)),
        ((0, 0, 1, 1), WHOLE, (0, 0), (0, 1), (0, 1)),
        ((8, 8, 12, 12), WHOLE, (9, 9), (8, 10), (8, 10)),
        ((9, 9, 13, 13), WHOLE, (9, 9), (9, 10), (9, 10)),
        ((-4, -4, 2, 2), WHOLE, (0, 0), (0, 2), (0, 2)),
        ((0, 0, 10, 4), ValidArea(3, 8, 2, 9), (3, 5), (3, 4), (2, 9)),
        ((0, 0, 1, 1), ValidArea(3, 8, 2, 9), (3, 2), (3, 4), (2, 3)),
    ],
)
def test_centre_and_pixels_of_a_box(
    box_px: tuple[float, float, float, float],
    area: ValidArea,
    centre: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    assert centre_pixel(box_px, area) == centre
    assert box_pixels(box_px, area) == (slice(*rows), slice(*columns))


def test_quantise_is_exact_at_the_ends_and_rounds() -> None:
    assert quantise(np.array([0.0, 1.0, 0.4 / 65535, 0.6 / 65535])).tolist() == [0, 65535, 0, 1]


@pytest.mark.parametrize("value", [np.nan, -0.01, 1.01, np.inf])
def test_quantise_refuses_what_is_no_probability(value: float) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        quantise(np.array([0.5, value]))


def test_histogram_agrees_with_and_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(1).integers(0, 65536, (64, 48)).astype(np.uint16)
    fast = score_histogram(scores)
    monkeypatch.setattr(score_maps, "_EXACT_FLOAT32_PIXELS", 1)
    np.testing.assert_array_equal(fast, score_histogram(scores))
    assert fast.sum() == scores.size


def test_outside_histogram_leaves_out_boxes_and_padding() -> None:
    scores = np.arange(100, dtype=np.uint16).reshape(10, 10)
    image = ScoredImage(scores, np.array([[1.0, 1.0, 3.0, 3.0]]), ValidArea(0, 4, 0, 4))
    expected = {0, 1, 2, 3, 10, 13, 20, 23, 30, 31, 32, 33}
    assert set(np.flatnonzero(outside_histogram(image)).tolist()) == expected
    assert centre_scores(image).tolist() == [22]


@pytest.mark.parametrize("area", [(0, 0, 0, 4), (3, 2, 0, 4), (-1, 4, 0, 4), (3, 1, 3, 1)])
def test_an_empty_area_is_refused(area: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        ValidArea(*area)


def test_an_area_larger_than_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        WHOLE.of(np.zeros((9, 10), np.uint16))


def test_maps_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="uint16"):
        score_histogram(np.zeros((3, 3), np.float32))  # type: ignore[arg-type]
