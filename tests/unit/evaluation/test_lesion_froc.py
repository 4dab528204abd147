"""Peaks and the classic FROC: by brute force, by hand, and MONAI's where the definitions meet."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.froc import froc_curve
from evaluation.lesion_froc import (
    FALSE_POSITIVES_PER_IMAGE,
    LesionCounter,
    distinct_box_scores,
    lesion_counts,
)
from evaluation.score_maps import ScoredImage, ValidArea, box_pixels
from evaluation.score_peaks import find_peaks, match_peaks, peak_radius


def brute_force_peaks(image: ScoredImage, radius: int) -> set[tuple[int, int, int]]:
    """(row, column, score) of every peak, by looking at each pixel's neighbours."""
    area = image.area()
    inside = [
        (r, c)
        for r in range(area.row_start, area.row_stop)
        for c in range(area.column_start, area.column_stop)
    ]
    score = {place: int(image.score_map[place]) for place in inside}

    def is_top(place: tuple[int, int]) -> bool:
        return score[place] > 0 and all(
            score[place] >= score[other]
            for other in inside
            if max(abs(other[0] - place[0]), abs(other[1] - place[1])) <= radius
        )

    tops = {place for place in inside if is_top(place)}
    peaks = set()
    while tops:
        region, edge = set(), {min(tops)}
        while edge:
            region |= edge
            edge = {
                place
                for place in tops - region
                if any(max(abs(place[0] - r), abs(place[1] - c)) == 1 for r, c in edge)
            }
        tops -= region
        row = Fraction(sum(r for r, _ in region), len(region))
        column = Fraction(sum(c for _, c in region), len(region))
        first = min(region, key=lambda p: ((p[0] - row) ** 2 + (p[1] - column) ** 2, p))
        peaks.add((*first, score[first]))
    return peaks


@st.composite
def scored_images(draw: st.DrawFn) -> list[ScoredImage]:
    """One to four small maps with plateaus, boxes anywhere near the film, padding."""
    images = []
    for index in range(draw(st.integers(1, 4))):
        height, width = draw(st.integers(2, 9)), draw(st.integers(2, 9))
        generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        levels = draw(st.sampled_from([2, 4, 65536]))
        score_map = generator.integers(0, levels, (height, width)).astype(np.uint16)
        area = ValidArea(draw(st.integers(0, 1)), height, 0, draw(st.integers(width - 1, width)))
        corners = generator.uniform(-1, 7, (draw(st.integers(1 if index == 0 else 0, 3)), 2))
        sizes = generator.uniform(0.2, 5, corners.shape)
        boxes = np.concatenate([corners, corners + sizes], axis=1)
        images.append(ScoredImage(score_map, boxes, draw(st.sampled_from([None, area]))))
    return images


@settings(max_examples=60, deadline=None)
@given(images=scored_images(), radius=st.integers(1, 3))
def test_peaks_equal_brute_force(images: list[ScoredImage], radius: int) -> None:
    for image in images:
        peaks = find_peaks(image, radius)
        found = list(
            zip(peaks.rows.tolist(), peaks.columns.tolist(), peaks.scores.tolist(), strict=True)
        )
        assert len(set(found)) == len(found)
        assert set(found) == brute_force_peaks(image, radius)


def brute_force_curve(images: list[ScoredImage]) -> list[tuple[Fraction, Fraction]]:
    """(false positives per image, sensitivity) at every threshold, from none downwards."""
    hits: list[int] = []
    false: list[int] = []
    for image in images:
        peaks = brute_force_peaks(image, peak_radius(image.score_map))
        covered = set()
        for box in image.boxes_px:
            rows, columns = box_pixels(box, image.area())
            held = {
                p
                for p in peaks
                if rows.start <= p[0] < rows.stop and columns.start <= p[1] < columns.stop
            }
            covered |= held
            hits.append(max((score for _, _, score in held), default=-1))
        false += [score for _, _, score in peaks - covered]
    levels = sorted({65536, *false, *(score for score in hits if score >= 0)}, reverse=True)
    return [
        (
            Fraction(sum(score >= level for score in false), len(images)),
            Fraction(sum(score >= level for score in hits), len(hits)),
        )
        for level in levels
    ]


@settings(max_examples=60, deadline=None)
@given(images=scored_images(), data=st.data())
def test_sensitivity_equals_brute_force_in_any_order(
    images: list[ScoredImage], data: st.DataObject
) -> None:
    points = brute_force_curve(images)
    expected = [
        float(max(recall for false, recall in points if false <= Fraction(rate)))
        for rate in FALSE_POSITIVES_PER_IMAGE.tolist()
    ]
    curve = froc_curve(lesion_counts(data.draw(st.permutations(images))))
    found = curve.recall_at(FALSE_POSITIVES_PER_IMAGE)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def spots(values: dict[tuple[int, int], int]) -> NDArray[np.uint16]:
    score_map = np.zeros((64, 64), np.uint16)
    for pixel, value in values.items():
        score_map[pixel] = value
    return score_map


BOX = np.array([[10.0, 10.0, 20.0, 20.0]])


def test_matching_by_hand() -> None:
    image = ScoredImage(
        spots({(12, 12): 500, (18, 18): 700, (30, 30): 600, (50, 9): 100, (19, 19): 5}), BOX
    )
    peaks = match_peaks(image)
    assert peaks.box_scores.tolist() == [700]  # the best of two peaks in the box
    assert sorted(peaks.false_scores.tolist()) == [100, 600]  # (19, 19) is (18, 18)'s neighbour
    empty = ScoredImage(spots({(40, 40): 300}), np.zeros((0, 4)))
    curve = froc_curve(lesion_counts([image, empty]))
    assert curve.thresholds.tolist() == [65536, 700]
    assert curve.false_positive_ratios.tolist() == [0.0, 0.0]


def test_a_plateau_is_one_peak_in_its_middle() -> None:
    image = ScoredImage(spots({(30, column): 400 for column in range(7)}), np.zeros((0, 4)))
    peaks = find_peaks(image)
    assert (peaks.rows.tolist(), peaks.columns.tolist()) == ([30], [3])


def test_a_box_without_a_peak_is_never_found() -> None:
    image = ScoredImage(spots({(40, 40): 300}), BOX)
    counts = lesion_counts([image])
    assert counts.box_scores.tolist() == [-1]
    assert froc_curve(counts).recall_at(FALSE_POSITIVES_PER_IMAGE).tolist() == [0.0] * 6


def test_counter_refuses_unknown_scores_and_generators() -> None:
    image = ScoredImage(spots({(12, 12): 500}), BOX)
    with pytest.raises(ValueError, match="not among the thresholds"):
        LesionCounter(np.array([5], dtype=np.int64)).add(image)
    with pytest.raises(ValueError, match="twice"):
        lesion_counts(iter([image]))
    assert distinct_box_scores([]).tolist() == []


def random_images() -> list[ScoredImage]:
    generator = np.random.default_rng(3)
    images = []
    for _ in range(5):
        score_map = generator.integers(0, 65536, (24, 24)).astype(np.uint16)
        left = float(generator.integers(0, 8))
        boxes = np.array([[left, 2.0, left + 7.0, 10.0], [left + 6.0, 12.0, left + 14.0, 20.0]])
        images.append(ScoredImage(score_map, boxes))
    return images


# MONAI 1.6.1 on the peaks of random_images() with radius 4: compute_fp_tp_probs for each image with
# a label mask of its boxes, then compute_froc_curve_data; (false positives, boxes hit) of 10 boxes.
MONAI_COUNTS = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (3, 1),
    (4, 1),
    (5, 1),
    (6, 1),
    (7, 1),
    (8, 1),
    (9, 1),
    (9, 2),
    (10, 2),
    (11, 2),
    (12, 2),
    (13, 2),
    (14, 2),
    (15, 2),
    (15, 3),
    (16, 3),
    (17, 3),
    (18, 3),
    (19, 3),
    (20, 3),
    (20, 4),
    (21, 4),
    (22, 4),
    (23, 4),
    (24, 4),
    (25, 4),
    (26, 4),
    (27, 4),
    (28, 4),
    (29, 4),
    (30, 4),
    (30, 5),
    (30, 6),
    (31, 6),
    (32, 6),
    (33, 6),
    (33, 7),
    (34, 7),
    (35, 7),
    (36, 7),
    (37, 7),
]  # fmt: skip


def test_points_lie_on_monai_s_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.score_peaks.RADIUS_SHARE", 6)
    curve = froc_curve(lesion_counts(random_images()))
    found = [
        (round(5 * false), round(10 * recall))
        for false, recall in zip(curve.false_positive_ratios, curve.recalls, strict=True)
    ]
    # Between two hits MONAI has a point for every false positive as well.
    assert set(found) <= set(MONAI_COUNTS)
    for false in {false for false, _ in MONAI_COUNTS}:
        theirs = max(hits for reached, hits in MONAI_COUNTS if reached == false)
        assert theirs == max(hits for reached, hits in found if reached <= false)
