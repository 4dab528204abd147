"""SIGKILL and SIGTERM of real processes at random steps: a run ends as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fabricated_films import fabricate, plan_cohort

from training.recipe import recipe
from training.train import train_run
from warehouse_schema.errors import TrainingStoppedError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.runs import TRAINING_EPOCHS, TRAINING_RUNS

SCRIPT = Path(__file__).with_name("killed_runs.py")
ROOT = Path(__file__).parents[3]
SETTINGS = recipe(
    "demo",
    image_size_px=64,
    crop_px=64,
    batch_size=8,
    n_epochs=1,
    passes_per_epoch=1,
    step2_batch_size=None,
    step2_n_epochs=5,
    micro_batch_size=3,
    n_cpu_threads=1,
)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A home with step 1 trained, and the run."""
    store = fabricate(tmp_path_factory.mktemp("started"), plan_cohort())
    return store, train_run(store=store, recipe=SETTINGS, method="supervised", fold=0, seed=1)


def lives(started, home, method, kills=()):
    """Trains step 2 in a copy of the home; the store, and how each process ended."""
    store, first = started
    shutil.copytree(store.home.root, home)
    order = {
        "home": str(home),
        "recipe": SETTINGS.to_json(),
        "method": method,
        "initial_run_id": first,
        "kills": list(kills),
    }
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(order)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Store(Home(home)), json.loads(done.stdout)


def random_kills(n, seed):
    """SIGKILLs after one to three steps of a life and up to 60 ms: in steps, saves, validation."""
    rng = np.random.default_rng(seed)
    return [
        {
            "steps": int(rng.integers(1, 4)),
            "delay_s": float(rng.uniform(0, 0.06)),
            "signal": signal.SIGKILL,
            "is_torn": False,
        }
        for _ in range(n)
    ]


def outcome(store, method):
    """All that a run leaves: figures, its row, and the tensors of its checkpoints."""
    rows = store.read(TRAINING_EPOCHS).to_pylist()
    volatile = set(TRAINING_RUNS.volatile_columns)
    (run,) = store.read(TRAINING_RUNS, where={"method": method}).to_pylist()
    tensors = {
        kind: max((store.home.runs / run["run_id"]).glob(f"{kind}-*.safetensors")).read_bytes()
        for kind in ("best", "last")
    }
    stable = {name: value for name, value in run.items() if name not in volatile}
    return sorted(map(repr, rows)), stable, tensors


def test_four_kills_a_torn_checkpoint_and_a_sigterm_change_nothing(started, tmp_path):
    straight, ends = lives(started, tmp_path / "straight", "aals")
    assert ends == [0]
    kills = random_kills(4, seed=7)
    # Life 2 has the checkpoint of step 2 or later, and the one before it.
    kills[1] |= {"steps": 3, "is_torn": True}
    kills.insert(2, {"steps": 1, "delay_s": 0.0, "signal": signal.SIGTERM, "is_torn": False})
    killed, ends = lives(started, tmp_path / "killed", "aals", kills)
    assert ends == [-9, -9, TrainingStoppedError.exit_code, -9, -9, 0]
    assert outcome(killed, "aals") == outcome(straight, "aals")
    assert len(list(killed.home.runs.glob("aals-*/pseudo_labels/*.png"))) == 5


@pytest.mark.soak
@pytest.mark.parametrize("method", ["aals", "mean-teacher", "temporal-ensembling", "pi-model"])
def test_twenty_kills_change_nothing(started, tmp_path, method):
    straight, _ = lives(started, tmp_path / "straight", method)
    expected = outcome(straight, method)
    for number in range(5):
        kills = random_kills(4, seed=number)
        killed, ends = lives(started, tmp_path / f"killed-{number}", method, kills)
        assert ends == [-9] * 4 + [0]
        assert outcome(killed, method) == expected
