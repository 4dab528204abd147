"""The model card: the run's own numbers, honest gaps, nobody named, sound in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from evaluation.evaluate import evaluate_run
from evaluation.model_card.page import render_model_card, write_model_card
from evaluation.stored_thresholds import stored_operating_point
from warehouse_schema.errors import ArgumentError, EvaluationError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.runs import TRAINING_RUNS

RUN_ID = "aals-0-1-bb"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def evaluated(fabricated_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("carded")
    shutil.copytree(fabricated_home, folder, dirs_exist_ok=True)
    store = Store(Home(folder))
    evaluate_run(store=store, run_id=RUN_ID, n_bootstrap=60)
    return store


@pytest.fixture(scope="module")
def card(evaluated: Store) -> str:
    return render_model_card(store=evaluated, run_id=RUN_ID)


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_the_card_holds_the_warehouses_numbers(evaluated: Store, card: str) -> None:
    text = plain(card)
    where = {"run_id": RUN_ID, "protocol": "test/all/whole/student"}
    rows = evaluated.read(EVALUATION_REPORTS, where=where).to_pylist()
    shown = [row for row in rows if row["metric"] in {"auroc", "sensitivity@youden"}]
    assert len(shown) == 4
    for row in shown:
        assert f"{row['value']:.3f} {row['ci_low']:.2f}–{row['ci_high']:.2f}" in text
    cohort = evaluated.read(COHORT, where={"fold": 0, "split": "test"})
    assert f"On {cohort.num_rows} films of" in text
    (run,) = evaluated.read(TRAINING_RUNS, where={"run_id": RUN_ID}).to_pylist()
    for value in (run["backbone"], run["weights_source"], run["code_version"], RUN_ID):
        assert str(value) in text
    assert "image_labels" in text, "data versions"


def test_the_card_says_what_it_does_not_know(card: str) -> None:
    text = plain(card)
    assert text.count("To be filled by the hospital") > 10
    assert "Research software, not a medical device" in text
    assert "How it does in another hospital, on other devices, is not known" in text
    assert re.search(r"\d+ of 44 items are filled from the warehouse", text)
    for number in range(1, 45):
        assert f'<td class="num">{number}</td>' in card


def test_the_card_names_no_patient_and_needs_no_network(evaluated: Store, card: str) -> None:
    columns = evaluated.read(COHORT, columns=["image_id", "patient_id"])
    for name in columns.column_names:
        assert not any(f">{each}<" in card for each in columns[name].to_pylist())
    assert "src=" not in card
    assert "<script" not in card
    assert "default-src 'none'" in card


def test_a_run_that_was_not_evaluated_says_so(store: Store) -> None:
    text = plain(render_model_card(store=store, run_id=RUN_ID))
    assert "This run has not been evaluated" in text
    assert stored_operating_point(store=store, run_id=RUN_ID).thresholds == {
        "rib_fracture": None,
        "clavicle_fracture": None,
    }


def test_stored_thresholds_are_the_evaluations(evaluated: Store) -> None:
    where = {"run_id": RUN_ID, "metric": "threshold@sensitivity_90"}
    rows = evaluated.read(EVALUATION_REPORTS, where=where).to_pylist()
    stored = {row["finding"]: row["value"] for row in rows if "student" in row["protocol"]}
    point = stored_operating_point(store=evaluated, run_id=RUN_ID, name="sensitivity_90")
    assert dict(point.thresholds) == stored
    with pytest.raises(ArgumentError, match="allowed are youden"):
        stored_operating_point(store=evaluated, run_id=RUN_ID, name="best")


def test_refusals(evaluated: Store, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no finished run 'nobody'"):
        write_model_card(store=evaluated, run_id="nobody")
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot be written"):
        write_model_card(
            store=evaluated, run_id=RUN_ID, output_path=tmp_path / "file" / "card.html"
        )
    path = write_model_card(store=evaluated, run_id=RUN_ID)
    assert path == evaluated.home.runs / RUN_ID / "model_card.html"


@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed"
)
def test_a_browser_shows_the_whole_card(evaluated: Store, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    path = write_model_card(store=evaluated, run_id=RUN_ID, output_path=tmp_path / "card.html")
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            f"--user-data-dir={tmp_path / 'profile'}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "CLAIM, 2024 update" in done.stdout
    assert done.stdout.rstrip().endswith("</html>")
