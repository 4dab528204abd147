"""Numbers of the image score of one finding: AUROC, average precision, operating points.

Images: ``all`` (every image that is negative for the finding counts as a negative; primary) or
``N only`` (negatives of subset N). Where the test split is of several sources, the numbers are also
given for each alone: the images are then named after the source.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.auroc import auroc, average_precision, bootstrap_classification, roc_curve
from evaluation.delong import delong
from evaluation.metric import CurvePoint, Metric, Resampling, Scope, band_points
from evaluation.operating_points import (
    OPERATING_POINTS,
    choose_threshold,
    operating_counts,
    operating_draws,
    predictive_values,
)
from evaluation.score_maps import SCORE_MAX
from evaluation.scored_run import ScoredImages


@dataclass(frozen=True)
class Prevalences:
    """Shares of positives that PPV and NPV are also given for.

    ``hospital``: among the labelled films of the training sources, one per patient.
    ``given``: the user's own, None where none was named.
    """

    hospital: float | None = None
    given: float | None = None

    def by_name(self) -> dict[str, float]:
        """Those that are known, by the name that metrics carry."""
        named = {"hospital": self.hospital, "given": self.given}
        return {name: value for name, value in named.items() if value is not None}


def auroc_images(images: ScoredImages, name: str) -> ScoredImages:
    """Images of an AUROC protocol: ``all`` or ``N only``."""
    if name == "all":
        return images
    return images.subset(images.is_positive | (images.subsets == "N"))


def classification_metrics(
    images: ScoredImages, *, name: str, network: str, resampling: Resampling
) -> tuple[list[Metric], list[CurvePoint]]:
    """AUROC (bootstrap and DeLong), average precision and the ROC curve with its band."""
    scope = Scope.of_images(images, protocol=f"test/{name}/whole/{network}", resampling=resampling)
    scores, positive = images.scores, images.is_positive
    curve = roc_curve(scores, positive)
    draws = bootstrap_classification(
        scores, positive, resampling.of(images, positive), curve.false_positive_rates
    )
    rows = [
        scope.bootstrapped("auroc", auroc(scores, positive), draws.auroc),
        scope.bootstrapped(
            "average_precision", average_precision(scores, positive), draws.average_precision
        ),
    ]
    if images.is_one_each and min(scope.n_positive, scope.n_negative) >= 2:
        result = delong(scores, positive)
        area = float(result.aurocs[0])
        rows.append(scope.with_interval("auroc_delong", area, result.interval(), "DeLong"))
    points = band_points(
        protocol=scope.protocol,
        thresholds=[
            None if np.isinf(threshold) else float(threshold) / SCORE_MAX
            for threshold in curve.thresholds
        ],
        x=curve.false_positive_rates,
        y=curve.true_positive_rates,
        draws=draws.true_positive_rates,
    )
    return rows, points


def chosen_thresholds(validation: ScoredImages) -> dict[str, float]:
    """Thresholds by operating point, in 16-bit scores; empty where validation lacks a class."""
    if not validation.has_both_classes:
        return {}
    return {
        # Above every score when the best point on validation is to call nothing.
        name: min(
            choose_threshold(name, validation.scores, validation.is_positive), SCORE_MAX + 1.0
        )
        for name in OPERATING_POINTS
    }


def operating_metrics(
    test: ScoredImages,
    thresholds: dict[str, float],
    *,
    network: str,
    resampling: Resampling,
    prevalences: Prevalences,
) -> list[Metric]:
    """Sensitivity, specificity, PPV and NPV on test at thresholds chosen on validation.

    Wilson's interval is primary where there is one image per patient, because a bootstrap of twelve
    hits in twelve has no width; else the bootstrap over patients is, which stands in any case in
    rows of its own.
    """
    if not thresholds:
        return []
    scope = Scope.of_images(test, protocol=f"test/all/whole/{network}", resampling=resampling)
    draws = operating_draws(
        test.scores,
        test.is_positive,
        np.array(list(thresholds.values())),
        resampling.of(test, test.is_positive),
    )
    shares = scope.n_positive / (scope.n_positive + scope.n_negative)
    rows = [scope.plain("prevalence_test", shares)]
    rows += [
        scope.plain(f"prevalence_{name}", value) for name, value in prevalences.by_name().items()
    ]
    for column, (name, threshold) in enumerate(thresholds.items()):
        rows.append(scope.plain(f"threshold@{name}", threshold / SCORE_MAX))
        counts = operating_counts(test.scores, test.is_positive, threshold)
        for metric, (successes, trials) in counts.shares().items():
            value = successes / trials if trials else None
            drawn = draws.shares[metric][:, column]
            rows.append(scope.bootstrapped(f"{metric}_bootstrap@{name}", value, drawn))
            rows.append(
                scope.share(f"{metric}@{name}", successes, trials)
                if test.is_one_each
                else scope.bootstrapped(f"{metric}@{name}", value, drawn)
            )
        for at, prevalence in prevalences.by_name().items():
            drawn_values = predictive_values(
                draws.shares["sensitivity"][:, column],
                draws.shares["specificity"][:, column],
                prevalence,
            )
            found = predictive_values(
                np.array([counts.sensitivity()]), np.array([counts.specificity()]), prevalence
            )
            rows += [
                scope.bootstrapped(f"{metric}_{at}@{name}", _defined(value), drawn)
                for metric, value, drawn in zip(("ppv", "npv"), found, drawn_values, strict=True)
            ]
    return rows


def _defined(values: NDArray[np.float64]) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None
