"""All numbers of one finding on one set of scored images, with their protocols.

A protocol reads ``split/images/denominator/network``. Images of AUROC: ``all`` (every image that
is negative for the finding counts as a negative; primary) or ``N only`` (negatives of subset N).
Where the test split is of several sources, AUROC and FROC are also given for each alone: the images
are then named ``SOURCE``, and ``SOURCE R+N`` and so on.
Images of FROC, whose false positives are averaged: ``R+N`` (primary), ``R only`` or ``N only``;
recall is always over all boxes. Denominator: ``whole`` image (primary) or ``valid`` area.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.auroc import auroc, average_precision, bootstrap_classification, roc_curve
from evaluation.bootstrap import PatientBootstrap, percentile_interval
from evaluation.delong import delong
from evaluation.froc import (
    FALSE_POSITIVE_RATIOS,
    Denominator,
    FrocCounts,
    froc_curve,
    resampled_recalls,
)
from evaluation.operating_points import (
    OPERATING_POINTS,
    OperatingCounts,
    choose_threshold,
    operating_counts,
    wilson_interval,
)
from evaluation.score_maps import SCORE_MAX
from evaluation.scored_run import ScoredImages

DENOMINATORS: dict[str, Denominator] = {"whole": "whole_image", "valid": "valid_area"}
FROC_IMAGES = ("R+N", "R only", "N only")


@dataclass(frozen=True)
class Metric:
    """One row of ``evaluation_reports`` without run and finding."""

    metric: str
    protocol: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class CurvePoint:
    """One row of ``roc_points`` or ``froc_points``: x is a rate or ratio, y a rate or recall."""

    protocol: str
    point_number: int
    threshold: float | None
    x: float
    y: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Resampling:
    """Number of bootstrap draws and their seed."""

    n_draws: int
    seed: int

    def of(self, images: ScoredImages, strata: NDArray[np.generic]) -> PatientBootstrap:
        """The bootstrap of these images, stratified by a number per image."""
        return PatientBootstrap(
            patient_ids=images.patient_ids,
            strata=np.asarray(strata, dtype=np.int64).tolist(),
            seed=self.seed,
            n_draws=self.n_draws,
        )


def subset_of(images: ScoredImages, rows: NDArray[np.bool_]) -> ScoredImages:
    """The images of a row mask."""
    chosen = np.flatnonzero(rows)
    return ScoredImages(
        image_ids=[images.image_ids[row] for row in chosen],
        patient_ids=[images.patient_ids[row] for row in chosen],
        subsets=images.subsets[chosen],
        sources=images.sources[chosen],
        is_positive=images.is_positive[chosen],
        scores=images.scores[chosen],
        map_places=[images.map_places[row] for row in chosen],
    )


def auroc_images(images: ScoredImages, name: str) -> ScoredImages:
    """Images of an AUROC protocol: ``all`` or ``N only``."""
    if name == "all":
        return images
    return subset_of(images, images.is_positive | (images.subsets == "N"))


def froc_rows(images: ScoredImages, n_boxes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Images of R and N whose boxes of the finding are complete, (n,).

    An image that is positive by record but boxed for another finding only is left out, as P is:
    its fractures would count as false positives.
    """
    is_complete = ~images.is_positive | (n_boxes > 0)
    result: NDArray[np.bool_] = np.isin(images.subsets, ["R", "N"]) & is_complete
    return result


def false_positive_rows(images: ScoredImages, name: str) -> NDArray[np.bool_]:
    """Images whose false positives a FROC protocol averages, (n,)."""
    subsets = {"R+N": ["R", "N"], "R only": ["R"], "N only": ["N"]}[name]
    result: NDArray[np.bool_] = np.isin(images.subsets, subsets)
    return result


def classification_metrics(
    images: ScoredImages, *, name: str, network: str, resampling: Resampling
) -> tuple[list[Metric], list[CurvePoint]]:
    """AUROC (bootstrap and DeLong), average precision and the ROC curve with its band."""
    protocol = f"test/{name}/whole/{network}"
    scores, positive = images.scores, images.is_positive
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    curve = roc_curve(scores, positive)
    draws = bootstrap_classification(
        scores, positive, resampling.of(images, positive), curve.false_positive_rates
    )

    def row(metric: str, value: float, low: float, high: float) -> Metric:
        return Metric(metric, protocol, value, low, high, n_positive, n_negative)

    area, precision = percentile_interval(draws.auroc), percentile_interval(draws.average_precision)
    rows = [
        row("auroc", auroc(scores, positive), area.low, area.high),
        row(
            "average_precision", average_precision(scores, positive), precision.low, precision.high
        ),
    ]
    is_one_each = len(set(images.patient_ids)) == len(images.patient_ids)
    if is_one_each and min(n_positive, n_negative) >= 2:
        result = delong(scores, positive)
        normal = result.interval()
        rows.append(row("auroc_delong", float(result.aurocs[0]), normal.low, normal.high))
    low, high = np.quantile(draws.true_positive_rates, [0.025, 0.975], axis=0)
    points = [
        CurvePoint(
            protocol,
            number,
            None if np.isinf(threshold) else float(threshold) / SCORE_MAX,
            float(curve.false_positive_rates[number]),
            float(curve.true_positive_rates[number]),
            float(low[number]),
            float(high[number]),
        )
        for number, threshold in enumerate(curve.thresholds)
    ]
    return rows, points


def operating_metrics(
    test: ScoredImages, validation: ScoredImages, *, network: str
) -> list[Metric]:
    """Sensitivity, specificity, PPV and NPV on test at thresholds chosen on validation.

    PPV and NPV are at the test split's own share of positives. Empty when the validation split
    lacks a class.
    """
    if not validation.is_positive.any() or validation.is_positive.all():
        return []
    protocol = f"test/all/whole/{network}"
    n_positive, n_negative = int(test.is_positive.sum()), int((~test.is_positive).sum())
    rows = []
    for name in OPERATING_POINTS:
        threshold = choose_threshold(name, validation.scores, validation.is_positive)
        # Above every score when the best point on validation is to call nothing.
        threshold = min(threshold, SCORE_MAX + 1.0)
        counts = operating_counts(test.scores, test.is_positive, threshold)
        rows.append(
            Metric(
                f"threshold@{name}",
                protocol,
                threshold / SCORE_MAX,
                None,
                None,
                n_positive,
                n_negative,
            )
        )
        for metric, successes, trials in _shares(counts):
            if not trials:
                rows.append(
                    Metric(f"{metric}@{name}", protocol, None, None, None, n_positive, n_negative)
                )
                continue
            interval = wilson_interval(successes, trials)
            share = successes / trials
            rows.append(
                Metric(
                    f"{metric}@{name}",
                    protocol,
                    share,
                    interval.low,
                    interval.high,
                    n_positive,
                    n_negative,
                )
            )
    return rows


def _shares(counts: OperatingCounts) -> list[tuple[str, int, int]]:
    tp, fn = counts.true_positive, counts.false_negative
    tn, fp = counts.true_negative, counts.false_positive
    return [
        ("sensitivity", tp, tp + fn),
        ("specificity", tn, tn + fp),
        ("ppv", tp, tp + fp),
        ("npv", tn, tn + fn),
    ]


def froc_draws(
    counts: FrocCounts,
    bootstrap: PatientBootstrap,
    ratios: NDArray[np.float64],
    *,
    rows: NDArray[np.bool_],
    denominator: Denominator,
) -> NDArray[np.float64]:
    """Recall at the given false positive ratios in every bootstrap draw, (draws, ratios)."""
    return np.concatenate(
        [
            resampled_recalls(counts, weights, ratios, rows=rows, denominator=denominator)
            for weights in bootstrap.weights()
        ]
    )


def froc_metrics(
    images: ScoredImages,
    counts: FrocCounts,
    *,
    network: str,
    resampling: Resampling,
    source: str | None = None,
) -> tuple[list[Metric], list[CurvePoint]]:
    """FROC scores of every protocol, and the primary curve with its band.

    ``images`` and ``counts`` describe the same images, those of :func:`froc_rows`; all of them are
    of ``source`` where one is named.
    """
    has_box = np.bincount(counts.box_rows, minlength=counts.n_images) > 0
    bootstrap = resampling.of(images, has_box)
    metrics: list[Metric] = []
    points: list[CurvePoint] = []
    for name in FROC_IMAGES:
        rows = false_positive_rows(images, name)
        if not rows.any():
            continue
        for label, denominator in DENOMINATORS.items():
            chosen = name if source is None else f"{source} {name}"
            protocol = f"test/{chosen}/{label}/{network}"
            curve = froc_curve(counts, false_positive_rows=rows, denominator=denominator)
            is_primary = name == "R+N"
            ratios = FALSE_POSITIVE_RATIOS
            if is_primary:
                ratios = np.concatenate([ratios, curve.false_positive_ratios])
            draws = froc_draws(counts, bootstrap, ratios, rows=rows, denominator=denominator)
            interval = percentile_interval(draws[:, : len(FALSE_POSITIVE_RATIOS)].mean(axis=1))
            metrics.append(
                Metric(
                    "froc_score",
                    protocol,
                    curve.score(),
                    interval.low,
                    interval.high,
                    len(counts.box_scores),
                    int((rows & ~has_box).sum()),
                )
            )
            if not is_primary:
                continue
            low, high = np.quantile(draws[:, len(FALSE_POSITIVE_RATIOS) :], [0.025, 0.975], axis=0)
            points.extend(
                CurvePoint(
                    protocol,
                    number,
                    None if number == 0 else int(curve.thresholds[number]) / SCORE_MAX,
                    float(curve.false_positive_ratios[number]),
                    float(curve.recalls[number]),
                    float(low[number]),
                    float(high[number]),
                )
                for number in range(len(curve.thresholds))
            )
    return metrics, points
