"""What ends a run: its own rules, and what the machine lacks. Each says why; nothing is lost."""

from __future__ import annotations

import dataclasses
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from training.checkpoint import checkpoint_paths, newest_checkpoint
from training.film_dataset import FilmSet
from training.network import PyramidDetector
from training.standing import Standing
from training.stopping_rules import (
    WINDOW,
    check_divergence,
    check_finite,
    check_teacher,
    check_weights,
)
from training.train import train_run
from training.trainer import Trainer
from warehouse_schema.errors import CheckpointError, RiblineError, TrainingError, WarehouseError
from warehouse_schema.tables.runs import TRAINING_EPOCHS, TRAINING_RUNS


@pytest.mark.parametrize(
    ("first", "later", "is_stopped"),
    [
        (0.05, 0.04, False),
        (0.05, 0.6, False),
        (0.05, 0.8, True),
        (3.0, 20.0, False),
        (3.0, 31.0, True),
    ],
)
def test_a_loss_diverges_at_ten_times_the_first_and_above_log_2(first, later, is_stopped):
    standing = Standing()
    for _ in range(WINDOW):
        check_divergence(first, standing, "aals")
    message = "aals: the loss diverges in epoch 1, step 1"
    with pytest.raises(TrainingError, match=message) if is_stopped else nullcontext():
        for _ in range(WINDOW):
            check_divergence(later, standing, "aals")
    assert len(standing.recent_losses) == len(standing.first_losses) == WINDOW


@pytest.mark.parametrize(
    ("before", "after", "is_collapsed"),
    [
        ([0.1, 0.7], [0.0, 0.0], True),
        ([0.1, 0.7], [1.0, 1.0], True),
        ([0.1, 0.7], [0.3, 0.3], True),
        ([0.1, 0.7], [0.3, 0.31], False),
        ([0.01, 0.0101], [0.01, 0.01], False),
        ([0.3], [0.3], False),
    ],
)
def test_a_teacher_that_says_the_same_of_every_film_has_collapsed(before, after, is_collapsed):
    standing = Standing(epoch=3)
    check_teacher(np.array([before, before]).T, standing, "aals")
    message = "the teacher collapsed in epoch 3"
    with pytest.raises(TrainingError, match=message) if is_collapsed else nullcontext():
        check_teacher(np.array([after, after]).T, standing, "aals")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_trained_on_and_not_saved(bad):
    with pytest.raises(TrainingError, match="the loss became"):
        check_finite(bad, Standing(), "aals")
    with pytest.raises(TrainingError, match="the weights are no longer finite"):
        check_weights({"a": torch.tensor([1.0, bad]), "n": torch.tensor(3)}, "aals")
    check_weights({"a": torch.ones(3)}, "aals")


def raising(error):
    def fail(*arguments, **options):
        raise error

    return fail


def full_disk(monkeypatch, store):
    monkeypatch.setattr(
        "warehouse_schema.durable_files.os.fsync", raising(OSError(28, "No space left on device"))
    )


def full_disk_for_pictures(monkeypatch, store):
    monkeypatch.setattr(
        "training.trainer.write_picture", raising(OSError(28, "No space left on device"))
    )


def dying_reader(monkeypatch, store):
    monkeypatch.setattr(FilmSet, "masks", raising(MemoryError()))


def killed_reader(monkeypatch, store):
    monkeypatch.setattr(FilmSet, "masks", raising(SystemExit()))


def no_shard(monkeypatch, store):
    path = store.home.cache / "films.npy"
    away = path.rename(path.with_name("away"))
    return lambda: away.rename(path)


def altered_film(monkeypatch, store):
    path = store.home.cache / "films.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:128] + bytes(byte ^ 1 for byte in whole[128:]))
    return lambda: path.write_bytes(whole)


def small_device(monkeypatch, store, n_films=3):
    forward = PyramidDetector.forward

    def limited(self, films):
        if self.training and len(films) > n_films:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, films)

    monkeypatch.setattr(PyramidDetector, "forward", limited)


def tiny_device(monkeypatch, store):
    small_device(monkeypatch, store, n_films=0)


def dull_teacher(monkeypatch, store):
    original = Trainer._validation_scores

    def scores(self, network):
        has_begun = self.standing.step > 0
        is_teacher = self.method.teacher is not None and network is self.method.teacher.network
        found = original(self, network)
        return found * 0.0 if is_teacher and has_begun else found + np.arange(len(found))[:, None]

    monkeypatch.setattr(Trainer, "_validation_scores", scores)


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (no_shard, WarehouseError, "films.npy is missing or torn. Run `ribline ingest-images`"),
        (altered_film, WarehouseError, "is not the film that was written"),
        (dying_reader, TrainingError, "the thread that reads films ended (MemoryError)"),
        (killed_reader, TrainingError, "the thread that reads films ended (SystemExit)"),
        (full_disk, TrainingError, "cannot be written (No space left on device)"),
        (full_disk_for_pictures, TrainingError, "cannot be written (No space left on device)"),
        (small_device, TrainingError, "of 7 films; 3 fit. Set micro_batch_size = 3"),
        (tiny_device, TrainingError, "the device holds not even one film"),
        (dull_teacher, TrainingError, "the teacher collapsed in epoch 1"),
    ],
)
def test_a_run_that_cannot_go_on_says_why_and_leaves_nothing_half_done(
    *, make_store, tiny_recipe, monkeypatch, harm, error, message
):
    # One epoch, seven or eight films a step.
    settings = dataclasses.replace(tiny_recipe, n_epochs=1)
    store = make_store()
    first = train_run(store=store, recipe=settings, method="supervised", fold=0, seed=1)
    arguments = {"recipe": settings, "method": "aals", "fold": 0, "seed": 1}
    straight = dict(store=store, initial_run_id=first, **arguments)
    runs = store.read(TRAINING_RUNS)
    with monkeypatch.context() as context:
        # What this process has read before, another would read for the first time.
        context.setattr("warehouse_schema.pixel_shards._VERIFIED", set())
        mend = harm(context, store)
        with pytest.raises(error, match=re.escape(message)):
            train_run(**straight)
    if mend is not None:
        mend()
    assert store.read(TRAINING_RUNS).equals(runs)
    assert store.read(TRAINING_EPOCHS, where={"run_id": first}).num_rows
    assert list(store.home.runs.rglob(".*")) == []
    for folder in store.home.runs.glob("aals-*"):
        newest_checkpoint(folder, "last")
    run_id = train_run(**straight)
    assert store.read(TRAINING_RUNS, where={"run_id": run_id}).num_rows == 1


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def earlier_format(path):
    body = path.with_suffix(".json")
    body.write_text(re.sub('"format": [0-9]+', '"format": 1', body.read_text()))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_in_half, "was altered after it was written"),
        (flip_a_byte, "was altered after it was written"),
        (earlier_format, r"has format 1, this version reads format 2.*that wrote it \(0\."),
    ],
)
def test_a_run_does_not_go_on_from_checkpoints_that_are_not_its_own(
    make_store, tiny_recipe, monkeypatch, harm, message
):
    store = make_store()
    arguments = {
        "store": store,
        "recipe": tiny_recipe,
        "method": "supervised",
        "fold": 0,
        "seed": 1,
    }
    with monkeypatch.context() as context:
        context.setattr("training.train._publish", raising(TrainingError("stopped")))
        with pytest.raises(RiblineError, match="stopped"):
            train_run(**arguments)
    (folder,) = store.home.runs.iterdir()
    before = sorted(path.name for path in folder.glob("*-*"))
    for path in checkpoint_paths(folder, "last"):
        harm(path)
    with pytest.raises(CheckpointError, match=message):
        train_run(**arguments)
    assert sorted(path.name for path in folder.glob("*-*")) == before
    assert store.read(TRAINING_RUNS).num_rows == 0
