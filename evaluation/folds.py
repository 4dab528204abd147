"""One method over the folds of a cross-validation.

Primary is the mean of the folds' values, with an interval from a bootstrap within every fold: each
draw takes patients of each fold anew and averages the folds. Second stands the value over all test
images pooled, whose scores come from different networks and need not share a scale.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.auroc import auroc, average_precision, bootstrap_classification
from evaluation.bootstrap import DRAWS, percentile_interval
from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.evaluate import test_images
from evaluation.froc import FALSE_POSITIVE_RATIOS, FrocCounter, FrocCounts, froc_curve
from evaluation.froc import distinct_centre_scores as centre_scores_of
from evaluation.froc_metrics import froc_bootstrap, froc_draws
from evaluation.map_counts import checked_counts, froc_images, walks
from evaluation.metric import Resampling
from evaluation.scored_run import INPUT_TABLES, ScoredImages, ScoredRun, listed
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import FOLD_SUMMARIES

_ID_CHARS = 16


@dataclass(frozen=True, kw_only=True)
class FoldSummary:
    """One row of ``fold_summaries`` without the runs."""

    finding: str
    metric: str
    protocol: str
    summary: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    fold_sd: float | None
    n_folds: int
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class Drawn:
    """A metric on one set of images: its value, its draws (b,) and the two counts."""

    value: float
    draws: NDArray[np.float64]
    n_positive: int
    n_negative: int


def summarise_folds(
    *, store: Store, run_ids: Sequence[str], n_bootstrap: int = DRAWS, seed: int = 0
) -> list[FoldSummary]:
    """Summarise the runs of one method, one a fold, and write ``fold_summaries`` in one commit.

    Raises:
        EvaluationError: No run was named; the runs differ in method, recipe or findings, share a
            fold or a test image; or as :func:`evaluation.evaluate.evaluate_run`.
    """
    runs = open_folds(store=store, run_ids=run_ids)
    resampling = Resampling(n_draws=n_bootstrap, seed=seed)
    rows = [row for finding in runs[0].findings for row in _finding_rows(runs, finding, resampling)]
    ids = [run.run_id for run in runs]
    shared = {
        "summary_id": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:_ID_CHARS],
        "method": runs[0].run["method"],
        "recipe": runs[0].run["recipe"],
        "run_ids": ids,
    }
    table = pa.Table.from_pylist(
        [{**shared, **vars(row)} for row in rows], schema=FOLD_SUMMARIES.schema
    )
    configuration = {"run_ids": ids, "n_bootstrap": n_bootstrap, "seed": seed}
    with store.commit(stage="summarise-folds", configuration=configuration) as commit:
        commit.uses(*INPUT_TABLES, at=runs[0].version)
        commit.replace(FOLD_SUMMARIES, table, where={"summary_id": shared["summary_id"]})
    return rows


def open_folds(*, store: Store, run_ids: Sequence[str]) -> list[ScoredRun]:
    """The runs by rising fold.

    Raises:
        EvaluationError: They are not one run of one method for each of several folds.
    """
    if not run_ids:
        raise EvaluationError("run_ids: no run was named; one run a fold is needed.")
    first = ScoredRun(store=store, run_id=run_ids[0])
    others = [ScoredRun(store=store, run_id=name, version=first.version) for name in run_ids[1:]]
    runs = sorted([first, *others], key=lambda run: (run.run["fold"], run.run_id))
    for name in ("method", "recipe", "findings"):
        found = sorted({str(run.run[name]) for run in runs})
        if len(found) > 1:
            raise EvaluationError(
                f"run_ids: the runs differ in their {name} ({'; '.join(found)}). Summarise runs "
                "of one method and recipe."
            )
    folds = [run.run["fold"] for run in runs]
    if len(set(folds)) < len(folds):
        raise EvaluationError(
            f"run_ids: two runs are of one fold (folds {', '.join(map(str, folds))}). Name one "
            "run a fold."
        )
    seen: dict[str, str] = {}
    for run in runs:
        test = {image.image_id for image in run.cohort.values() if image.split == "test"}
        shared = test & set(seen)
        if shared:
            raise EvaluationError(
                f"run_ids: run {run.run_id} shares {len(shared)} test images with "
                f"{seen[min(shared)]}: {listed(shared)}. External test sets are in every fold; "
                "summarise folds of a cohort without them."
            )
        seen |= dict.fromkeys(test, run.run_id)
    return runs


def pooled_images(parts: Sequence[ScoredImages]) -> ScoredImages:
    """The images of several folds one after the other."""
    return ScoredImages(
        image_ids=[image_id for part in parts for image_id in part.image_ids],
        patient_ids=[patient_id for part in parts for patient_id in part.patient_ids],
        subsets=np.concatenate([part.subsets for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
        is_positive=np.concatenate([part.is_positive for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        map_places=[place for part in parts for place in part.map_places],
    )


def _finding_rows(runs: list[ScoredRun], finding: str, resampling: Resampling) -> list[FoldSummary]:
    images = [test_images(run, finding, "student") for run in runs]
    folds = [
        _classification(part, resampling.for_part(run.run["fold"]))
        for run, part in zip(runs, images, strict=True)
    ]
    pooled = _classification(pooled_images(images), resampling)
    rows = []
    for metric, whole in pooled.items():
        parts = [fold[metric] for fold in folds]
        rows += _summaries(finding, metric, AUROC_PROTOCOL, parts, whole)
    counted = _count_folds(runs, images, finding)
    if counted is not None:
        parts = [
            _froc(part, counts, resampling.for_part(run.run["fold"]))
            for run, (part, counts) in zip(runs, counted, strict=True)
        ]
        every = FrocCounts.joined([counts for _, counts in counted])
        whole = _froc(pooled_images([part for part, _ in counted]), every, resampling)
        rows += _summaries(finding, "froc_score", FROC_PROTOCOL, parts, whole)
    return rows


def _classification(images: ScoredImages, resampling: Resampling) -> dict[str, Drawn]:
    scores, positive = images.scores, images.is_positive
    bootstrap = resampling.of(images, positive)
    draws = bootstrap_classification(scores, positive, bootstrap, np.zeros(0))
    counted = int(positive.sum()), int((~positive).sum())
    return {
        "auroc": Drawn(auroc(scores, positive), draws.auroc, *counted),
        "average_precision": Drawn(
            average_precision(scores, positive), draws.average_precision, *counted
        ),
    }


def _count_folds(
    runs: list[ScoredRun], images: list[ScoredImages], finding: str
) -> list[tuple[ScoredImages, FrocCounts]] | None:
    """Images and counts of every fold, at the centre scores of all folds, so that they can be
    joined; None where a fold has no boxes or no maps.
    """
    chosen = [froc_images(run, part, finding) for run, part in zip(runs, images, strict=True)]
    known = [part for part in chosen if part is not None]
    if len(known) < len(chosen):
        return None
    walked = [walks(run, part, finding) for run, part in zip(runs, known, strict=True)]
    distinct = [centre_scores_of(boxed) for boxed, _ in walked]
    thresholds = np.unique(np.concatenate(distinct))[::-1].copy()
    counted = []
    for run, part, (_, every) in zip(runs, known, walked, strict=True):
        counter = FrocCounter(thresholds)
        for image in every:
            counter.add(image)
        counted.append((part, checked_counts(counter.counts(), part, run, finding)))
    return counted


def _froc(images: ScoredImages, counts: FrocCounts, resampling: Resampling) -> Drawn:
    draws = froc_draws(
        counts,
        froc_bootstrap(images, counts, resampling),
        FALSE_POSITIVE_RATIOS,
        rows=np.ones(counts.n_images, dtype=bool),
        denominator="whole_image",
    )
    n_boxes, n_others = len(counts.box_scores), int((~counts.has_box).sum())
    return Drawn(froc_curve(counts).score(), draws.mean(axis=1), n_boxes, n_others)


def _summaries(
    finding: str, metric: str, protocol: str, parts: list[Drawn], whole: Drawn
) -> list[FoldSummary]:
    values = np.array([part.value for part in parts])
    mean = percentile_interval(np.stack([part.draws for part in parts]).mean(axis=0))
    pooled = percentile_interval(whole.draws)
    shared = {
        "finding": finding,
        "metric": metric,
        "protocol": protocol,
        "n_folds": len(parts),
        "n_positive": sum(part.n_positive for part in parts),
        "n_negative": sum(part.n_negative for part in parts),
    }
    return [
        FoldSummary(
            summary="mean",
            value=float(values.mean()),
            ci_low=mean.low,
            ci_high=mean.high,
            fold_sd=float(values.std(ddof=1)) if len(values) > 1 else None,
            **shared,  # type: ignore[arg-type]
        ),
        FoldSummary(
            summary="pooled",
            value=whole.value,
            ci_low=pooled.low,
            ci_high=pooled.high,
            fold_sd=None,
            **shared,  # type: ignore[arg-type]
        ),
    ]
