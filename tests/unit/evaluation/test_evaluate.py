"""Evaluation over a fabricated warehouse: the right numbers, and refusals with clear messages."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fabricated_warehouse import FINDINGS, GEOMETRY, rewrite
from sklearn.metrics import roc_auc_score

from evaluation.comparison import compare_runs, holm_corrected, mean_difference
from evaluation.evaluate import evaluate_run
from evaluation.froc import froc_counts, froc_curve
from evaluation.score_maps import ScoredImage, ValidArea
from evaluation.scored_run import Geometry
from warehouse_schema.errors import EvaluationError
from warehouse_schema.pixel_shards import open_array, write_array
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import CONSENSUS_BOXES
from warehouse_schema.tables.evaluation import (
    EVALUATION_REPORTS,
    FROC_POINTS,
    ROC_POINTS,
    RUN_COMPARISONS,
)
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.runs import LINEAGE, PREDICTIONS, TRAINING_RUNS

SUPERVISED, AALS = "supervised-0-1-aa", "aals-0-1-bb"
DRAWS = 60
Rows = list[dict[str, Any]]


def test_numbers_equal_an_independent_computation(store: Store) -> None:
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    reported = {
        (row["finding"], row["metric"], row["protocol"]): row
        for row in store.read(EVALUATION_REPORTS).to_pylist()
    }
    subset = {row["image_id"]: row["subset"] for row in store.read(COHORT).to_pylist()}
    label = {
        (r["image_id"], r["finding"]): r["label"] for r in store.read(IMAGE_LABELS).to_pylist()
    }
    predictions = store.read(PREDICTIONS, where={"run_id": AALS, "split": "test"}).to_pylist()
    for finding in FINDINGS:
        chosen = [row for row in predictions if row["finding"] == finding]
        truth = [label[row["image_id"], finding] == "positive" for row in chosen]
        row = reported[finding, "auroc", "test/all/whole/student"]
        assert row["value"] == pytest.approx(roc_auc_score(truth, [r["score"] for r in chosen]))
        assert (row["n_positive"], row["n_negative"]) == (sum(truth), len(truth) - sum(truth))
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        counts = froc_counts(
            [_scored(store, r) for r in chosen if subset[r["image_id"]] in {"R", "N"}]
        )
        curve = froc_curve(counts)
        row = reported[finding, "froc_score", "test/R+N/whole/student"]
        assert row["value"] == pytest.approx(curve.score(), abs=1e-12)
        assert row["n_positive"] == len(counts.box_scores)
        where = {"finding": finding, "protocol": "test/R+N/whole/student"}
        points = store.read(FROC_POINTS, where=where).to_pylist()
        assert [point["recall"] for point in points] == pytest.approx(curve.recalls.tolist())
        assert points[0]["threshold"] is None


def _scored(store: Store, row: dict[str, Any]) -> ScoredImage:
    """Boxes brought into the frame by the published formula, cache = source * scale + pad."""
    maps = open_array(store.home.root / row["map_path"])
    where = {"image_id": row["image_id"], "finding": row["finding"]}
    boxes = [
        (
            box["x_px"] * GEOMETRY["scale"] + GEOMETRY["pad_left_px"],
            box["y_px"] * GEOMETRY["scale"] + GEOMETRY["pad_top_px"],
            (box["x_px"] + box["width_px"]) * GEOMETRY["scale"] + GEOMETRY["pad_left_px"],
            (box["y_px"] + box["height_px"]) * GEOMETRY["scale"] + GEOMETRY["pad_top_px"],
        )
        for box in store.read(CONSENSUS_BOXES, where=where).to_pylist()
    ]
    score_map = np.asarray(maps[row["map_row"]], dtype=np.uint16)
    return ScoredImage(score_map, np.array(boxes).reshape(-1, 4), ValidArea(0, 96, 8, 88))


def test_evaluating_twice_gives_the_same_rows_and_lineage(store: Store) -> None:
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    first = store.read(EVALUATION_REPORTS)
    evaluate_run(store=store, run_id=SUPERVISED, n_bootstrap=DRAWS)
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    assert store.read(EVALUATION_REPORTS, where={"run_id": AALS}).equals(first)
    assert len(store.read(EVALUATION_REPORTS, where={"run_id": SUPERVISED})) == len(first)
    inputs = store.read(LINEAGE, where={"stage": "evaluate", "run_id": AALS}).to_pylist()
    assert {"predictions", "cohort", "consensus_boxes"} <= {row["input_table"] for row in inputs}


def test_the_analyst_asks_in_sql(store: Store) -> None:
    summary = evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    sql = "SELECT run_id, finding, metric, value, ci_low, ci_high FROM evaluation_reports"
    answer = run_query(store, sql).to_pylist()
    assert {row["value"] for row in answer} == set(summary.metrics.values())
    metrics = {row["metric"] for row in answer}
    assert {"auroc", "auroc_delong", "average_precision", "froc_score"} <= metrics
    assert {"sensitivity@youden", "specificity@sensitivity_90", "threshold@youden"} <= metrics


def test_roc_points_rise_within_their_band(store: Store) -> None:
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    where = {"finding": "rib_fracture", "protocol": "test/all/whole/student"}
    points = store.read(ROC_POINTS, where=where).to_pylist()
    rates = [(point["false_positive_rate"], point["true_positive_rate"]) for point in points]
    assert rates == sorted(rates)
    assert rates[-1] == (1.0, 1.0)
    assert all(point["ci_low"] <= point["ci_high"] for point in points)


def test_an_uncertain_label_leaves_the_image_out_for_that_finding_alone(store: Store) -> None:
    rows = store.read(IMAGE_LABELS).to_pylist()
    test = {r["image_id"] for r in store.read(COHORT, where={"split": "test"}).to_pylist()}
    masked = next(r for r in rows if r["image_id"] in test and r["label"] == "negative")
    before = evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    counts = _n_images(store)
    masked["label"] = "uncertain"
    rewrite(store, IMAGE_LABELS, rows)
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    after = _n_images(store)
    assert before.metrics
    for finding in FINDINGS:
        assert counts[finding] - after[finding] == (1 if finding == masked["finding"] else 0)


def _n_images(store: Store) -> dict[str, int]:
    rows = store.read(EVALUATION_REPORTS, where={"metric": "auroc"}).to_pylist()
    return {
        row["finding"]: row["n_positive"] + row["n_negative"]
        for row in rows
        if row["protocol"] == "test/all/whole/student"
    }


def test_a_method_without_maps_has_no_froc(store: Store) -> None:
    rows = store.read(PREDICTIONS).to_pylist()
    for row in rows:
        row["map_path"] = row["map_row"] = None
    rewrite(store, PREDICTIONS, rows)
    summary = evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    assert summary.metrics["rib_fracture", "froc_score", "test/R+N/whole/student"] is None
    assert any("no FROC" in note for note in summary.notes)


def test_geometry_of_a_smaller_frame() -> None:
    geometry = Geometry(96, 0.05, 8, 0, 80, 96)
    box = {"x_px": 400.0, "y_px": 600.0, "width_px": 200.0, "height_px": 100.0}
    assert geometry.box_in_frame(box, 96) == pytest.approx((28, 30, 38, 35))
    assert geometry.box_in_frame(box, 48) == pytest.approx((14, 15, 19, 17.5))
    assert geometry.valid_area(48) == ValidArea(0, 48, 4, 44)
    assert Geometry(96, 0.05, 7, 0, 81, 96).valid_area(48) == ValidArea(0, 48, 3, 44)


def _drop_test_image(rows: Rows) -> None:
    gone = next(r["image_id"] for r in rows if r["split"] == "test")
    rows[:] = [r for r in rows if r["image_id"] != gone]


def _nan_score(rows: Rows) -> None:
    rows[0]["score"] = float("nan")


def _unknown_image(rows: Rows) -> None:
    rows.append(rows[0] | {"image_id": "img-unknown"})


def _moved_image(rows: Rows) -> None:
    rows[0]["split"] = {"test": "validation", "validation": "test"}[rows[0]["split"]]


def _unlike_its_map(rows: Rows) -> None:
    next(r for r in rows if r["split"] == "test")["score"] = 0.123


def _no_such_row(rows: Rows) -> None:
    for row in rows:
        row["map_row"] += 10_000


def _outside_home(rows: Rows) -> None:
    for row in rows:
        row["map_path"] = "../maps.npy"


def _nothing(rows: Rows) -> None:
    rows.clear()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop_test_image, r"1 of \d+ test images have none for \w+: img-0000\. Run `ribline"),
        (_nan_score, r"1 images have a score that is NaN or outside 0 to 1: img-"),
        (_unknown_image, r"1 images are not in fold 0 of the cohort: img-unknown"),
        (_moved_image, r"1 images have changed split"),
        (_unlike_its_map, r"1 scores of \w+ are not the maximum"),
        (_no_such_row, r"has \d+ maps, row \d+ was asked for"),
        (_outside_home, r"map_path leaves the home folder"),
        (_nothing, r"has no predictions\. Run `ribline predict` first"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    store: Store, spoil: Callable[[Rows], None], message: str
) -> None:
    rows = store.read(PREDICTIONS, where={"run_id": AALS}).to_pylist()
    spoil(rows)
    rewrite(store, PREDICTIONS, rows)
    with pytest.raises(EvaluationError, match=message):
        evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    assert len(store.read(EVALUATION_REPORTS)) == 0


def test_a_finding_without_positives_is_refused(store: Store) -> None:
    rows = store.read(IMAGE_LABELS).to_pylist()
    for row in rows:
        if row["finding"] == "clavicle_fracture":
            row["label"] = "negative"
    rewrite(store, IMAGE_LABELS, rows)
    with pytest.raises(EvaluationError, match=r"finding clavicle_fracture: .* 0 positive and"):
        evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)


def test_maps_of_different_sizes_are_refused(store: Store) -> None:
    path = store.home.runs / AALS / "maps" / "clavicle_fracture.npy"
    write_array(path, np.zeros((len(open_array(path)), 48, 48), np.uint16))
    with pytest.raises(EvaluationError, match=r"different sizes \(48 x 48, 96 x 96 pixels\)"):
        evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)


def test_maps_of_another_type_are_refused(store: Store) -> None:
    path = store.home.runs / AALS / "maps" / "rib_fracture.npy"
    write_array(path, open_array(path).astype(np.float32))
    with pytest.raises(EvaluationError, match=r"float32 of shape .* uint16 of shape"):
        evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)


def test_an_unknown_run_is_refused(store: Store) -> None:
    with pytest.raises(EvaluationError, match="there is no training run nobody"):
        evaluate_run(store=store, run_id="nobody")


def test_comparison_has_both_metrics_and_corrected_p_values(store: Store) -> None:
    compare_runs(store=store, run_id_a=SUPERVISED, run_id_b=AALS, n_bootstrap=DRAWS)
    compare_runs(store=store, run_id_a=SUPERVISED, run_id_b=AALS, n_bootstrap=DRAWS)
    rows = store.read(RUN_COMPARISONS).to_pylist()
    kinds = {(row["finding"], row["metric"], row["method"]) for row in rows}
    for finding in FINDINGS:
        assert (finding, "auroc", "DeLong") in kinds
        assert (finding, "auroc", "paired bootstrap") in kinds
        assert (finding, "average_precision", "paired bootstrap") in kinds
        assert (finding, "froc_score", "paired bootstrap") in kinds
        assert (finding, "froc_score", "permutation") in kinds
    assert len(rows) == 10
    for row in rows:
        is_bootstrap = row["method"] == "paired bootstrap"
        is_primary = is_bootstrap and row["metric"] in {"auroc", "froc_score"}
        assert (row["p_value_holm"] is not None) == is_primary
        assert row["n_corrected"] == (4 if is_primary else None)
        if row["method"] == "permutation":
            assert row["ci_low"] is None
        else:
            assert row["ci_low"] <= row["difference"] <= row["ci_high"]


def test_a_run_compared_with_itself_does_not_differ(store: Store) -> None:
    rows = compare_runs(store=store, run_id_a=AALS, run_id_b=AALS, n_bootstrap=DRAWS)
    assert {(row.difference, row.p_value) for row in rows} == {(0.0, 1.0)}
    assert {(row.ci_low, row.ci_high) for row in rows} == {(0.0, 0.0), (None, None)}


def test_mean_difference_over_pairs(store: Store) -> None:
    results = mean_difference(
        store=store, run_id_pairs=[(SUPERVISED, AALS), (AALS, AALS)], n_bootstrap=DRAWS
    )
    single = compare_runs(store=store, run_id_a=SUPERVISED, run_id_b=AALS, n_bootstrap=DRAWS)
    for result in results:
        expected = next(
            row.difference
            for row in single
            if (row.finding, row.metric) == (result.finding, result.metric)
        )
        assert result.differences == (pytest.approx(expected), 0.0)
        assert result.mean == pytest.approx(expected / 2)
        assert result.interval.low <= result.mean <= result.interval.high


def test_holm_is_monotone_and_capped(store: Store) -> None:
    rows = compare_runs(store=store, run_id_a=SUPERVISED, run_id_b=AALS, n_bootstrap=DRAWS)
    primary = sorted(
        (row for row in holm_corrected(rows) if row.p_value_holm is not None),
        key=lambda row: row.p_value,
    )
    corrected = [row.p_value_holm for row in primary]
    assert corrected == sorted(corrected)  # type: ignore[type-var]
    assert corrected[0] == pytest.approx(min(1.0, 4 * primary[0].p_value))
    assert max(corrected) <= 1.0  # type: ignore[type-var]


def test_runs_on_different_test_images_are_refused_with_the_difference(store: Store) -> None:
    cohort = store.read(COHORT).to_pylist()
    other = [row | {"fold": 1} for row in cohort if row["image_id"] != "img-0000"]
    rewrite(store, COHORT, cohort + other)
    training_runs = store.read(TRAINING_RUNS).to_pylist()
    next(row for row in training_runs if row["run_id"] == AALS)["fold"] = 1
    rewrite(store, TRAINING_RUNS, training_runs)
    rows = store.read(PREDICTIONS).to_pylist()
    rewrite(
        store,
        PREDICTIONS,
        [r for r in rows if r["run_id"] == SUPERVISED or r["image_id"] != "img-0000"],
    )
    with pytest.raises(EvaluationError, match=r"only in supervised-0-1-aa: 1 \(img-0000\)"):
        compare_runs(store=store, run_id_a=SUPERVISED, run_id_b=AALS, n_bootstrap=DRAWS)


def test_runs_with_different_findings_are_refused(store: Store) -> None:
    training_runs = store.read(TRAINING_RUNS).to_pylist()
    next(row for row in training_runs if row["run_id"] == AALS)["findings"] = "rib_fracture"
    rewrite(store, TRAINING_RUNS, training_runs)
    with pytest.raises(EvaluationError, match="different findings"):
        compare_runs(store=store, run_id_a=SUPERVISED, run_id_b=AALS, n_bootstrap=DRAWS)


def test_each_source_of_the_test_split_is_measured_alone(store: Store) -> None:
    before = evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS).metrics
    test = store.read(COHORT, where={"fold": 0, "split": "test"}).to_pylist()
    external = {row["patient_id"] for row in test[::2]}
    rows = [
        {**row, "source": "elsewhere" if row["patient_id"] in external else row["source"]}
        for row in store.read(COHORT).to_pylist()
    ]
    rewrite(store, COHORT, rows)
    metrics = evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS).metrics
    # The hospital's prevalence is that of the sources trained on, and so changes.
    same = {key: value for key, value in before.items() if "_hospital" not in key[1]}
    assert {key: metrics[key] for key in same} == pytest.approx(same, nan_ok=True)
    sources = {row["image_id"]: row["source"] for row in store.read(COHORT).to_pylist()}
    labels = {
        (row["image_id"], row["finding"]): row["label"]
        for row in store.read(IMAGE_LABELS).to_pylist()
    }
    where = {"run_id": AALS, "split": "test", "network": "student"}
    predictions = store.read(PREDICTIONS, where=where).to_pylist()
    for source in ("elsewhere", "fabricated"):
        for finding in FINDINGS:
            rows = [
                row
                for row in predictions
                if row["finding"] == finding and sources[row["image_id"]] == source
            ]
            truth = [labels[row["image_id"], finding] == "positive" for row in rows]
            found = metrics[finding, "auroc", f"test/{source}/whole/student"]
            assert found == pytest.approx(roc_auc_score(truth, [row["score"] for row in rows]))
    protocols = {protocol for _, metric, protocol in metrics if metric == "froc_score"}
    assert "test/elsewhere R+N/whole/student" in protocols
    board = run_query(store, "SELECT run_id, finding, auroc FROM leaderboard").to_pylist()
    assert {row["finding"]: row["auroc"] for row in board} == {
        finding: pytest.approx(before[finding, "auroc", "test/all/whole/student"])
        for finding in FINDINGS
    }
