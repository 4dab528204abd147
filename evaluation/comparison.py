"""Paired differences between two runs on the same test images, b minus a.

Both runs are resampled with the same patients, so their difference has an interval of its own.
AUROC is also compared with DeLong's test where there is one image per patient. The primary
comparisons of a pair are AUROC and the FROC score of every finding by paired bootstrap on the
student; their p values are corrected together after Holm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.auroc import auroc, average_precision, bootstrap_classification
from evaluation.bootstrap import DRAWS, Interval, percentile_interval, two_sided_p
from evaluation.delong import compare_aurocs
from evaluation.evaluate import count_froc, test_images
from evaluation.finding_metrics import Resampling, false_positive_rows, froc_draws
from evaluation.froc import FALSE_POSITIVE_RATIOS, froc_curve
from evaluation.scored_run import INPUT_TABLES, ScoredRun, listed
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import RUN_COMPARISONS

AUROC_PROTOCOL = "test/all/whole/student"
FROC_PROTOCOL = "test/R+N/whole/student"
PRIMARY_METRICS = ("auroc", "froc_score")


@dataclass(frozen=True)
class Comparison:
    """One row of ``run_comparisons`` without the runs."""

    finding: str
    metric: str
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_value_holm: float | None
    method: str
    protocol: str


@dataclass(frozen=True)
class PairedDraws:
    """A metric's difference, its bootstrap draws (b,), and the protocol."""

    finding: str
    metric: str
    protocol: str
    difference: float
    draws: NDArray[np.float64]


@dataclass(frozen=True)
class MeanDifference:
    """Mean of a paired difference over several pairs of runs (seeds or folds).

    ``interval``: both the patients and the pairs are resampled.
    ``differences``: one per pair, in the order of the pairs.
    """

    finding: str
    metric: str
    mean: float
    interval: Interval
    differences: tuple[float, ...]


def compare_runs(
    *,
    store: Store,
    run_id_a: str,
    run_id_b: str,
    n_bootstrap: int = DRAWS,
    seed: int = 0,
) -> list[Comparison]:
    """Compare run b with run a and write ``run_comparisons`` in one commit.

    Raises:
        EvaluationError: The runs have different findings or test images (the difference is listed).
    """
    first, second = open_pair(store=store, run_id_a=run_id_a, run_id_b=run_id_b)
    resampling = Resampling(n_draws=n_bootstrap, seed=seed)
    rows: list[Comparison] = []
    for finding in first.findings:
        rows.extend(
            _bootstrap_row(draws) for draws in paired_draws(first, second, finding, resampling)
        )
        delong_row = _delong_row(first, second, finding)
        rows.extend([] if delong_row is None else [delong_row])
    rows = holm_corrected(rows)
    table = pa.Table.from_pylist(
        [{"run_id_a": run_id_a, "run_id_b": run_id_b, **vars(row)} for row in rows],
        schema=RUN_COMPARISONS.schema,
    )
    configuration = {
        "run_id_a": run_id_a,
        "run_id_b": run_id_b,
        "n_bootstrap": n_bootstrap,
        "seed": seed,
    }
    with store.commit(stage="compare", configuration=configuration, run_id=run_id_b) as commit:
        commit.uses(*INPUT_TABLES, at=first.version)
        where = {"run_id_a": run_id_a, "run_id_b": run_id_b}
        commit.replace(RUN_COMPARISONS, table, where=where)
    return rows


def mean_difference(
    *,
    store: Store,
    run_id_pairs: Sequence[tuple[str, str]],
    n_bootstrap: int = DRAWS,
    seed: int = 0,
) -> list[MeanDifference]:
    """Mean paired difference (b minus a) over pairs of runs, for every finding and metric.

    Pairs on the same test patients (seeds of one fold) share their draws; folds have patients of
    their own. The interval resamples pairs too, so that it holds for another seed as well.

    Raises:
        EvaluationError: As :func:`compare_runs`.
    """
    resampling = Resampling(n_draws=n_bootstrap, seed=seed)
    collected: dict[tuple[str, str], list[PairedDraws]] = {}
    for run_id_a, run_id_b in run_id_pairs:
        first, second = open_pair(store=store, run_id_a=run_id_a, run_id_b=run_id_b)
        for finding in first.findings:
            for draws in paired_draws(first, second, finding, resampling):
                collected.setdefault((finding, draws.metric), []).append(draws)
    generator = np.random.default_rng(np.random.SeedSequence([seed, len(run_id_pairs)]))
    results = []
    for (finding, metric), pairs in collected.items():
        picks = generator.integers(0, len(pairs), size=(n_bootstrap, len(pairs)))
        matrix = np.stack([pair.draws for pair in pairs], axis=1)
        means = np.take_along_axis(matrix, picks, axis=1).mean(axis=1)
        differences = tuple(pair.difference for pair in pairs)
        results.append(
            MeanDifference(
                finding,
                metric,
                float(np.mean(differences)),
                percentile_interval(means),
                differences,
            )
        )
    return results


def open_pair(*, store: Store, run_id_a: str, run_id_b: str) -> tuple[ScoredRun, ScoredRun]:
    """Two runs on the same test images.

    Raises:
        EvaluationError: Findings or test images differ.
    """
    first = ScoredRun(store=store, run_id=run_id_a)
    second = ScoredRun(store=store, run_id=run_id_b, version=first.version)
    if set(first.findings) != set(second.findings):
        raise EvaluationError(
            f"runs {run_id_a} and {run_id_b} have different findings "
            f"({', '.join(sorted(first.findings))} against {', '.join(sorted(second.findings))}). "
            "Compare runs of one recipe."
        )
    ids_a, ids_b = _test_ids(first), _test_ids(second)
    if ids_a != ids_b:
        only = [
            f"only in {run.run_id}: {len(ids)} ({listed(ids)})"
            for run, ids in ((first, ids_a - ids_b), (second, ids_b - ids_a))
            if ids
        ]
        raise EvaluationError(
            f"runs {run_id_a} and {run_id_b} have different test images; {'; '.join(only)}. "
            "Compare runs of one fold and cohort."
        )
    return first, second


def paired_draws(
    first: ScoredRun, second: ScoredRun, finding: str, resampling: Resampling
) -> list[PairedDraws]:
    """Differences of AUROC, average precision and, where there are maps and boxes, FROC score."""
    images = [test_images(run, finding, "student") for run in (first, second)]
    positive = images[0].is_positive
    bootstrap = resampling.of(images[0], positive)
    draws_a, draws_b = (
        bootstrap_classification(chosen.scores, positive, bootstrap, np.zeros(0))
        for chosen in images
    )
    area_a, area_b = (auroc(chosen.scores, positive) for chosen in images)
    precision_a, precision_b = (average_precision(chosen.scores, positive) for chosen in images)
    results = [
        PairedDraws(
            finding, "auroc", AUROC_PROTOCOL, area_b - area_a, draws_b.auroc - draws_a.auroc
        ),
        PairedDraws(
            finding,
            "average_precision",
            AUROC_PROTOCOL,
            precision_b - precision_a,
            draws_b.average_precision - draws_a.average_precision,
        ),
    ]
    counted = [
        count_froc(run, chosen, finding)
        for run, chosen in zip((first, second), images, strict=True)
    ]
    scores, draws = [], []
    for pair in counted:
        if pair is None:
            return results
        chosen, counts = pair
        rows = false_positive_rows(chosen, "R+N")
        has_box = np.bincount(counts.box_rows, minlength=counts.n_images) > 0
        recalls = froc_draws(
            counts,
            resampling.of(chosen, has_box),
            FALSE_POSITIVE_RATIOS,
            rows=rows,
            denominator="whole_image",
        )
        scores.append(froc_curve(counts, false_positive_rows=rows).score())
        draws.append(recalls.mean(axis=1))
    results.append(
        PairedDraws(
            finding, "froc_score", FROC_PROTOCOL, scores[1] - scores[0], draws[1] - draws[0]
        )
    )
    return results


def holm_corrected(rows: list[Comparison]) -> list[Comparison]:
    """Fill ``p_value_holm`` of the primary comparisons, corrected together (Holm 1979)."""
    primary = [
        index
        for index, row in enumerate(rows)
        if row.method == "paired bootstrap" and row.metric in PRIMARY_METRICS
    ]
    corrected = list(rows)
    running = 0.0
    for rank, index in enumerate(sorted(primary, key=lambda index: rows[index].p_value)):
        running = max(running, min(1.0, rows[index].p_value * (len(primary) - rank)))
        corrected[index] = replace(rows[index], p_value_holm=running)
    return corrected


def _bootstrap_row(paired: PairedDraws) -> Comparison:
    interval = percentile_interval(paired.draws)
    return Comparison(
        finding=paired.finding,
        metric=paired.metric,
        difference=paired.difference,
        ci_low=interval.low,
        ci_high=interval.high,
        p_value=two_sided_p(paired.draws),
        p_value_holm=None,
        method="paired bootstrap",
        protocol=paired.protocol,
    )


def _delong_row(first: ScoredRun, second: ScoredRun, finding: str) -> Comparison | None:
    images = [test_images(run, finding, "student") for run in (first, second)]
    positive = images[0].is_positive
    is_one_each = len(set(images[0].patient_ids)) == len(images[0].patient_ids)
    if not is_one_each or min(int(positive.sum()), int((~positive).sum())) < 2:
        return None
    result = compare_aurocs(images[0].scores, images[1].scores, positive)
    return Comparison(
        finding=finding,
        metric="auroc",
        difference=result.difference,
        ci_low=result.interval.low,
        ci_high=result.interval.high,
        p_value=result.p_value,
        p_value_holm=None,
        method="DeLong",
        protocol=AUROC_PROTOCOL,
    )


def _test_ids(run: ScoredRun) -> set[str]:
    return {image.image_id for image in run.cohort.values() if image.split == "test"}
