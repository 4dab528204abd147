"""Whole runs on fabricated films: learning, determinism, resume, and refusals."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from fabricated_films import FilmPlan, fabricate, plan_cohort
from tensorboard.backend.event_processing import event_accumulator

from training.checkpoint import load_checkpoint
from training.prediction import predict_run
from training.recipe import recipe
from training.train import best_checkpoint_path, run_row, train_run
from training.trainer import Trainer
from warehouse_schema.errors import (
    ArgumentError,
    CheckpointError,
    CohortError,
    TrainingError,
)
from warehouse_schema.pixel_shards import open_array
from warehouse_schema.tables.runs import LINEAGE, PREDICTIONS, TRAINING_EPOCHS, TRAINING_RUNS


def figures_of(store, run_id):
    rows = store.read(TRAINING_EPOCHS, where={"run_id": run_id}).to_pylist()
    return {(row["epoch"], row["finding"], row["metric"]): row["value"] for row in rows}


def stable_row(store, run_id):
    volatile = set(TRAINING_RUNS.volatile_columns)
    return {name: value for name, value in run_row(store, run_id).items() if name not in volatile}


def both_steps(store, settings, seed=1):
    first = train_run(store=store, recipe=settings, method="supervised", fold=0, seed=seed)
    second = train_run(
        store=store, recipe=settings, method="aals", fold=0, seed=seed, initial_run_id=first
    )
    return first, second


def test_learns_predicts_and_leaves_rows(make_store, tiny_recipe):
    settings = dataclasses.replace(tiny_recipe, n_epochs=8, positive_weight=5.0)
    store = make_store(plan_cohort(n_r=12, n_p=8, n_n=24))
    first, second = both_steps(store, settings)
    row = run_row(store, second)
    assert (row["n_train_r"], row["n_train_p"], row["n_train_n"]) == (12, 8, 24)
    assert (row["initial_run_id"], row["status"], row["weights_source"]) == (
        first,
        "completed",
        "random",
    )
    assert row["alpha"] == pytest.approx(1 - 1 / 6)
    assert run_row(store, first)["alpha"] is None
    figures = figures_of(store, second)
    assert figures[8, "all", "loss"] < figures_of(store, first)[1, "all", "loss"]
    assert max(figures[epoch, "all", "validation_auroc"] for epoch in range(1, 9)) > 0.8
    names = {metric for _, _, metric in figures}
    assert names >= {"loss_sup", "loss_semi", "validation_auroc_teacher", "aals_inactive_share"}
    assert predict_run(store=store, run_id=second, networks=("student", "teacher")) == 44
    predictions = store.read(PREDICTIONS).to_pylist()
    assert len(predictions) == 44 * 2 * 2
    for prediction in predictions:
        scores = open_array(store.home.root / prediction["map_path"])[prediction["map_row"]]
        assert scores.shape == (64, 64)
        assert scores.dtype == np.uint16
        assert scores[:, :8].max() == scores[:, 56:].max() == 0
        assert prediction["score"] == scores.max() / 65535
    pictures = sorted((store.home.runs / second / "pseudo_labels").iterdir())
    assert [path.name for path in pictures] == [f"epoch-{epoch:04d}.png" for epoch in range(1, 9)]
    # Four films; the film, the teacher's map, the sharpened one, the student's map.
    assert cv2.imread(str(pictures[-1]), cv2.IMREAD_GRAYSCALE).shape == (4 * 64, 4 * 64)
    logs = event_accumulator.EventAccumulator(
        str(store.home.runs / second / "tensorboard"), {"images": 0, "scalars": 0}
    )
    logs.Reload()
    assert {"speed/images_per_s", "speed/waiting_for_data_share", "speed/peak_memory_gib"} <= set(
        logs.Tags()["scalars"]
    )
    lineage = {(line["stage"], line["run_id"]) for line in store.read(LINEAGE).to_pylist()}
    assert lineage == {("train", first), ("train", second), ("predict", second)}


def test_two_homes_one_seed_one_result(make_store, tiny_recipe):
    stores = [make_store(name=name) for name in ("a", "b")]
    runs = [both_steps(store, tiny_recipe) for store in stores]
    assert runs[0] == runs[1]
    for run_id in runs[0]:
        assert figures_of(stores[0], run_id) == figures_of(stores[1], run_id)
        assert stable_row(stores[0], run_id) == stable_row(stores[1], run_id)
        files = [best_checkpoint_path(store, run_id).read_bytes() for store in stores]
        assert files[0] == files[1]


def test_another_seed_is_another_run(make_store, tiny_recipe):
    store = make_store()
    runs = [
        train_run(store=store, recipe=tiny_recipe, method="supervised", fold=0, seed=seed)
        for seed in (1, 2)
    ]
    assert figures_of(store, runs[0]) != figures_of(store, runs[1])


class Killed(BaseException):
    """Stands for a kill between two steps."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A home with both steps trained in one go, the recipe, and the runs."""
    settings = recipe(
        "demo",
        image_size_px=64,
        crop_px=64,
        batch_size=8,
        n_epochs=2,
        passes_per_epoch=1,
        step2_batch_size=None,
        step2_n_epochs=3,
        micro_batch_size=3,
        n_cpu_threads=1,
    )
    store = fabricate(tmp_path_factory.mktemp("uninterrupted"), plan_cohort())
    first = train_run(store=store, recipe=settings, method="supervised", fold=0, seed=1)
    runs = {
        method: train_run(
            store=store, recipe=settings, method=method, fold=0, seed=1, initial_run_id=first
        )
        for method in ("aals", "pi-model", "mean-teacher", "temporal-ensembling")
    }
    return store, settings, first, runs


@pytest.mark.parametrize(
    ("method", "step"),
    [
        *(("aals", step) for step in (2, 5, 7, 9)),
        *(("pi-model", 5), ("mean-teacher", 7)),
        *(("temporal-ensembling", step) for step in (3, 9)),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(uninterrupted, make_store, monkeypatch, method, step):
    straight, settings, first, runs = uninterrupted
    expected = runs[method]
    killed = make_store(name="killed")
    run_id = train_run(store=killed, recipe=settings, method="supervised", fold=0, seed=1)
    assert run_id == first
    arguments = {
        "recipe": settings,
        "method": method,
        "fold": 0,
        "seed": 1,
        "initial_run_id": first,
    }
    original, initialise, done = Trainer._step, Trainer.__init__, []

    def save_often(self, **rest):
        initialise(self, **rest, save_every_steps=2)

    def kill(self, batches):
        if len(done) == step:
            raise Killed
        done.append(None)
        return original(self, batches)

    monkeypatch.setattr(Trainer, "__init__", save_often)
    with monkeypatch.context() as context:
        context.setattr(Trainer, "_step", kill)
        with pytest.raises(Killed):
            train_run(store=killed, **arguments)
    assert killed.read(TRAINING_RUNS, where={"run_id": expected}).num_rows == 0
    assert train_run(store=killed, **arguments) == expected
    assert not (killed.home.runs / expected / "scratch").exists()
    assert figures_of(killed, expected) == figures_of(straight, expected)
    for kind in ("best", "last"):
        ours, theirs = (
            max((store.home.runs / expected).glob(f"{kind}-*.safetensors")).read_bytes()
            for store in (killed, straight)
        )
        assert ours == theirs


def test_li_mil_keeps_scores_and_no_maps(make_store, tiny_recipe):
    store = make_store()
    first = train_run(store=store, recipe=tiny_recipe, method="supervised", fold=0, seed=1)
    run_id = train_run(
        store=store, recipe=tiny_recipe, method="li-mil", fold=0, seed=1, initial_run_id=first
    )
    predict_run(store=store, run_id=run_id)
    predictions = store.read(PREDICTIONS).to_pylist()
    assert {prediction["map_path"] for prediction in predictions} == {None}
    assert len({prediction["score"] for prediction in predictions}) > 1
    assert not list((store.home.runs / run_id / "maps").iterdir())


def test_a_finished_run_is_not_trained_again(make_store, tiny_recipe, monkeypatch):
    store = make_store()
    arguments = {"recipe": tiny_recipe, "method": "supervised", "fold": 0, "seed": 1}
    run_id = train_run(store=store, **arguments)
    version = store.manifest().version
    monkeypatch.setattr(Trainer, "_step", None)
    assert train_run(store=store, **arguments) == run_id
    assert store.manifest().version == version


def test_supervised_can_go_on_from_a_run(make_store, tiny_recipe):
    store = make_store()
    first = train_run(store=store, recipe=tiny_recipe, method="supervised", fold=0, seed=1)
    again = train_run(
        store=store, recipe=tiny_recipe, method="supervised", fold=0, seed=1, initial_run_id=first
    )
    assert again != first
    assert run_row(store, again)["initial_run_id"] == first
    assert figures_of(store, again)[1, "all", "loss"] < figures_of(store, first)[1, "all", "loss"]


def without(plans, **wrong):
    return [
        plan for plan in plans if any(getattr(plan, name) != value for name, value in wrong.items())
    ]


PLANS = plan_cohort()
NO_CLAVICLE_BOX = [
    FilmPlan("P", plan.split, plan.labels) if plan.is_boxed[1] else plan for plan in PLANS
]
ONE_CLASS = [plan for plan in PLANS if plan.split != "validation" or plan.subset == "N"]


@pytest.mark.parametrize(
    ("plans", "method", "message"),
    [
        ([], "supervised", "fold 0 has no train images"),
        (without(PLANS, split="validation"), "supervised", "fold 0 has no validation images"),
        (without(PLANS, subset="R"), "supervised", "no boxed positive of rib_fracture"),
        (NO_CLAVICLE_BOX, "supervised", "no boxed positive of clavicle_fracture"),
        (without(PLANS, subset="N"), "supervised", "no negatives"),
        (without(PLANS, subset="P"), "aals", "no positives without boxes"),
        (ONE_CLASS, "supervised", "no finding with both positives and negatives"),
    ],
)
def test_a_cohort_that_lacks_something_is_refused(make_store, tiny_recipe, plans, method, message):
    store = make_store(plans or [FilmPlan("N", "test")])
    version = store.manifest().version
    with pytest.raises(CohortError, match=message):
        train_run(
            store=store, recipe=tiny_recipe, method=method, fold=0, seed=1, initial_run_id="any"
        )
    assert store.manifest().version == version
    assert list(store.home.runs.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "method: got 'magic'"),
        ({"method": "aals"}, "starts from a supervised run's best epoch"),
        ({"initial_run_id": "absent"}, "no finished run 'absent'"),
        ({"fold": -1}, "fold: got -1"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_arguments_are_checked(make_store, tiny_recipe, changes, message):
    arguments = {"method": "supervised", "fold": 0, "seed": 1} | changes
    with pytest.raises(ArgumentError, match=message):
        train_run(store=make_store(), recipe=tiny_recipe, **arguments)


def test_a_loss_that_is_no_number_stops_the_run_and_publishes_no_run(
    make_store, tiny_recipe, monkeypatch
):
    store = make_store()
    monkeypatch.setattr(
        "training.trainer.learning_rate",
        lambda recipe, *, n_done, n_steps: 1e30 if n_done >= n_steps / 2 else 1e-3,
    )
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 2"):
        train_run(store=store, recipe=tiny_recipe, method="supervised", fold=0, seed=1)
    assert store.read(TRAINING_RUNS).num_rows == 0
    assert set(store.read(TRAINING_EPOCHS).column("epoch").to_pylist()) == {1}
    saved = next(store.home.runs.rglob("last-*.safetensors"))
    tensors = load_checkpoint(saved).tensors
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_a_tampered_checkpoint_is_not_predicted_with(make_store, tiny_recipe):
    store = make_store()
    run_id = train_run(store=store, recipe=tiny_recipe, method="supervised", fold=0, seed=1)
    path = best_checkpoint_path(store, run_id)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="was altered after it was written"):
        predict_run(store=store, run_id=run_id)
    assert store.read(PREDICTIONS).num_rows == 0
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing under runs/"):
        predict_run(store=store, run_id=run_id)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_id": "absent"}, "no finished run 'absent'"),
        ({"splits": ("exam",)}, "splits: got exam, allowed are train, validation, test"),
        ({"networks": ()}, "networks: got nothing"),
        ({"networks": ("teacher",)}, "has no teacher"),
    ],
)
def test_what_cannot_be_predicted_is_refused(make_store, tiny_recipe, changes, message):
    store = make_store()
    settings = dataclasses.replace(tiny_recipe, n_epochs=1)
    run_id = train_run(store=store, recipe=settings, method="supervised", fold=0, seed=1)
    with pytest.raises(ArgumentError, match=message):
        predict_run(store=store, **({"run_id": run_id} | changes))
