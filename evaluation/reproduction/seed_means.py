"""Means over runs of one setting that differ in their seed alone, on the same test films."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.auroc import auroc, bootstrap_classification
from evaluation.bootstrap import percentile_interval
from evaluation.evaluate import test_images
from evaluation.froc import FALSE_POSITIVE_RATIOS, froc_curve
from evaluation.froc_metrics import false_positive_rows, froc_bootstrap, froc_draws
from evaluation.map_counts import count_pixels
from evaluation.metric import Resampling
from evaluation.scored_run import ScoredRun
from warehouse_schema.store import Store

CURVE_RATIOS = np.linspace(0.0, 0.1, 201)


@dataclass(frozen=True)
class SeedMean:
    """A metric's mean over seeds.

    ``value``: mean; ``low`` and ``high``: 95 % interval over patients, the same in every draw for
    all seeds; ``by_seed``: each run's value; ``n_positive`` and ``n_negative``: films, or boxes and
    films without.
    """

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class RowNumbers:
    """AUROC and FROC score of one finding; the recall (201,) at ratios of 0 to 10 %."""

    auroc: SeedMean
    froc: SeedMean | None
    recall: NDArray[np.float64] | None


def row_numbers(
    *, store: Store, run_ids: Sequence[str], finding: str, resampling: Resampling
) -> RowNumbers:
    """Means of the student's AUROC and FROC score over runs on the same test films.

    Raises:
        EvaluationError: As :func:`evaluation.evaluate.evaluate_run`.
    """
    areas, area_draws, scores, score_draws, recalls = [], [], [], [], []
    n_auroc, n_froc = (0, 0), (0, 0)
    for run_id in run_ids:
        run = ScoredRun(store=store, run_id=run_id)
        images = test_images(run, finding, "student")
        positive = images.is_positive
        bootstrap = resampling.of(images, positive)
        areas.append(auroc(images.scores, positive))
        area_draws.append(
            bootstrap_classification(images.scores, positive, bootstrap, np.zeros(0)).auroc
        )
        n_auroc = int(positive.sum()), int((~positive).sum())
        counted = count_pixels(run, images, finding)
        if counted is None:
            continue
        boxed, counts = counted
        rows = false_positive_rows(boxed, "R+N")
        curve = froc_curve(counts, false_positive_rows=rows)
        scores.append(curve.score())
        draws = froc_draws(
            counts,
            froc_bootstrap(boxed, counts, resampling),
            FALSE_POSITIVE_RATIOS,
            rows=rows,
            denominator="whole_image",
        )
        score_draws.append(draws.mean(axis=1))
        recalls.append(curve.recall_at(CURVE_RATIOS))
        n_froc = len(counts.box_scores), int(rows.sum())
    froc = _mean(scores, score_draws, n_froc) if len(scores) == len(run_ids) else None
    return RowNumbers(
        _mean(areas, area_draws, n_auroc),
        froc,
        None if froc is None else np.mean(recalls, axis=0),
    )


def _mean(values: list[float], draws: list[NDArray[np.float64]], n: tuple[int, int]) -> SeedMean:
    interval = percentile_interval(np.mean(draws, axis=0))
    return SeedMean(
        float(np.mean(values)), interval.low, interval.high, tuple(map(float, values)), *n
    )
