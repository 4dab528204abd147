"""Reproductions: the paper's numbers beside ours, means over seeds, pages sound in a browser."""

import csv
from pathlib import Path

import numpy as np
import pytest
from browser_check import CHROMIUM, assert_sound_in_browser

from evaluation.evaluate import evaluate_run
from evaluation.reproduction.experiment import EXPERIMENTS
from evaluation.reproduction.figures import PeakCurve, SharpeningCurve
from evaluation.reproduction.outcome import Outcome, ReproducedRun, read_outcome
from evaluation.reproduction.page import write_reproduction, write_sharpening_page
from evaluation.reproduction.paper_numbers import TABLE1, TABLE2, TABLE3
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS

SUPERVISED, AALS = "supervised-0-1-aa", "aals-0-1-bb"
DRAWS = 60


def outcome_of(store: Store, name: str, runs: list[tuple[str, int, str]]) -> Outcome:
    return read_outcome(
        store=store,
        experiment=EXPERIMENTS[name],
        runs=[ReproducedRun(row=row, seed=seed, run_id=run_id) for row, seed, run_id in runs],
        n_bootstrap=DRAWS,
    )


def test_one_seed_gives_the_numbers_of_the_evaluation(store: Store) -> None:
    evaluate_run(store=store, run_id=AALS, n_bootstrap=DRAWS)
    reports = {
        (row["finding"], row["metric"]): row
        for row in store.read(EVALUATION_REPORTS).to_pylist()
        if row["protocol"] in {"test/all/whole/student", "test/R+N/whole/student"}
    }
    outcome = outcome_of(store, "table1", [("aals", 0, AALS)])
    assert {line.finding for line in outcome.lines} == {"rib_fracture", "clavicle_fracture"}
    for line in outcome.lines:
        assert line.numbers.froc is not None
        for mean, metric in ((line.numbers.auroc, "auroc"), (line.numbers.froc, "froc_score")):
            row = reports[line.finding, metric]
            assert (mean.value, mean.low, mean.high, mean.n_positive) == pytest.approx(
                (row["value"], row["ci_low"], row["ci_high"], row["n_positive"])
            )


def test_seeds_are_averaged_and_listed(store: Store) -> None:
    apart = [outcome_of(store, "table1", [("aals", 0, run)]).lines[0] for run in (SUPERVISED, AALS)]
    both = outcome_of(store, "table1", [("aals", 0, SUPERVISED), ("aals", 1, AALS)])
    line = both.lines[0]
    values = [each.numbers.auroc.value for each in apart]
    assert line.numbers.auroc.by_seed == pytest.approx(values)
    assert line.numbers.auroc.value == pytest.approx(np.mean(values))
    assert both.n_seeds == 2
    recalls = [each.numbers.recall for each in apart]
    assert line.numbers.recall == pytest.approx(np.mean(recalls, axis=0))


def test_the_papers_tables_agree_with_each_other() -> None:
    """Its method stands in all three tables, at t = 0.4 and a0 = 4."""
    assert TABLE2["0.4"] == TABLE3["4"] == TABLE1["aals"]


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_experiment_has_rows_of_its_own(name: str) -> None:
    experiment = EXPERIMENTS[name]
    keys = [row.key for row in experiment.rows]
    assert len(set(keys)) == len(keys)
    assert set(experiment.paper) & set(keys)


@pytest.mark.parametrize("name", ["table1", "figure3", "figure4", "figure5"])
def test_pages(store: Store, tmp_path: Path, name: str) -> None:
    for run_id in (SUPERVISED, AALS):
        evaluate_run(store=store, run_id=run_id, n_bootstrap=DRAWS)
    rows = [EXPERIMENTS[name].rows[0].key, EXPERIMENTS[name].rows[-1].key]
    outcome = outcome_of(store, name, [(rows[0], 0, SUPERVISED), (rows[1], 0, AALS)])
    page = write_reproduction(store=store, outcome=outcome, output_path=tmp_path / f"{name}.html")
    if CHROMIUM is not None and name in {"table1", "figure4"}:
        assert_sound_in_browser(page, tmp_path)
    text = page.read_text()
    assert "SYNTHETIC: " in text
    assert "0.9318" in text
    assert SUPERVISED in text
    table = list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines()))
    assert len(table) == 8
    assert {float(row["paper"]) for row in table if row["row"] == rows[1]} == {
        *TABLE1["aals"]["rib_fracture"],
        *TABLE1["aals"]["clavicle_fracture"],
    }


def test_a_method_without_maps_has_no_froc(store: Store, tmp_path: Path) -> None:
    from fabricated_warehouse import rewrite

    from warehouse_schema.tables.runs import PREDICTIONS

    rows = store.read(PREDICTIONS).to_pylist()
    bare = [
        row | ({"map_path": None, "map_row": None} if row["run_id"] == SUPERVISED else {})
        for row in rows
    ]
    rewrite(store, PREDICTIONS, bare)
    outcome = outcome_of(store, "table1", [("chexnet", 0, SUPERVISED), ("aals", 0, AALS)])
    assert [line.numbers.froc is None for line in outcome.of("rib_fracture")] == [True, False]
    page = write_reproduction(store=store, outcome=outcome, output_path=tmp_path / "t.html")
    assert "CheXNet" in page.read_text()


@pytest.mark.parametrize("runs", [[], [("aals", 0, "nobody")]])
def test_runs_that_are_not_there_are_refused(
    store: Store, runs: list[tuple[str, int, str]]
) -> None:
    with pytest.raises(EvaluationError, match="Run `ribline reproduce table1`"):
        outcome_of(store, "table1", runs)


def test_the_sharpening_page(tmp_path: Path) -> None:
    x = np.linspace(0.01, 0.99, 50)
    page = write_sharpening_page(
        fixed=[SharpeningCurve(4.0, x, np.maximum(x, x**0.5), x**2)],
        adaptive=[PeakCurve(1.0, x, x), PeakCurve(4.0, x, x + x * (1 - x))],
        t=0.4,
        largest_error=2e-6,
        output_path=tmp_path / "figure2.html",
    )
    text = page.read_text()
    assert "+0.250" in text
    assert ">none<" in text
    assert "SYNTHETIC" not in text
