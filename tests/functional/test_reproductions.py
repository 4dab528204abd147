"""The paper's experiments on a tiny hospital, from the command line to the finished pages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evaluation.reproduction.paper_numbers import TABLE1 as PAPER
from flows.demo import prepare_home, write_synthetic_hospital
from flows.experiment import train_pair
from flows.relabelling import relabel
from flows.settings import CONFIGURATION_NAME, load_settings
from training.methods import METHODS
from training.trainer import Trainer
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS, RUN_COMPARISONS
from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

FINDINGS = ("rib_fracture", "clavicle_fracture")
OVERRIDES = """
[recipe_overrides]
image_size_px = 64
crop_px = 64
n_epochs = 1
passes_per_epoch = 1
step2_n_epochs = 1
batch_size = 32
step2_batch_size = 32
pyramid_width = 8
warmup_steps = 0
n_cpu_threads = 1
"""


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the cohort of 80 patients, films of 64 pixels, and a recipe of seconds."""
    folder = tmp_path_factory.mktemp("prepared") / "home"
    path = prepare_home(folder=folder, seed=0).home / CONFIGURATION_NAME
    text = path.read_text(encoding="utf-8").replace("size_px = 256", "size_px = 64")
    path.write_text(f"n_bootstrap = 100\n{text}{OVERRIDES}", encoding="utf-8")
    write_synthetic_hospital(folder=folder / "hospital", n_patients=80, seed=0)
    relabel(load_settings(home=folder, is_environment_used=False).replaced(n_processes=1))
    return folder


@pytest.fixture
def home(prepared_home: Path, tmp_path: Path) -> Path:
    """A copy of that home."""
    return Path(shutil.copytree(prepared_home, tmp_path / "home"))


def test_every_method_lands_in_the_table_and_nothing_is_trained_twice(
    home: Path, ribline, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--home", home, "reproduce", "table1", "--profile", "own", "--seed", 0)
    # Stopped after one row, the same command goes on.
    assert ribline(*arguments, "--method", "chexnet").code == 0
    done = ribline(*arguments)
    assert done.code == 0, done.err
    assert "chexnet-0-0" in done.out
    assert "(found)" in done.out
    store = Store(Home(home))
    runs = {row["run_id"]: row for row in store.read(TRAINING_RUNS).to_pylist()}
    assert sorted(row["method"] for row in runs.values()) == sorted([*METHODS, "supervised"])
    reports = store.read(EVALUATION_REPORTS).to_pylist()
    predictions = store.read(PREDICTIONS).to_pylist()
    protocols = {}
    for run_id, row in runs.items():
        own = [report for report in reports if report["run_id"] == run_id]
        froc = [report["value"] for report in own if report["metric"] == "froc_score"]
        has_maps = row["method"] not in {"chexnet", "li-mil"}
        assert any(value is not None for value in froc) == has_maps, row["method"]
        maps = {p["map_path"] is None for p in predictions if p["run_id"] == run_id}
        assert maps == {not has_maps}
        protocols[row["method"]] = {r["protocol"] for r in own if r["metric"] == "auroc"}
    assert all(found == protocols["aals"] for found in protocols.values())
    for name, numbers in PAPER.items():
        assert name in done.out
        assert f"{numbers['rib_fracture'][0]:.4f}" in done.out
    monkeypatch.setattr(Trainer, "_step", None)
    again = ribline(*arguments)
    assert again.code == 0
    assert again.out.count("(found)") == len(METHODS) + 1
    page = (home / "reproductions" / "table1.html").read_text()
    assert "<h1>SYNTHETIC: Classification and localisation by method</h1>" in page
    for numbers in PAPER.values():
        assert f"{numbers['rib_fracture'][0]:.4f}" in page
    assert all(run_id in page for run_id in runs)
    # The other experiments take the runs that they share with Table 1 from the warehouse.
    for name in ("figure4", "figure5"):
        done = ribline("--home", home, "reproduce", name, "--profile", "own", "--seed", 0)
        assert done.code == 0, done.err
        assert done.out.count("(found)") == 7
        assert (home / "reproductions" / f"{name}.html").is_file()
    table = (home / "reproductions" / "table1.csv").read_text().splitlines()
    assert len(table) == 1 + 10 * len(FINDINGS) * 2
    # What the flow does for a method without comparable maps: a difference in AUROC alone.
    settings = load_settings(home=home, is_environment_used=False)
    pair = train_pair(settings, method="chexnet", fold=0)
    compared = store.read(RUN_COMPARISONS, where={"run_id_b": pair.method_run_id}).to_pylist()
    assert {row["metric"] for row in compared} >= {"auroc"}
    assert not any(row["metric"] == "froc_score" for row in compared)


def test_a_setting_is_varied_from_one_start(home: Path, ribline) -> None:
    common = ("--profile", "own", "--seed", 0)
    assert ribline("--home", home, "reproduce", "table2", *common, "--row", "0.2").code == 0
    done = ribline("--home", home, "reproduce", "figure3", *common, "--row", "0", "--row", "0.2")
    assert done.code == 0, done.err
    runs = Store(Home(home)).read(TRAINING_RUNS).to_pylist()
    aals = [row for row in runs if row["method"] == "aals"]
    assert {row["t"] for row in aals} == {0.2, 0.4}
    assert len(runs) == 3
    page = (home / "reproductions" / "figure3.html").read_text()
    assert "Hollow" in page or "hollow" in page
    assert "0.7267" in page


def test_ablations_share_their_first_step(home: Path, ribline) -> None:
    for options in (("--t", 0.2, "--a0", 8), ("--p-fraction", 0.5, "--set", "adaptive_t=0.5")):
        done = ribline("--home", home, "train", "--method", "aals", *options)
        assert done.code == 0, done.err
    rows = Store(Home(home)).read(TRAINING_RUNS).to_pylist()
    first, *ablations = sorted(rows, key=lambda row: row["method"], reverse=True)
    assert first["method"] == "supervised"
    assert [row["initial_run_id"] for row in ablations] == [first["run_id"]] * 2
    assert {(row["t"], row["a0"]) for row in ablations} == {(0.2, 8.0), (0.4, 4.0)}
    assert len({row["n_train_p"] for row in ablations}) == 2
    wrong = ribline("--home", home, "train", "--t", 2)
    assert wrong.code != 0
    assert "t: got 2.0, allowed is a number from 0.001 to 0.999" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "tpu"), "--profile: got 'tpu', allowed are cpu, gpu, own."),
        (("--profile", "own", "--method", "magic"), "--method: got magic, allowed are chexnet"),
    ],
)
def test_a_mistake_is_one_line(ribline, arguments, message) -> None:
    done = ribline("reproduce", "table1", *arguments)
    assert done.code != 0
    assert message in done.err
