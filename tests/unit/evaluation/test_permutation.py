"""The permutation test of two FROC scores against a plain exchange of score maps."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.froc import FALSE_POSITIVE_RATIOS, FrocCounts, froc_counts, froc_curve
from evaluation.permutation import at_ratios, difference, permutation_p
from evaluation.score_maps import ScoredImage

BOXES = np.array([[2.0, 2.0, 5.0, 5.0], [6.0, 6.0, 9.0, 9.0]])


def images(seed: int, n_images: int = 6, top: int = 40) -> list[ScoredImage]:
    """Maps of 10 x 10 pixels with few scores; the first three are boxed."""
    generator = np.random.default_rng(seed)
    return [
        ScoredImage(
            (generator.integers(0, top, (10, 10)) ** 2).astype(np.uint16),
            BOXES if number < 3 else BOXES[:0],
        )
        for number in range(n_images)
    ]


def plain_difference(
    first: list[ScoredImage], second: list[ScoredImage], swapped: tuple[int, ...]
) -> float:
    """Scores become ratios of their own run, then the maps are exchanged and both curves drawn."""
    scaled = [as_ratios(first), as_ratios(second)]
    mixed = [[scaled[run ^ swap][number] for number, swap in enumerate(swapped)] for run in (0, 1)]
    levels = np.unique(np.concatenate([centre for run in scaled for _, centre in run] + [[0.0]]))
    scores = []
    for run in mixed:
        centres = np.concatenate([centre for _, centre in run])
        best = np.zeros(10)
        for level in levels:
            ratio = np.mean([(pixels <= level).sum() / 100 for pixels, _ in run])
            recall = float((centres <= level).mean())
            best = np.maximum(best, recall * (ratio <= FALSE_POSITIVE_RATIOS + 1e-12))
        scores.append(best.mean())
    return float(scores[1] - scores[0])


def as_ratios(run: list[ScoredImage]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of each image: the ratio at which each pixel outside boxes and each centre is activated."""
    counts = froc_counts(run)
    curve = froc_curve(counts)
    result = []
    for number, image in enumerate(run):
        inside = np.zeros((10, 10), bool)
        for x_min, y_min, x_max, y_max in image.boxes_px.astype(int):
            inside[y_min:y_max, x_min:x_max] = True
        pixels = image.score_map[~inside]
        # The highest threshold of the run that still activates it.
        reached = (curve.thresholds[:, None] <= pixels[None, :]).argmax(axis=0)
        is_never = ~(curve.thresholds[:, None] <= pixels[None, :]).any(axis=0)
        level = np.where(is_never, np.inf, curve.false_positive_ratios[reached])
        own = counts.box_scores[counts.box_rows == number]
        at = [int(np.flatnonzero(curve.thresholds == score)[0]) for score in own]
        result.append((level, curve.false_positive_ratios[at]))
    return result


@pytest.mark.parametrize("seed", range(4))
def test_every_exchange_equals_a_plain_one(seed: int) -> None:
    first, second = images(seed), images(seed + 100, top=12)
    counts = froc_counts(first), froc_counts(second)
    levels = np.unique(
        np.concatenate([froc_curve(count).false_positive_ratios for count in counts])
    )
    a, b = (at_ratios(count, levels) for count in counts)
    swaps = np.array(list(product((0, 1), repeat=6)), dtype=np.float64)
    found = difference(a, b, swaps, counts[0].box_rows)
    expected = [plain_difference(first, second, tuple(row.astype(int))) for row in swaps]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert found[0] == pytest.approx(
        froc_curve(counts[1]).score() - froc_curve(counts[0]).score(), abs=1e-12
    )


def skilled(seed: int, share: float, scale: int) -> FrocCounts:
    """80 images with boxes, of which a share is found above all false positives."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(80):
        score_map = generator.integers(1, 100, (10, 10)).astype(np.uint16)
        score_map[3, 3] = 200 if generator.random() < share else 1
        made.append(ScoredImage(score_map * np.uint16(scale), BOXES[:1]))
    return froc_counts(made)


PATIENTS = [f"p{number:03}" for number in range(80)]


def p_value(first: FrocCounts, second: FrocCounts, n_draws: int = 300) -> float:
    return permutation_p(first, second, patient_ids=PATIENTS, seed=1, n_draws=n_draws)


def test_a_difference_is_seen_and_a_scale_is_not() -> None:
    poor, good = skilled(1, 0.3, 1), skilled(2, 0.8, 1)
    assert p_value(poor, good) == pytest.approx(1 / 301)
    assert p_value(good, poor) == pytest.approx(1 / 301)
    # The same maps on another scale are exchanged without a trace.
    assert p_value(good, skilled(2, 0.8, 300)) == 1.0


def test_under_the_null_hypothesis_p_is_not_small() -> None:
    values = [p_value(skilled(seed, 0.5, 1), skilled(seed + 50, 0.5, 3)) for seed in range(12)]
    assert min(values) > 0.01
    assert 0.2 < float(np.mean(values)) < 0.8


def test_a_patient_s_images_are_exchanged_together() -> None:
    first, second = skilled(1, 0.3, 1), skilled(2, 0.8, 1)
    # With one patient there are two exchanges, and both differences are equally large.
    one = ["p"] * 80
    assert permutation_p(first, second, patient_ids=one, seed=1, n_draws=50) == 1.0


def test_counts_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images and boxes"):
        permutation_p(
            froc_counts(images(1)), skilled(1, 0.5, 1), patient_ids=PATIENTS, seed=1, n_draws=10
        )
