"""One method over its folds: means, pooled numbers, and runs that do not belong together."""

from typing import Any

import numpy as np
import pytest
from fabricated_warehouse import FINDINGS, rewrite
from sklearn.metrics import roc_auc_score

from evaluation.evaluate import evaluate_run
from evaluation.folds import summarise_folds
from evaluation.froc import froc_counts, froc_curve
from evaluation.scored_run import ScoredRun
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import FOLD_SUMMARIES
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

SUPERVISED, AALS = "supervised-0-1-aa", "aals-0-1-bb"
DRAWS = 60


@pytest.fixture
def folds(store: Store) -> Store:
    """The second run becomes the first one's method on fold 1, which tests on other images."""
    cohort = store.read(COHORT).to_pylist()
    turned = {"test": "train", "train": "train", "validation": "test"}
    other = [row | {"fold": 1, "split": turned[row["split"]]} for row in cohort]
    rewrite(store, COHORT, cohort + other)
    _change(store, TRAINING_RUNS, AALS, fold=1, method="supervised")
    predictions = store.read(PREDICTIONS).to_pylist()
    kept = [row for row in predictions if row["run_id"] == SUPERVISED] + [
        row | {"fold": 1, "split": "test"}
        for row in predictions
        if row["run_id"] == AALS and row["split"] == "validation"
    ]
    rewrite(store, PREDICTIONS, kept)
    return store


def _change(store: Store, table: Any, run_id: str, **values: object) -> None:
    rows = store.read(table).to_pylist()
    next(row for row in rows if row["run_id"] == run_id).update(values)
    rewrite(store, table, rows)


def summarise(store: Store, *run_ids: str) -> dict[tuple[str, str, str], Any]:
    rows = summarise_folds(store=store, run_ids=run_ids, n_bootstrap=DRAWS)
    return {(row.finding, row.metric, row.summary): row for row in rows}


def test_mean_and_pooled_equal_an_independent_computation(folds: Store) -> None:
    found = summarise(folds, AALS, SUPERVISED)
    labels = {
        (row["image_id"], row["finding"]): row["label"] == "positive"
        for row in folds.read(IMAGE_LABELS).to_pylist()
    }
    for finding in FINDINGS:
        where = {"split": "test", "finding": finding}
        rows = folds.read(PREDICTIONS, where=where).to_pylist()
        truth = np.array([labels[row["image_id"], finding] for row in rows])
        scores = np.array([row["score"] for row in rows])
        is_first = np.array([row["run_id"] == SUPERVISED for row in rows])
        areas = [roc_auc_score(truth[chosen], scores[chosen]) for chosen in (is_first, ~is_first)]
        mean, pooled = (found[finding, "auroc", name] for name in ("mean", "pooled"))
        assert mean.value == pytest.approx(np.mean(areas))
        assert mean.fold_sd == pytest.approx(np.std(areas, ddof=1))
        assert pooled.value == pytest.approx(roc_auc_score(truth, scores))
        assert pooled.fold_sd is None
        assert (mean.n_folds, mean.n_positive) == (2, truth.sum())
        for row in (mean, pooled):
            assert row.ci_low <= row.value <= row.ci_high


def test_pooled_froc_is_that_of_all_maps_together(folds: Store) -> None:
    found = summarise(folds, SUPERVISED, AALS)
    for finding in FINDINGS:
        walked, scores = [], []
        for run_id in (SUPERVISED, AALS):
            run = ScoredRun(store=folds, run_id=run_id)
            images = run.images(finding=finding, network="student", split="test")
            rows = [
                row
                for row, image_id in enumerate(images.image_ids)
                if images.subsets[row] in {"R", "N"}
                and (not images.is_positive[row] or (image_id, finding) in run.boxes)
            ]
            chosen = list(run.walk(images, np.array(rows), finding))
            scores.append(froc_curve(froc_counts(chosen)).score())
            walked += chosen
        pooled = froc_curve(froc_counts(walked)).score()
        assert found[finding, "froc_score", "pooled"].value == pytest.approx(pooled, abs=1e-12)
        assert found[finding, "froc_score", "mean"].value == pytest.approx(np.mean(scores))


def test_summaries_do_not_depend_on_the_order_of_runs(folds: Store) -> None:
    summarise(folds, SUPERVISED, AALS)
    first = folds.read(FOLD_SUMMARIES)
    summarise(folds, AALS, SUPERVISED)
    assert folds.read(FOLD_SUMMARIES).equals(first)
    assert set(first["run_ids"].to_pylist()[0]) == {SUPERVISED, AALS}


def test_one_fold_alone_is_its_own_mean(folds: Store) -> None:
    found = summarise(folds, SUPERVISED)
    evaluate_run(store=folds, run_id=SUPERVISED, n_bootstrap=DRAWS)
    for finding in FINDINGS:
        mean, pooled = (found[finding, "auroc", name] for name in ("mean", "pooled"))
        assert mean.value == pooled.value
        assert mean.fold_sd is None


def test_a_fold_without_maps_leaves_the_froc_out(folds: Store) -> None:
    rows = folds.read(PREDICTIONS).to_pylist()
    for row in rows:
        if row["run_id"] == AALS:
            row["map_path"] = row["map_row"] = None
    rewrite(folds, PREDICTIONS, rows)
    assert {metric for _, metric, _ in summarise(folds, SUPERVISED, AALS)} == {
        "auroc",
        "average_precision",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "aals"}, r"differ in their method \(aals; supervised\)"),
        ({"recipe": "paper"}, r"differ in their recipe \(demo; paper\)"),
        ({"fold": 0}, r"two runs are of one fold \(folds 0, 0\)"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    folds: Store, changes: dict[str, Any], message: str
) -> None:
    _change(folds, TRAINING_RUNS, AALS, **changes)
    if changes == {"fold": 0}:
        rows = folds.read(PREDICTIONS, where={"run_id": SUPERVISED}).to_pylist()
        rewrite(folds, PREDICTIONS, rows + [row | {"run_id": AALS} for row in rows])
    with pytest.raises(EvaluationError, match=message):
        summarise(folds, SUPERVISED, AALS)


def test_no_run_is_refused(store: Store) -> None:
    with pytest.raises(EvaluationError, match="no run was named"):
        summarise(store)


def test_a_test_image_in_two_folds_is_refused(folds: Store) -> None:
    cohort = folds.read(COHORT).to_pylist()
    twice = next(row for row in cohort if row["fold"] == 0 and row["split"] == "test")
    for row in cohort:
        if row["image_id"] == twice["image_id"]:
            row["split"] = "test"
    rewrite(folds, COHORT, cohort)
    with pytest.raises(EvaluationError, match=rf"shares 1 test images .*: {twice['image_id']}"):
        summarise(folds, SUPERVISED, AALS)
