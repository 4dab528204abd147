"""All nine methods of Table 1 on a tiny hospital, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.demo import prepare_home, write_synthetic_hospital
from flows.relabelling import relabel
from flows.settings import CONFIGURATION_NAME, load_settings
from flows.table1_display import PAPER
from training.methods import METHODS
from training.trainer import Trainer
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

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


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the cohort of 80 patients, films of 64 pixels, and a recipe of seconds."""
    folder = tmp_path / "home"
    path = prepare_home(folder=folder, seed=0).home / CONFIGURATION_NAME
    text = path.read_text(encoding="utf-8").replace("size_px = 256", "size_px = 64")
    path.write_text(f"n_bootstrap = 100\n{text}{OVERRIDES}", encoding="utf-8")
    write_synthetic_hospital(folder=folder / "hospital", n_patients=80, seed=0)
    relabel(load_settings(home=folder, is_environment_used=False).replaced(n_processes=1))
    return folder


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
