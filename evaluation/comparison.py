"""Paired differences between two runs on the same test images, b minus a.

Both runs are resampled with the same patients, so their difference has an interval of its own.
AUROC is also compared with DeLong's test where there is one image per patient, and the FROC score
with a permutation test. The primary comparisons of a pair are AUROC and the FROC score of every
finding by paired bootstrap on the student; their p values are corrected together after Holm. All
other p values stand uncorrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.auroc import auroc, average_precision, bootstrap_classification
from evaluation.bootstrap import DRAWS, Interval, percentile_interval, two_sided_p
from evaluation.delong import compare_aurocs
from evaluation.evaluate import test_images
from evaluation.froc import FALSE_POSITIVE_RATIOS, FrocCounts, froc_curve
from evaluation.froc_metrics import false_positive_rows, froc_bootstrap, froc_draws
from evaluation.map_counts import count_pixels
from evaluation.metric import Resampling
from evaluation.permutation import permutation_p
from evaluation.scored_run import INPUT_TABLES, ScoredImages, ScoredRun, listed
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
    ci_low: float | None
    ci_high: float | None
    p_value: float
    p_value_holm: float | None
    n_corrected: int | None
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
class FindingPair:
    """One finding's test images as both runs score them.

    ``froc``: the images of the FROC with both runs' counts; None without maps or boxes.
    """

    finding: str
    images: tuple[ScoredImages, ScoredImages]
    froc: tuple[ScoredImages, tuple[FrocCounts, FrocCounts]] | None


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
        pair = finding_pair(first, second, finding)
        rows.extend(_bootstrap_row(draws) for draws in paired_draws(pair, resampling))
        rows.extend([*_delong_rows(pair), *_permutation_rows(pair, resampling)])
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
            pair = finding_pair(first, second, finding)
            for draws in paired_draws(pair, resampling):
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


def finding_pair(first: ScoredRun, second: ScoredRun, finding: str) -> FindingPair:
    """The scores and counts of one finding from both runs.

    Raises:
        EvaluationError: As :func:`evaluation.evaluate.evaluate_run`.
    """
    images = [test_images(run, finding, "student") for run in (first, second)]
    counted = [
        count_pixels(run, chosen, finding)
        for run, chosen in zip((first, second), images, strict=True)
    ]
    froc = None
    if counted[0] is not None and counted[1] is not None:
        froc = counted[0][0], (counted[0][1], counted[1][1])
    return FindingPair(finding, (images[0], images[1]), froc)


def paired_draws(pair: FindingPair, resampling: Resampling) -> list[PairedDraws]:
    """Differences of AUROC, average precision and, where there are maps and boxes, FROC score."""
    positive = pair.images[0].is_positive
    bootstrap = resampling.of(pair.images[0], positive)
    draws_a, draws_b = (
        bootstrap_classification(chosen.scores, positive, bootstrap, np.zeros(0))
        for chosen in pair.images
    )
    area_a, area_b = (auroc(chosen.scores, positive) for chosen in pair.images)
    precision_a, precision_b = (average_precision(i.scores, positive) for i in pair.images)
    results = [
        PairedDraws(
            pair.finding, "auroc", AUROC_PROTOCOL, area_b - area_a, draws_b.auroc - draws_a.auroc
        ),
        PairedDraws(
            pair.finding,
            "average_precision",
            AUROC_PROTOCOL,
            precision_b - precision_a,
            draws_b.average_precision - draws_a.average_precision,
        ),
    ]
    if pair.froc is None:
        return results
    images, both = pair.froc
    rows = false_positive_rows(images, "R+N")
    scores = [froc_curve(counts, false_positive_rows=rows).score() for counts in both]
    draws = [
        froc_draws(
            counts,
            froc_bootstrap(images, counts, resampling),
            FALSE_POSITIVE_RATIOS,
            rows=rows,
            denominator="whole_image",
        ).mean(axis=1)
        for counts in both
    ]
    results.append(
        PairedDraws(
            pair.finding, "froc_score", FROC_PROTOCOL, scores[1] - scores[0], draws[1] - draws[0]
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
        corrected[index] = replace(rows[index], p_value_holm=running, n_corrected=len(primary))
    return corrected


def _bootstrap_row(paired: PairedDraws) -> Comparison:
    interval = percentile_interval(paired.draws)
    return _row(
        paired.finding,
        paired.metric,
        "paired bootstrap",
        difference=paired.difference,
        interval=interval,
        p_value=two_sided_p(paired.draws),
    )


def _delong_rows(pair: FindingPair) -> list[Comparison]:
    """DeLong's test; none where patients have several images or a class has fewer than two."""
    positive = pair.images[0].is_positive
    if not pair.images[0].is_one_each or min(int(positive.sum()), int((~positive).sum())) < 2:
        return []
    result = compare_aurocs(pair.images[0].scores, pair.images[1].scores, positive)
    return [
        _row(
            pair.finding,
            "auroc",
            "DeLong",
            difference=result.difference,
            interval=result.interval,
            p_value=result.p_value,
        )
    ]


def _permutation_rows(pair: FindingPair, resampling: Resampling) -> list[Comparison]:
    """The permutation test of the FROC score; it has no interval."""
    if pair.froc is None:
        return []
    images, (first, second) = pair.froc
    p_value = permutation_p(
        first,
        second,
        patient_ids=images.patient_ids,
        seed=resampling.seed,
        n_draws=resampling.n_draws,
    )
    difference = froc_curve(second).score() - froc_curve(first).score()
    return [
        _row(
            pair.finding,
            "froc_score",
            "permutation",
            difference=difference,
            interval=None,
            p_value=p_value,
        )
    ]


def _row(
    finding: str,
    metric: str,
    method: str,
    *,
    difference: float,
    interval: Interval | None,
    p_value: float,
) -> Comparison:
    return Comparison(
        finding=finding,
        metric=metric,
        difference=difference,
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        p_value=p_value,
        p_value_holm=None,
        n_corrected=None,
        method=method,
        protocol=FROC_PROTOCOL if metric == "froc_score" else AUROC_PROTOCOL,
    )


def _test_ids(run: ScoredRun) -> set[str]:
    return {image.image_id for image in run.cohort.values() if image.split == "test"}
