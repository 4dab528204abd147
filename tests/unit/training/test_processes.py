"""Two gloo processes under torchrun, and micro-batches: the numbers of one process, one batch."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fabricated_films import plan_cohort

from training.batches import BatchLoader
from training.methods.aals import Aals
from training.network import build_network
from training.processes import ALONE, Processes
from training.recipe import recipe
from training.recomputing import recompute_backbone
from training.run_inputs import load_run_inputs
from warehouse_schema.errors import ArgumentError, ConfigurationError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.runs import TRAINING_EPOCHS, TRAINING_RUNS

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")


@pytest.fixture
def exact_recipe(tiny_recipe):
    """float32, whose sums are those of any split up to rounding."""
    return dataclasses.replace(tiny_recipe, is_mixed_precision=False)


def figures_of(home):
    rows = Store(Home(home)).read(TRAINING_EPOCHS).to_pylist()
    return {(row["run_id"], row["epoch"], row["finding"], row["metric"]): row for row in rows}


def train_both_steps(home, recipes):
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.train_both_steps(home, recipes)


def test_two_processes_have_the_losses_of_one(make_store, exact_recipe, tmp_path):
    recipes = [
        dataclasses.replace(exact_recipe, norm=norm, n_epochs=1) for norm in ("group", "frozen")
    ]
    home = make_store(plan_cohort(n_r=7, n_p=6, n_n=16)).home.root
    shutil.copytree(home, tmp_path / "two")
    runs = train_both_steps(home, recipes)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(SCRIPT), str(tmp_path / "two"), json.dumps([one.to_json() for one in recipes])),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "MASTER_ADDR": "127.0.0.1",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = Store(Home(tmp_path / "two"))
    assert sorted(two.read(TRAINING_RUNS).column("run_id").to_pylist()) == sorted(runs)
    one_figures, two_figures = figures_of(home), figures_of(tmp_path / "two")
    assert one_figures.keys() == two_figures.keys()
    n_losses = 0
    for key, row in one_figures.items():
        if key[3].startswith("loss"):
            assert two_figures[key]["value"] == pytest.approx(row["value"], abs=1e-5)
            n_losses += 1
    assert n_losses == 2 * (2 + 3)


def test_a_process_takes_its_part_of_every_step(make_store, exact_recipe):
    inputs = load_run_inputs(store=make_store(), recipe=exact_recipe, method="aals", fold=0, seed=1)

    def rows(processes):
        loader = BatchLoader(inputs.train, exact_recipe, seed=1, device=CPU, processes=processes)
        return [[*batch.rows.tolist()] for (batch,) in loader.steps(1)]

    whole = rows(ALONE)
    parts = [rows(Processes(rank, 3)) for rank in range(3)]
    assert [[*itertools.chain(*step)] for step in zip(*parts, strict=True)] == whole
    with pytest.raises(ArgumentError, match="processes: got 99, but a step has 7 films"):
        BatchLoader(inputs.train, exact_recipe, seed=1, device=CPU, processes=Processes(0, 99))


def gradients(inputs, settings, *, is_recomputing=False):
    """Of the first step of AALS, student and teacher apart, and the student's network."""
    student, _ = build_network(settings, seed=0)
    if is_recomputing:
        recompute_backbone(student)
    method = Aals(settings, student, n_steps_per_epoch=4)
    with torch.no_grad():
        for parameter in method.teacher.network.parameters():
            parameter.mul_(1.05)
    loader = BatchLoader(inputs.train, settings, seed=1, device=CPU)
    student.train()
    for batch in next(loader.steps(1)):
        method.losses(student, batch).total.backward()
    return student, {name: value.grad for name, value in student.named_parameters()}


def largest_difference(one, other):
    return max(
        float((mine - theirs).norm() / mine.norm().clamp_min(1e-12))
        for mine, theirs in zip(one.values(), other.values(), strict=True)
    )


@pytest.mark.parametrize(
    ("norm", "is_equal"), [("group", True), ("frozen", True), ("batch", False)]
)
def test_micro_batches_have_the_gradients_of_the_batch(make_store, exact_recipe, norm, is_equal):
    settings = dataclasses.replace(exact_recipe, norm=norm)
    inputs = load_run_inputs(store=make_store(), recipe=settings, method="aals", fold=0, seed=1)
    _, whole = gradients(inputs, settings)
    _, added = gradients(inputs, dataclasses.replace(settings, micro_batch_size=3))
    assert (largest_difference(whole, added) < 1e-4) == is_equal


def test_frozen_statistics_stay_and_their_scale_is_trained(make_store, exact_recipe):
    settings = dataclasses.replace(exact_recipe, norm="frozen")
    inputs = load_run_inputs(store=make_store(), recipe=settings, method="aals", fold=0, seed=1)
    student, found = gradients(inputs, settings)
    buffers = dict(student.named_buffers())
    assert all((value == 0).all() for name, value in buffers.items() if "running_mean" in name)
    assert float(found["smoothing.1.weight"].norm()) > 0
    live, _ = build_network(exact_recipe, seed=0)
    live.load_state_dict(student.state_dict())


def test_recomputing_changes_neither_gradients_nor_names(make_store, exact_recipe):
    settings = dataclasses.replace(exact_recipe, norm="group")
    inputs = load_run_inputs(store=make_store(), recipe=settings, method="aals", fold=0, seed=1)
    plain, expected = gradients(inputs, settings)
    recomputing, found = gradients(inputs, settings, is_recomputing=True)
    assert largest_difference(expected, found) < 1e-6
    assert recomputing.state_dict().keys() == plain.state_dict().keys()
    with pytest.raises(ConfigurationError, match="is_recomputing: got true with norm 'batch'"):
        recipe("demo", is_recomputing=True)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_student_has_the_same_gradients(make_store, exact_recipe):
    inputs = load_run_inputs(store=make_store(), recipe=exact_recipe, method="aals", fold=0, seed=1)
    student, _ = build_network(exact_recipe, seed=0)
    compiled = torch.compile(student)
    batch = next(BatchLoader(inputs.train, exact_recipe, seed=1, device=CPU).steps(1))[0]
    found = []
    for model in (student, compiled):
        student.zero_grad()
        model(batch.films).square().mean().backward()
        found.append({name: value.grad for name, value in student.named_parameters()})
    assert largest_difference(*found) < 1e-4
