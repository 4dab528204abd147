"""Numbers of one finding on subgroups of the test images, and drift by year."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.auroc import auroc, bootstrap_classification
from evaluation.bootstrap import Interval
from evaluation.froc import FALSE_POSITIVE_RATIOS, FrocCounts, froc_curve
from evaluation.froc_metrics import froc_bootstrap, froc_draws
from evaluation.map_counts import MapCounts
from evaluation.metric import Resampling, defined_interval
from evaluation.operating_points import operating_counts, operating_draws, wilson_interval
from evaluation.scored_run import ScoredImages
from evaluation.subgroups import (
    IMAGE_ATTRIBUTES,
    POSITIVE_ATTRIBUTES,
    UNKNOWN,
    Attributes,
    ordered_levels,
)

SMALL = 20
DRIFT_LEVEL = "per year"


@dataclass(frozen=True, kw_only=True)
class SubgroupMetric:
    """One row of ``subgroup_metrics`` without run and finding."""

    protocol: str
    attribute: str
    level: str
    level_number: int
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    interval_method: str | None
    n_positive: int
    n_negative: int
    n_patients: int
    is_small: bool


@dataclass(frozen=True)
class Level:
    """One level of an attribute, by its place among the levels."""

    attribute: str
    name: str
    number: int


@dataclass(frozen=True)
class Found:
    """A value with its interval; both None where it is undefined."""

    value: float | None
    interval: Interval | None
    method: str = "bootstrap"


@dataclass(frozen=True)
class Counted:
    """Positive and negative images, or boxes and images without one, and their patients."""

    n_positive: int
    n_negative: int
    n_patients: int


@dataclass(frozen=True)
class SubgroupSource:
    """What the subgroups of one finding and network are made from.

    ``threshold``: of the operating point ``youden``, 16-bit; None without one.
    ``box_sizes``: level of each box of ``counts``, (m,); empty without counts.
    """

    test: ScoredImages
    attributes: Attributes
    threshold: float | None
    counts: MapCounts | None
    box_sizes: NDArray[np.str_]
    network: str
    resampling: Resampling


def subgroup_metrics(source: SubgroupSource) -> list[SubgroupMetric]:
    """AUROC, sensitivity, specificity and FROC score of every subgroup with its counts."""
    rows: list[SubgroupMetric] = []
    for attribute in (*IMAGE_ATTRIBUTES, *POSITIVE_ATTRIBUTES):
        is_of_positives = attribute in POSITIVE_ATTRIBUTES
        levels = source.attributes.of(attribute, source.test)
        if is_of_positives:
            levels = np.where(source.test.is_positive, levels, "")
        for level in _levels(attribute, levels):
            is_member = levels == level.name
            if is_of_positives:
                is_member |= ~source.test.is_positive
            rows += _image_numbers(source, level, source.test.subset(is_member), is_of_positives)
            rows += _froc_number(source, level, is_of_positives)
    rows += _box_numbers(source)
    return rows + _drift(source)


def _levels(attribute: str, levels: NDArray[np.str_]) -> Iterator[Level]:
    for number, name in enumerate(ordered_levels(attribute, set(levels.tolist()))):
        yield Level(attribute, name, number)


def _image_numbers(
    source: SubgroupSource, level: Level, images: ScoredImages, is_of_positives: bool
) -> list[SubgroupMetric]:
    scores, positive = images.scores, images.is_positive
    counted = _counted(images)
    found = Found(None, None)
    if images.has_both_classes:
        bootstrap = source.resampling.of(images, positive)
        drawn = bootstrap_classification(scores, positive, bootstrap, np.zeros(0)).auroc
        found = Found(auroc(scores, positive), defined_interval(drawn))
    is_small = min(counted.n_positive, counted.n_negative) < SMALL
    rows = [_row(source, level, "auroc", found, counted, is_small=is_small)]
    # Every level of a positives' attribute has the same negatives: their specificity says nothing.
    wanted = ("sensitivity",) if is_of_positives else ("sensitivity", "specificity")
    for metric, (share, trials) in _shares(source, images).items():
        if metric in wanted:
            name = f"{metric}@youden"
            rows.append(_row(source, level, name, share, counted, is_small=trials < SMALL))
    return rows


def _shares(source: SubgroupSource, images: ScoredImages) -> dict[str, tuple[Found, int]]:
    """Shares at the threshold with their trials: Wilson's interval with one image per patient."""
    if source.threshold is None:
        return {}
    counts = operating_counts(images.scores, images.is_positive, source.threshold)
    draws = {}
    if not images.is_one_each:
        draws = operating_draws(
            images.scores,
            images.is_positive,
            np.array([source.threshold]),
            source.resampling.of(images, images.is_positive),
        ).shares
    shares = {}
    for metric, (successes, trials) in counts.shares().items():
        value = successes / trials if trials else None
        if metric in draws:
            found = Found(value, defined_interval(draws[metric][:, 0]))
        else:
            interval = wilson_interval(successes, trials) if trials else None
            found = Found(value, interval, "Wilson")
        shares[metric] = found, trials
    return shares


def _froc_number(
    source: SubgroupSource, level: Level, is_of_positives: bool
) -> list[SubgroupMetric]:
    if source.counts is None:
        return []
    images, counts = source.counts.images, source.counts.pixels
    levels = source.attributes.of(level.attribute, images)
    is_member = levels == level.name
    if is_of_positives:
        is_member = (is_member & images.is_positive) | ~images.is_positive
    if not is_member.any():
        return []
    return [_froc_row(source, level, images.subset(is_member), counts.subset(is_member))]


def _box_numbers(source: SubgroupSource) -> list[SubgroupMetric]:
    """FROC score of the boxes of each size; the others are neither hits nor false positives."""
    if source.counts is None:
        return []
    images, counts = source.counts.images, source.counts.pixels
    return [
        _froc_row(source, level, images, counts.with_boxes(source.box_sizes == level.name))
        for level in _levels("box_size", source.box_sizes)
    ]


def _froc_row(
    source: SubgroupSource, level: Level, images: ScoredImages, counts: FrocCounts
) -> SubgroupMetric:
    n_boxes = len(counts.box_scores)
    found = Found(None, None)
    if n_boxes:
        drawn = froc_draws(
            counts,
            froc_bootstrap(images, counts, source.resampling),
            FALSE_POSITIVE_RATIOS,
            rows=np.ones(counts.n_images, dtype=bool),
            denominator="whole_image",
        )
        found = Found(froc_curve(counts).score(), defined_interval(drawn.mean(axis=1)))
    counted = Counted(n_boxes, int((~counts.has_box).sum()), images.n_patients)
    is_small = min(n_boxes, counts.n_images) < SMALL
    return _row(source, level, "froc_score", found, counted, is_small=is_small)


def _drift(source: SubgroupSource) -> list[SubgroupMetric]:
    """Change of AUROC a year: slope of the yearly AUROCs, weighted by the years' pairs.

    Patients are drawn within each year. Left out with fewer than two years that have both classes.
    """
    years = source.attributes.of("study_year", source.test)
    numbers, areas, pairs, draws, images_of = [], [], [], [], np.zeros(len(years), dtype=bool)
    for name in ordered_levels("study_year", set(years.tolist())):
        images = source.test.subset(years == name)
        if name == UNKNOWN or not images.has_both_classes:
            continue
        bootstrap = source.resampling.for_part(int(name)).of(images, images.is_positive)
        numbers.append(float(name))
        areas.append(auroc(images.scores, images.is_positive))
        n_positive = int(images.is_positive.sum())
        pairs.append(float(n_positive * (len(images.image_ids) - n_positive)))
        images_of |= years == name
        draws.append(
            bootstrap_classification(
                images.scores, images.is_positive, bootstrap, np.zeros(0)
            ).auroc
        )
    if len(numbers) < 2:
        return []
    chosen = source.test.subset(images_of)
    slopes = weighted_slope(
        np.array(numbers), np.stack([areas, *np.array(draws).T]), np.array(pairs)
    )
    level = Level("study_year", DRIFT_LEVEL, len(set(years.tolist())))
    counted = _counted(chosen)
    is_small = min(counted.n_positive, counted.n_negative) < SMALL
    found = Found(float(slopes[0]), defined_interval(slopes[1:]))
    return [_row(source, level, "auroc_slope", found, counted, is_small=is_small)]


def weighted_slope(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Slope of the weighted least-squares line of each row of y (b, k) on x (k,), (b,)."""
    centred = x - np.average(x, weights=weights)
    slopes: NDArray[np.float64] = y @ (weights * centred) / (weights * centred**2).sum()
    return slopes


def _counted(images: ScoredImages) -> Counted:
    n_positive = int(images.is_positive.sum())
    return Counted(n_positive, len(images.image_ids) - n_positive, images.n_patients)


def _row(
    source: SubgroupSource,
    level: Level,
    metric: str,
    found: Found,
    counted: Counted,
    *,
    is_small: bool,
) -> SubgroupMetric:
    images = "R+N" if metric == "froc_score" else "all"
    interval = None if found.value is None else found.interval
    return SubgroupMetric(
        protocol=f"test/{images}/whole/{source.network}",
        attribute=level.attribute,
        level=level.name,
        level_number=level.number,
        metric=metric,
        value=found.value,
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        interval_method=None if interval is None else found.method,
        n_positive=counted.n_positive,
        n_negative=counted.n_negative,
        n_patients=counted.n_patients,
        is_small=is_small,
    )
