"""The result tables of an evaluation: subgroups, calibration, operating points, the queue."""

from typing import Any

import numpy as np
import pytest
from fabricated_warehouse import FINDINGS, rewrite
from sklearn.metrics import roc_auc_score

from evaluation.bootstrap import PatientBootstrap
from evaluation.evaluate import evaluate_run
from evaluation.operating_points import choose_threshold, predictive_values, wilson_interval
from evaluation.subgroup_metrics import weighted_slope
from evaluation.subgroups import age_band, fracture_count, ordered_levels
from warehouse_schema.errors import ArgumentError, EvaluationError
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import CONSENSUS_BOXES
from warehouse_schema.tables.evaluation import (
    CALIBRATION_MAPS,
    CALIBRATION_POINTS,
    EVALUATION_REPORTS,
    LESION_FROC_POINTS,
    SUBGROUP_METRICS,
)
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.tables.runs import PREDICTIONS

AALS = "aals-0-1-bb"
DRAWS = 60
STUDENT = "test/all/whole/student"
Rows = list[dict[str, Any]]


def evaluate(store: Store, **rest: Any) -> None:
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS, **rest)


def scored(store: Store, finding: str, split: str = "test") -> Rows:
    """Predictions with label, image row and number of boxes."""
    of_finding = {"finding": finding}
    labels = {
        row["image_id"]: row for row in store.read(IMAGE_LABELS, where=of_finding).to_pylist()
    }
    images = {row["image_id"]: row for row in store.read(IMAGES).to_pylist()}
    boxed = store.read(CONSENSUS_BOXES, where=of_finding)["image_id"].to_pylist()
    where = {"run_id": AALS, "finding": finding, "split": split, "network": "student"}
    return [
        {
            **images[row["image_id"]],
            "score": row["score"],
            "positive": labels[row["image_id"]]["label"] == "positive",
            "tier": labels[row["image_id"]]["visibility_tier"],
            "n_boxes": boxed.count(row["image_id"]),
        }
        for row in store.read(PREDICTIONS, where=where).to_pylist()
    ]


def reported(store: Store, finding: str) -> dict[tuple[str, str], dict[str, Any]]:
    where = {"finding": finding}
    rows = store.read(EVALUATION_REPORTS, where=where).to_pylist()
    return {(row["metric"], row["protocol"]): row for row in rows}


def subgroup(store: Store, finding: str, attribute: str) -> dict[tuple[str, str], dict[str, Any]]:
    where = {"finding": finding, "attribute": attribute}
    rows = store.read(SUBGROUP_METRICS, where=where).to_pylist()
    return {(row["level"], row["metric"]): row for row in rows}


@pytest.fixture(scope="module")
def evaluated(fabricated_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Evaluated once, for tests that only read."""
    import shutil

    from warehouse_schema.home import Home

    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(fabricated_home, folder, dirs_exist_ok=True)
    store = Store(Home(folder))
    evaluate(store, prevalence=0.02)
    return store


@pytest.mark.parametrize("finding", FINDINGS)
def test_subgroups_equal_a_selection_by_hand(evaluated: Store, finding: str) -> None:
    rows = scored(evaluated, finding)
    threshold = reported(evaluated, finding)["threshold@youden", STUDENT]["value"]
    for attribute, column in (
        ("sex", "sex_code"),
        ("view", "view_position_code"),
        ("study_year", "study_year"),
        ("manufacturer", "manufacturer"),
    ):
        found = subgroup(evaluated, finding, attribute)
        levels = {str(row[column]) for row in rows}
        assert levels == {level for level, _ in found} - {"per year"}
        for level in levels:
            chosen = [row for row in rows if str(row[column]) == level]
            truth = [row["positive"] for row in chosen]
            row = found[level, "auroc"]
            assert (row["n_positive"], row["n_negative"]) == (sum(truth), truth.count(False))
            assert row["is_small"] == (min(sum(truth), truth.count(False)) < 20)
            if 0 < sum(truth) < len(truth):
                assert row["value"] == pytest.approx(
                    roc_auc_score(truth, [row["score"] for row in chosen])
                )
                assert row["ci_low"] <= row["value"] <= row["ci_high"]
            called = [row["score"] >= threshold for row in chosen if row["positive"]]
            row = found[level, "sensitivity@youden"]
            assert row["value"] == (sum(called) / len(called) if called else None)
            if called:
                interval = wilson_interval(sum(called), len(called))
                assert (row["ci_low"], row["ci_high"]) == (interval.low, interval.high)


def test_levels_of_positives_stand_against_all_negatives(evaluated: Store) -> None:
    finding = "rib_fracture"
    rows = scored(evaluated, finding)
    negatives = [row for row in rows if not row["positive"]]
    found = subgroup(evaluated, finding, "n_fractures")
    boxed = {min(row["n_boxes"], 3) for row in rows if row["positive"] and row["n_boxes"]}
    assert len({level for level, _ in found}) == len(boxed) > 1
    for n_boxes in boxed:
        positives = [r for r in rows if r["positive"] and min(r["n_boxes"], 3) == n_boxes]
        row = found[fracture_count(n_boxes), "auroc"]
        truth = [True] * len(positives) + [False] * len(negatives)
        scores = [r["score"] for r in (*positives, *negatives)]
        assert row["value"] == pytest.approx(roc_auc_score(truth, scores))
        assert (fracture_count(n_boxes), "specificity@youden") not in found
    tiers = subgroup(evaluated, finding, "visibility_tier")
    whole = reported(evaluated, finding)["auroc", STUDENT]["value"]
    assert tiers["chest_film_report", "auroc"]["value"] == pytest.approx(whole)


def test_box_sizes_share_the_boxes_among_them(evaluated: Store) -> None:
    # Every fabricated box of a finding has one size: they are all in the first third.
    found = subgroup(evaluated, "rib_fracture", "box_size")
    whole = reported(evaluated, "rib_fracture")["froc_score", "test/R+N/whole/student"]
    assert set(found) == {("small", "froc_score")}
    assert found["small", "froc_score"]["value"] == pytest.approx(whole["value"], abs=1e-12)
    assert found["small", "froc_score"]["n_positive"] == whole["n_positive"]


def test_sizes_are_thirds_of_all_boxes(store: Store) -> None:
    boxes = store.read(CONSENSUS_BOXES).to_pylist()
    for number, box in enumerate(boxes):
        box["width_px"] *= 1 + number / 50
    rewrite(store, CONSENSUS_BOXES, boxes)
    evaluate(store)
    found = subgroup(store, "rib_fracture", "box_size")
    assert {level for level, _ in found} <= {"small", "middle", "large"}
    assert len(found) > 1
    whole = reported(store, "rib_fracture")["froc_score", "test/R+N/whole/student"]
    assert sum(row["n_positive"] for row in found.values()) == whole["n_positive"]
    # A mean of the sizes' recalls, weighted by their boxes, is the recall of all.
    mean = sum(row["value"] * row["n_positive"] for row in found.values()) / whole["n_positive"]
    assert mean == pytest.approx(whole["value"], abs=1e-12)


def test_sex_comes_from_the_patient_where_the_image_has_none(store: Store) -> None:
    images = store.read(IMAGES).to_pylist()
    patients = [
        {
            "patient_id": row["patient_id"],
            "source": "fabricated",
            "sex_code": "O" if number % 2 else None,
            "birth_datetime": None,
            "is_over_89": False,
            "is_synthetic": True,
        }
        for number, row in enumerate(images)
    ]
    for row in images:
        row["sex_code"] = row["age_years"] = None
    rewrite(store, IMAGES, images)
    rewrite(store, PATIENTS, patients)
    evaluate(store)
    assert {level for level, _ in subgroup(store, "rib_fracture", "sex")} == {"O", "unknown"}
    assert {level for level, _ in subgroup(store, "rib_fracture", "age_band")} == {"unknown"}


def test_drift_is_the_slope_of_the_yearly_aurocs(evaluated: Store) -> None:
    found = subgroup(evaluated, "rib_fracture", "study_year")
    years = [
        (float(level), row)
        for (level, metric), row in found.items()
        if metric == "auroc" and row["value"] is not None
    ]
    weights = np.array([row["n_positive"] * row["n_negative"] for _, row in years], float)
    x, y = np.array([year for year, _ in years]), np.array([row["value"] for _, row in years])
    expected = np.polyfit(x - 2014, y, 1, w=np.sqrt(weights))[0]
    row = found["per year", "auroc_slope"]
    assert row["value"] == pytest.approx(expected)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert weighted_slope(x, y[None, :], weights)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("age", "band"),
    [(None, "unknown"), (17.9, "under 18"), (18.0, "18 to 39"), (80.0, "80 and over")],
)
def test_age_bands(age: float | None, band: str) -> None:
    assert age_band(age) == band


def test_levels_have_their_natural_order() -> None:
    assert ordered_levels("age_band", {"unknown", "80 and over", "under 18", ""}) == [
        "under 18",
        "80 and over",
        "unknown",
    ]
    assert ordered_levels("view", {"PA", "unknown", "AP"}) == ["AP", "PA", "unknown"]


@pytest.mark.parametrize("finding", FINDINGS)
def test_thresholds_come_from_validation_and_ppv_follows_prevalence(
    evaluated: Store, finding: str
) -> None:
    validation = scored(evaluated, finding, "validation")
    chosen = choose_threshold(
        "youden",
        np.array([round(row["score"] * 65535) for row in validation]),
        np.array([row["positive"] for row in validation]),
    )
    found = reported(evaluated, finding)
    assert found["threshold@youden", STUDENT]["value"] == pytest.approx(chosen / 65535)
    labels = evaluated.read(IMAGE_LABELS, where={"finding": finding}).to_pylist()
    hospital = [row["label"] for row in labels].count("positive") / len(labels)
    assert found["prevalence_hospital", STUDENT]["value"] == pytest.approx(hospital)
    assert found["prevalence_given", STUDENT]["value"] == 0.02
    sensitivity, specificity = (
        np.array([found[f"{name}@youden", STUDENT]["value"]])
        for name in ("sensitivity", "specificity")
    )
    for name, prevalence in (("hospital", hospital), ("given", 0.02)):
        ppv, npv = predictive_values(sensitivity, specificity, prevalence)
        assert found[f"ppv_{name}@youden", STUDENT]["value"] == pytest.approx(ppv[0])
        assert found[f"npv_{name}@youden", STUDENT]["value"] == pytest.approx(npv[0])


def test_every_number_says_how_its_interval_was_made(evaluated: Store) -> None:
    for row in evaluated.read(EVALUATION_REPORTS).to_pylist():
        assert (row["ci_low"] is None) == (row["interval_method"] is None)
        assert (row["n_draws"] == DRAWS) == (row["interval_method"] == "bootstrap")
        assert row["n_patients"] > 0


def test_patients_with_several_images_get_the_bootstrap(store: Store) -> None:
    cohort = store.read(COHORT).to_pylist()
    for row in cohort:
        row["patient_id"] = f"{row['subset']}-{row['split']}-{int(row['image_id'][-2:]) // 20}"
    rewrite(store, COHORT, cohort)
    evaluate(store)
    found = reported(store, "rib_fracture")
    assert ("auroc_delong", STUDENT) not in found
    assert found["sensitivity@youden", STUDENT]["interval_method"] == "bootstrap"
    sexes = subgroup(store, "rib_fracture", "sex")
    assert sexes["F", "sensitivity@youden"]["interval_method"] == "bootstrap"


def test_calibration_is_fitted_on_validation_alone(store: Store) -> None:
    evaluate(store)
    before = store.read(CALIBRATION_MAPS)
    assert set(before["calibration"].to_pylist()) == {"temperature", "isotonic"}
    labels = store.read(IMAGE_LABELS).to_pylist()
    test = {row["image_id"] for row in store.read(COHORT, where={"split": "test"}).to_pylist()}
    flipped = {"positive": "negative", "negative": "positive"}
    for row in labels:
        if row["image_id"] in test:
            row["label"] = flipped[row["label"]]
    rewrite(store, IMAGE_LABELS, labels)
    evaluate(store)
    assert store.read(CALIBRATION_MAPS).equals(before)


def test_reliability_bins_hold_every_image_once(evaluated: Store) -> None:
    for finding in FINDINGS:
        rows = scored(evaluated, finding)
        for calibration in ("raw", "temperature", "isotonic"):
            where = {"finding": finding, "calibration": calibration}
            bins = evaluated.read(CALIBRATION_POINTS, where=where).to_pylist()
            assert sum(row["n_images"] for row in bins) == len(rows)
            assert sum(row["n_positive"] for row in bins) == sum(row["positive"] for row in rows)
            means = [row["mean_probability"] for row in bins]
            assert means == sorted(means)
            found = reported(evaluated, finding)[f"ece@{calibration}", STUDENT]["value"]
            gaps = [
                row["n_images"] * abs(row["mean_probability"] - row["observed_share"])
                for row in bins
            ]
            assert found == pytest.approx(sum(gaps) / len(rows))


def test_the_classic_froc_is_there(evaluated: Store) -> None:
    found = reported(evaluated, "rib_fracture")
    protocol = "test/R+N/peaks/student"
    rates = [found[f"lesion_sensitivity@{rate:g}", protocol]["value"] for rate in (0.25, 1, 8)]
    assert rates == sorted(rates)
    assert found["lesion_froc_score", protocol]["value"] > 0.5
    points = evaluated.read(LESION_FROC_POINTS, where={"finding": "rib_fracture"}).to_pylist()
    assert points[0]["threshold"] is None
    assert points[-1]["lesion_sensitivity"] >= rates[-1]


def test_the_queue_holds_contradicted_labels_by_rank(evaluated: Store) -> None:
    where = f"WHERE run_id = '{AALS}' AND finding = 'rib_fracture'"
    queue = run_query(evaluated, f"SELECT * FROM label_error_queue {where}").to_pylist()
    rows = {row["image_id"]: row for row in scored(evaluated, "rib_fracture")}
    positives = [row["score"] for row in rows.values() if row["positive"]]
    negatives = [row["score"] for row in rows.values() if not row["positive"]]
    expected = {}
    for image_id, row in rows.items():
        if row["positive"]:
            suspicion = np.mean([score >= row["score"] for score in negatives])
        else:
            suspicion = np.mean([score <= row["score"] for score in positives])
        if suspicion > 0:
            expected[image_id] = suspicion
    assert {row["image_id"]: row["suspicion"] for row in queue} == pytest.approx(expected)
    assert [row["rank"] for row in queue] == list(range(1, len(queue) + 1))
    suspicions = [row["suspicion"] for row in queue]
    assert suspicions == sorted(suspicions, reverse=True)
    for row in queue:
        kind = "low-scoring positive" if row["label"] == "positive" else "high-scoring negative"
        assert row["kind"] == kind


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 3.0, float("nan")])
def test_a_prevalence_outside_its_range_is_refused(store: Store, prevalence: float) -> None:
    with pytest.raises(ArgumentError, match=r"prevalence: .* arrived; a share .* is needed"):
        evaluate(store, prevalence=prevalence)


def test_boxes_without_images_are_refused(store: Store) -> None:
    boxes = store.read(CONSENSUS_BOXES).to_pylist()
    stray = boxes[0] | {"consensus_id": "x", "image_id": "img-x"}
    rewrite(store, CONSENSUS_BOXES, [*boxes, stray])
    with pytest.raises(EvaluationError, match=r"of 1 images have no image .*: img-x\. Ingest"):
        evaluate(store)


def test_order_of_rows_and_images_does_not_matter(store: Store, monkeypatch: Any) -> None:
    """Images renamed so that they are walked in the reverse order, draws made in other chunks."""
    evaluate(store)
    before = store.read(EVALUATION_REPORTS).to_pylist()
    for table in (IMAGES, IMAGE_LABELS, CONSENSUS_BOXES, COHORT, PREDICTIONS, IMAGE_PIXELS):
        rows = store.read(table).to_pylist()
        for row in rows:
            row["image_id"] = f"img-{9999 - int(row['image_id'][-4:]):04}"
        rewrite(store, table, rows)
    monkeypatch.setattr(PatientBootstrap.weights, "__defaults__", (7,))
    evaluate(store)
    for old, new in zip(before, store.read(EVALUATION_REPORTS).to_pylist(), strict=True):
        assert (old["metric"], old["protocol"]) == (new["metric"], new["protocol"])
        for name in ("value", "ci_low", "ci_high"):
            assert new[name] == pytest.approx(old[name], abs=1e-12)
