"""Evaluate one run: predictions, labels and boxes in, numbers and curves into the warehouse."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evaluation.bootstrap import DRAWS
from evaluation.finding_metrics import (
    CurvePoint,
    Metric,
    Resampling,
    auroc_images,
    classification_metrics,
    froc_metrics,
    froc_rows,
    operating_metrics,
    subset_of,
)
from evaluation.froc import FrocCounter, FrocCounts, distinct_centre_scores
from evaluation.scored_run import INPUT_TABLES, ScoredImages, ScoredRun, listed
from warehouse_schema.errors import EvaluationError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS, FROC_POINTS, ROC_POINTS

AUROC_IMAGES = ("all", "N only")


@dataclass(frozen=True)
class EvaluationSummary:
    """What an evaluation wrote.

    ``metrics``: rows of ``evaluation_reports`` by (finding, metric, protocol).
    ``notes``: what could not be computed, and why.
    """

    run_id: str
    metrics: dict[tuple[str, str, str], float | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FindingResult:
    """All rows of one finding and one network."""

    finding: str
    metrics: list[Metric]
    roc_points: list[CurvePoint]
    froc_points: list[CurvePoint]
    notes: list[str]


def evaluate_run(
    *,
    store: Store,
    run_id: str,
    n_bootstrap: int = DRAWS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> EvaluationSummary:
    """Compute every metric of a run on its test split and write them in one commit.

    Rows of an earlier evaluation of the run are replaced. An image whose label for a finding is
    uncertain or excluded is left out for that finding.

    Raises:
        EvaluationError: The run is unknown; a test image has no prediction (listed by pseudonym);
            a prediction is for an image outside the fold, NaN or unlike its map; a finding has no
            positive or no negative test image; maps have different sizes.
    """
    run = ScoredRun(store=store, run_id=run_id)
    resampling = Resampling(n_draws=n_bootstrap, seed=seed)
    progress.start("evaluate", len(run.networks) * len(run.findings))
    results = []
    for network in run.networks:
        for finding in run.findings:
            results.append(evaluate_finding(run, finding, network, resampling))
            progress.advance(finding=finding, network=network)
    progress.finish()
    configuration = {"run_id": run_id, "n_bootstrap": n_bootstrap, "seed": seed}
    with store.commit(stage="evaluate", configuration=configuration, run_id=run_id) as commit:
        commit.uses(*INPUT_TABLES, at=run.version)
        for table, rows in (
            (EVALUATION_REPORTS, _report_rows(run_id, results)),
            (ROC_POINTS, _roc_rows(run_id, results)),
            (FROC_POINTS, _froc_rows(run_id, results)),
        ):
            commit.replace(table, rows, where={"run_id": run_id})
    return EvaluationSummary(
        run_id=run_id,
        metrics={
            (result.finding, metric.metric, metric.protocol): metric.value
            for result in results
            for metric in result.metrics
        },
        notes=tuple(note for result in results for note in result.notes),
    )


def evaluate_finding(
    run: ScoredRun, finding: str, network: str, resampling: Resampling
) -> FindingResult:
    """Every number of one finding and one network on the run's test split."""
    test = test_images(run, finding, network)
    metrics: list[Metric] = []
    roc: list[CurvePoint] = []
    notes: list[str] = []
    for name in AUROC_IMAGES:
        chosen = auroc_images(test, name)
        if chosen.is_positive.all():
            notes.append(f"{finding}: no image of subset N, so AUROC against N only is left out")
            continue
        rows, points = classification_metrics(
            chosen, name=name, network=network, resampling=resampling
        )
        metrics.extend(rows)
        roc.extend(points)
    if run.has_split(network=network, split="validation"):
        validation = run.images(finding=finding, network=network, split="validation")
        metrics.extend(operating_metrics(test, validation, network=network))
    else:
        notes.append(f"{finding}: no validation predictions, so no operating points")
    for source in sorted(set(test.sources)) if len(set(test.sources)) > 1 else ():
        alone = subset_of(test, test.sources == source)
        metrics.extend(_source_metrics(run, finding, alone, network, resampling))
    counted = count_froc(run, test, finding)
    if counted is None:
        notes.append(f"{finding}: no boxes or no score maps in the test split, so no FROC")
        metrics.append(_undefined_froc(test, network))
        return FindingResult(finding, metrics, roc, [], notes)
    images, counts = counted
    rows, froc = froc_metrics(images, counts, network=network, resampling=resampling)
    return FindingResult(finding, [*metrics, *rows], roc, froc, notes)


def _source_metrics(
    run: ScoredRun, finding: str, alone: ScoredImages, network: str, resampling: Resampling
) -> list[Metric]:
    """AUROC and FROC on the test images of one source; what is undefined there is left out."""
    metrics: list[Metric] = []
    source = str(alone.sources[0])
    if alone.is_positive.any() and not alone.is_positive.all():
        metrics += classification_metrics(
            alone, name=source, network=network, resampling=resampling
        )[0]
    counted = count_froc(run, alone, finding)
    if counted is not None:
        images, counts = counted
        metrics += froc_metrics(
            images, counts, network=network, resampling=resampling, source=source
        )[0]
    return metrics


def test_images(run: ScoredRun, finding: str, network: str) -> ScoredImages:
    """Test images of a finding, with both classes among them.

    Raises:
        EvaluationError: A prediction is missing, or a class is.
    """
    test = run.images(finding=finding, network=network, split="test")
    n_positive, n_negative = int(test.is_positive.sum()), int((~test.is_positive).sum())
    if not n_positive or not n_negative:
        raise EvaluationError(
            f"finding {finding}: the test split of fold {run.run['fold']} has {n_positive} "
            f"positive and {n_negative} negative images; one of each is needed. Use a larger "
            "cohort or another fold, or leave the finding out."
        )
    return test


def count_froc(
    run: ScoredRun, test: ScoredImages, finding: str
) -> tuple[ScoredImages, FrocCounts] | None:
    """The images of the FROC and their counts; None without boxes or without maps.

    Raises:
        EvaluationError: A score is not the maximum of its map.
    """
    if not test.has_maps:
        return None
    n_boxes = np.array([len(run.boxes.get((image_id, finding), [])) for image_id in test.image_ids])
    images = subset_of(test, froc_rows(test, n_boxes))
    has_box = np.array([(image_id, finding) in run.boxes for image_id in images.image_ids])
    if not has_box.any():
        return None
    boxed = run.walk(images, np.flatnonzero(has_box), finding)
    counter = FrocCounter(distinct_centre_scores(boxed))
    for image in run.walk(images, np.arange(len(images.image_ids)), finding):
        counter.add(image)
    counts = counter.counts()
    unlike = np.flatnonzero(counts.maximum_scores != images.scores)
    if len(unlike):
        raise EvaluationError(
            f"predictions of run {run.run_id}: {len(unlike)} scores of {finding} are not the "
            f"maximum of their map's valid area: {listed([images.image_ids[i] for i in unlike])}. "
            "Run `ribline predict` again."
        )
    return images, counts


def _undefined_froc(test: ScoredImages, network: str) -> Metric:
    n_negative = int((test.subsets == "N").sum())
    return Metric("froc_score", f"test/R+N/whole/{network}", None, None, None, 0, n_negative)


def _report_rows(run_id: str, results: list[FindingResult]) -> pa.Table:
    rows = [
        {"run_id": run_id, "finding": result.finding, **vars(metric)}
        for result in results
        for metric in result.metrics
    ]
    return pa.Table.from_pylist(rows, schema=EVALUATION_REPORTS.schema)


def _roc_rows(run_id: str, results: list[FindingResult]) -> pa.Table:
    rows = [
        {
            **_point_row(run_id, result.finding, point),
            "false_positive_rate": point.x,
            "true_positive_rate": point.y,
        }
        for result in results
        for point in result.roc_points
    ]
    return pa.Table.from_pylist(rows, schema=ROC_POINTS.schema)


def _froc_rows(run_id: str, results: list[FindingResult]) -> pa.Table:
    rows = [
        {
            **_point_row(run_id, result.finding, point),
            "false_positive_ratio": point.x,
            "recall": point.y,
        }
        for result in results
        for point in result.froc_points
    ]
    return pa.Table.from_pylist(rows, schema=FROC_POINTS.schema)


def _point_row(run_id: str, finding: str, point: CurvePoint) -> dict[str, object]:
    return {
        "run_id": run_id,
        "finding": finding,
        "protocol": point.protocol,
        "point_number": point.point_number,
        "threshold": point.threshold,
        "ci_low": point.ci_low,
        "ci_high": point.ci_high,
    }
