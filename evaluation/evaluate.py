"""Evaluate one run: predictions, labels and boxes in, numbers and curves into the warehouse."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from evaluation.bootstrap import DRAWS
from evaluation.calibration import CalibrationMap
from evaluation.calibration_metrics import CalibrationPoint, calibrate
from evaluation.classification_metrics import (
    Prevalences,
    auroc_images,
    chosen_thresholds,
    classification_metrics,
    operating_metrics,
)
from evaluation.froc_metrics import froc_metrics, lesion_metrics, undefined_froc
from evaluation.map_counts import MapCounts, count_maps
from evaluation.metric import CurvePoint, Metric, Resampling
from evaluation.result_rows import curve_rows, knot_rows, number_rows
from evaluation.scored_run import INPUT_TABLES, ScoredImages, ScoredRun
from evaluation.subgroup_metrics import SubgroupMetric, SubgroupSource, subgroup_metrics
from evaluation.subgroups import Attributes, box_sizes, read_attributes
from warehouse_schema.errors import ArgumentError, EvaluationError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.evaluation import (
    CALIBRATION_MAPS,
    CALIBRATION_POINTS,
    EVALUATION_REPORTS,
    FROC_POINTS,
    LESION_FROC_POINTS,
    ROC_POINTS,
    SUBGROUP_METRICS,
)

AUROC_IMAGES = ("all", "N only")
CURVE_TABLES = (ROC_POINTS, FROC_POINTS, LESION_FROC_POINTS)


@dataclass(frozen=True)
class EvaluationSummary:
    """What an evaluation wrote.

    ``metrics``: rows of ``evaluation_reports`` by (finding, metric, protocol).
    ``notes``: what could not be computed, and why.
    """

    run_id: str
    metrics: dict[tuple[str, str, str], float | None]
    notes: tuple[str, ...]


@dataclass(kw_only=True)
class FindingResult:
    """All rows of one finding and one network; curves by the name of their table."""

    finding: str
    network: str
    metrics: list[Metric] = field(default_factory=list)
    curves: dict[str, list[CurvePoint]] = field(
        default_factory=lambda: {table.name: [] for table in CURVE_TABLES}
    )
    subgroups: list[SubgroupMetric] = field(default_factory=list)
    calibration: list[CalibrationPoint] = field(default_factory=list)
    maps: dict[str, CalibrationMap] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def evaluate_run(
    *,
    store: Store,
    run_id: str,
    n_bootstrap: int = DRAWS,
    seed: int = 0,
    prevalence: float | None = None,
    progress: Progress = SILENT,
) -> EvaluationSummary:
    """Compute every metric of a run on its test split and write them in one commit.

    Rows of an earlier evaluation of the run are replaced. An image whose label for a finding is
    uncertain or excluded is left out for that finding. ``prevalence``: a share of positives that
    PPV and NPV are given for beside the test split's own and the hospital's.

    Raises:
        ArgumentError: The prevalence is not between 0 and 1.
        EvaluationError: The run is unknown; a test image has no prediction (listed by pseudonym);
            a prediction is for an image outside the fold, NaN or unlike its map; a finding has no
            positive or no negative test image; maps have different sizes; a box has no image.
    """
    if prevalence is not None and not 0.0 < prevalence < 1.0:
        raise ArgumentError(
            f"prevalence: {prevalence} arrived; a share of positive films above 0 and below 1 is "
            "needed, for example 0.02."
        )
    run = ScoredRun(store=store, run_id=run_id)
    resampling = Resampling(n_draws=n_bootstrap, seed=seed)
    progress.start("evaluate", len(run.networks) * len(run.findings))
    results = []
    for finding in run.findings:
        attributes = read_attributes(store=store, run=run, finding=finding)
        prevalences = Prevalences(run.prevalence(finding), prevalence)
        for network in run.networks:
            result = FindingResult(finding=finding, network=network)
            _fill(result, run, attributes, resampling, prevalences)
            results.append(result)
            progress.advance(finding=finding, network=network)
    progress.finish()
    configuration = {
        "run_id": run_id,
        "n_bootstrap": n_bootstrap,
        "seed": seed,
        "prevalence": prevalence,
    }
    with store.commit(stage="evaluate", configuration=configuration, run_id=run_id) as commit:
        commit.uses(*INPUT_TABLES, at=run.version)
        for table, rows in _result_tables(run_id, results):
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


def _fill(
    result: FindingResult,
    run: ScoredRun,
    attributes: Attributes,
    resampling: Resampling,
    prevalences: Prevalences,
) -> None:
    """Every number of one finding and one network on the run's test split.

    Subgroups are those of the student, the primary network.
    """
    finding, network = result.finding, result.network
    test = test_images(run, finding, network)
    _add_classification(result, test, resampling)
    threshold = _add_operating_points(result, run, test, resampling, prevalences)
    counts = count_maps(run, test, finding)
    _add_froc(result, test, counts, resampling)
    for source in sorted(set(test.sources)) if len(set(test.sources)) > 1 else ():
        _add_source(result, test, counts, resampling, source)
    if network == run.networks[0]:
        sizes = box_sizes(run, counts.images, finding) if counts else np.zeros(0, dtype=np.str_)
        source_of = SubgroupSource(test, attributes, threshold, counts, sizes, network, resampling)
        result.subgroups = subgroup_metrics(source_of)


def _add_classification(result: FindingResult, test: ScoredImages, resampling: Resampling) -> None:
    for name in AUROC_IMAGES:
        chosen = auroc_images(test, name)
        if chosen.is_positive.all():
            result.notes.append(
                f"{result.finding}: no image of subset N, so AUROC against N only is left out"
            )
            continue
        rows, points = classification_metrics(
            chosen, name=name, network=result.network, resampling=resampling
        )
        result.metrics += rows
        result.curves[ROC_POINTS.name] += points


def _add_operating_points(
    result: FindingResult,
    run: ScoredRun,
    test: ScoredImages,
    resampling: Resampling,
    prevalences: Prevalences,
) -> float | None:
    """Operating points and calibration, both from validation; returns the threshold of youden."""
    network = result.network
    if not run.has_split(network=network, split="validation"):
        result.notes.append(
            f"{result.finding}: no validation predictions, so no operating points and no "
            "calibration"
        )
        return None
    validation = run.images(finding=result.finding, network=network, split="validation")
    thresholds = chosen_thresholds(validation)
    result.metrics += operating_metrics(
        test, thresholds, network=network, resampling=resampling, prevalences=prevalences
    )
    calibration = calibrate(test, validation, network=network, resampling=resampling)
    result.metrics += calibration.metrics
    result.calibration, result.maps = calibration.points, calibration.maps
    if not thresholds:
        result.notes.append(
            f"{result.finding}: validation lacks positive or negative images, so no operating "
            "points and no calibration"
        )
    return thresholds.get("youden")


def _add_froc(
    result: FindingResult, test: ScoredImages, counts: MapCounts | None, resampling: Resampling
) -> None:
    network = result.network
    if counts is None:
        result.notes.append(
            f"{result.finding}: no boxes or no score maps in the test split, so no FROC"
        )
        result.metrics.append(undefined_froc(test, network=network, resampling=resampling))
        return
    images = counts.images
    for table, (rows, points) in (
        (FROC_POINTS, froc_metrics(images, counts.pixels, network=network, resampling=resampling)),
        (
            LESION_FROC_POINTS,
            lesion_metrics(images, counts.peaks, network=network, resampling=resampling),
        ),
    ):
        result.metrics += rows
        result.curves[table.name] += points


def _add_source(
    result: FindingResult,
    test: ScoredImages,
    counts: MapCounts | None,
    resampling: Resampling,
    source: str,
) -> None:
    """AUROC and FROC on the test images of one source; what is undefined there is left out."""
    network = result.network
    alone = test.subset(test.sources == source)
    if alone.has_both_classes:
        result.metrics += classification_metrics(
            alone, name=source, network=network, resampling=resampling
        )[0]
    if counts is None:
        return
    rows = counts.images.sources == source
    pixels = counts.pixels.subset(rows)
    if len(pixels.box_scores):
        result.metrics += froc_metrics(
            counts.images.subset(rows),
            pixels,
            network=network,
            resampling=resampling,
            source=source,
        )[0]


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


def _result_tables(run_id: str, results: list[FindingResult]) -> Iterator[tuple[Table, pa.Table]]:
    """Every result table with the run's rows."""
    for table, name in (
        (EVALUATION_REPORTS, "metrics"),
        (SUBGROUP_METRICS, "subgroups"),
        (CALIBRATION_POINTS, "calibration"),
    ):
        numbers = ((result.finding, row) for result in results for row in getattr(result, name))
        yield table, number_rows(table, run_id, numbers)
    for table in CURVE_TABLES:
        points = ((result.finding, p) for result in results for p in result.curves[table.name])
        yield table, curve_rows(table, run_id, points)
    maps = (
        (result.finding, result.network, name, fitted)
        for result in results
        for name, fitted in result.maps.items()
    )
    yield CALIBRATION_MAPS, knot_rows(CALIBRATION_MAPS, run_id, maps)
