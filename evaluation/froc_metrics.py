"""FROC numbers of one finding on the images of R and N, with their protocols.

Images whose false positives are averaged: ``R+N`` (primary), ``R only`` or ``N only``; recall is
always over all boxes. Denominator: ``whole`` image (primary) or ``valid`` area; ``peaks`` for the
classic FROC, which counts regions per image.
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import PatientBootstrap
from evaluation.froc import (
    FALSE_POSITIVE_RATIOS,
    Denominator,
    FrocCounts,
    FrocCurve,
    froc_curve,
    resampled_recalls,
)
from evaluation.lesion_froc import FALSE_POSITIVES_PER_IMAGE
from evaluation.metric import CurvePoint, Metric, Resampling, Scope, band_points
from evaluation.score_maps import SCORE_MAX
from evaluation.scored_run import ScoredImages

DENOMINATORS: dict[str, Denominator] = {"whole": "whole_image", "valid": "valid_area"}
FROC_IMAGES = ("R+N", "R only", "N only")
PRIMARY_IMAGES = "R+N"
# Draws of one matrix product, for which the counts are turned into floats each time.
_DRAWS_AT_ONCE = 500


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


def froc_bootstrap(
    images: ScoredImages, counts: FrocCounts, resampling: Resampling
) -> PatientBootstrap:
    """Draws over the patients of a FROC's images, stratified by with and without boxes."""
    return resampling.of(images, counts.has_box)


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
            for weights in bootstrap.weights(_DRAWS_AT_ONCE)
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
    """FROC scores of every protocol; of ``R+N`` also the curve with its band.

    Recall at each of the ten ratios is given for the primary protocol. ``images`` and ``counts``
    describe the same images, those of :func:`froc_rows`; all of them are of ``source`` where one is
    named.
    """
    metrics: list[Metric] = []
    points: list[CurvePoint] = []
    for name in FROC_IMAGES:
        rows = false_positive_rows(images, name)
        for label, denominator in DENOMINATORS.items() if rows.any() else ():
            protocol = _protocol(f"{name}/{label}/{network}", source)
            scope = _scope(images, counts, rows, protocol, resampling)
            curve = froc_curve(counts, false_positive_rows=rows, denominator=denominator)
            is_drawn = name == PRIMARY_IMAGES
            wanted = [FALSE_POSITIVE_RATIOS, *([curve.false_positive_ratios] if is_drawn else [])]
            draws = froc_draws(
                counts,
                froc_bootstrap(images, counts, resampling),
                np.concatenate(wanted),
                rows=rows,
                denominator=denominator,
            )
            at_ratios = draws[:, : len(FALSE_POSITIVE_RATIOS)]
            metrics.append(scope.bootstrapped("froc_score", curve.score(), at_ratios.mean(axis=1)))
            if is_drawn and label == "whole":
                found = curve.recall_at(FALSE_POSITIVE_RATIOS)
                metrics += [
                    scope.bootstrapped(f"recall@{percent}%", float(recall), drawn)
                    for percent, (recall, drawn) in enumerate(
                        zip(found, at_ratios.T, strict=True), start=1
                    )
                ]
            if is_drawn:
                points += _points(curve, draws[:, len(FALSE_POSITIVE_RATIOS) :], scope.protocol)
    return metrics, points


def lesion_metrics(
    images: ScoredImages,
    counts: FrocCounts,
    *,
    network: str,
    resampling: Resampling,
) -> tuple[list[Metric], list[CurvePoint]]:
    """Lesion sensitivity at false-positive regions per image, their mean, and the curve.

    ``counts``: those of :class:`evaluation.lesion_froc.LesionCounter` for ``images``.
    """
    rows = false_positive_rows(images, PRIMARY_IMAGES)
    protocol = _protocol(f"{PRIMARY_IMAGES}/peaks/{network}", None)
    scope = _scope(images, counts, rows, protocol, resampling)
    curve = froc_curve(counts, false_positive_rows=rows)
    wanted = np.concatenate([FALSE_POSITIVES_PER_IMAGE, curve.false_positive_ratios])
    draws = froc_draws(
        counts,
        froc_bootstrap(images, counts, resampling),
        wanted,
        rows=rows,
        denominator="whole_image",
    )
    n_rates = len(FALSE_POSITIVES_PER_IMAGE)
    found, drawn = curve.recall_at(FALSE_POSITIVES_PER_IMAGE), draws[:, :n_rates]
    metrics = [
        scope.bootstrapped("lesion_froc_score", float(found.mean()), drawn.mean(axis=1)),
        *(
            scope.bootstrapped(f"lesion_sensitivity@{rate:g}", float(found[i]), drawn[:, i])
            for i, rate in enumerate(FALSE_POSITIVES_PER_IMAGE)
        ),
    ]
    return metrics, _points(curve, draws[:, n_rates:], scope.protocol)


def undefined_froc(test: ScoredImages, *, network: str, resampling: Resampling) -> Metric:
    """The FROC score of a method without comparable maps, or of a split without boxes: null."""
    n_negative = int((test.subsets == "N").sum())
    protocol = f"test/{PRIMARY_IMAGES}/whole/{network}"
    return Scope(protocol, 0, n_negative, test.n_patients, resampling).plain("froc_score", None)


def _protocol(rest: str, source: str | None) -> str:
    return f"test/{rest}" if source is None else f"test/{source} {rest}"


def _scope(
    images: ScoredImages,
    counts: FrocCounts,
    rows: NDArray[np.bool_],
    protocol: str,
    resampling: Resampling,
) -> Scope:
    return Scope(
        protocol,
        len(counts.box_scores),
        int((rows & ~counts.has_box).sum()),
        images.n_patients,
        resampling,
    )


def _points(curve: FrocCurve, draws: NDArray[np.float64], protocol: str) -> list[CurvePoint]:
    thresholds = [float(threshold) / SCORE_MAX for threshold in curve.thresholds[1:]]
    return band_points(
        protocol=protocol,
        thresholds=[None, *thresholds],
        x=curve.false_positive_ratios,
        y=curve.recalls,
        draws=draws,
    )
