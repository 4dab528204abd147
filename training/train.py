"""Stage `train`: one run of one method on one fold."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import torch
from torch import nn

from training.backbones import weights_fingerprint
from training.checkpoint import checkpoint_paths, load_checkpoint
from training.methods import method_named
from training.methods.method import Method
from training.network import build_network, load_network
from training.processes import Processes, joined_processes
from training.protocol import run_recipe
from training.recipe import Recipe
from training.recomputing import recompute_backbone
from training.run_inputs import RunInputs, load_run_inputs
from training.sampler import n_steps_per_epoch
from training.standing import EpochRow, Standing
from training.trainer import BEST, Trainer
from warehouse_schema.code_version import code_version
from warehouse_schema.errors import ArgumentError, CheckpointError, TrainingError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import CONSENSUS_BOXES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.runs import TRAINING_EPOCHS, TRAINING_RUNS


@writes_files
def train_run(
    *,
    store: Store,
    recipe: Recipe,
    method: str,
    fold: int,
    seed: int,
    initial_run_id: str | None = None,
    progress: Progress = SILENT,
) -> str:
    """Train a run, or finish one that was interrupted; one that is complete is left as it is.

    Under torchrun every process calls this, and the first one writes.

    The run's id is METHOD-FOLD-SEED-HASH, with a hash of the recipe, the weights file, the
    initial run and the films, labels and boxes trained on: the same inputs name the same run.

    Args:
        store: Warehouse.
        recipe: Settings; a run that starts from another one takes its step-2 values.
        method: One of ``training.methods.METHODS``.
        fold: Cross-validation fold.
        seed: Seed of weights, order and augmentation, at least 0.
        initial_run_id: Run whose best epoch this one starts from; most methods need one.
        progress: Listener.

    Returns:
        The run's id.

    Raises:
        ArgumentError: Unknown method, fold or initial run, or a seed below 0.
        CohortError: The fold has not what the method needs.
        TrainingError: The run stopped itself (``training.trainer``), or the disk is full.
        TrainingStoppedError: SIGTERM came, and the run was saved.
        CheckpointError: A checkpoint is damaged or does not fit.
    """
    _check_arguments(method=method, fold=fold, seed=seed, initial_run_id=initial_run_id)
    inputs = load_run_inputs(store=store, recipe=recipe, method=method, fold=fold, seed=seed)
    recipe = run_recipe(
        recipe,
        method_named(method),
        has_initial_run=initial_run_id is not None,
        n_films_step1=inputs.n_films_step1,
        n_films_step2=inputs.n_films_step2,
    )
    weights = weights_fingerprint(recipe.backbone, recipe.weights)
    run_hash = _hash_of(recipe, initial_run_id, inputs.fingerprint + weights)
    run_id = f"{method}-{fold}-{seed}-{run_hash}"
    if store.read(TRAINING_RUNS, columns=["run_id"], where={"run_id": run_id}).num_rows:
        best_checkpoint_path(store, run_id)
        return run_id
    run = _Run(run_id, recipe, method, fold, seed, initial_run_id)
    device = torch_device()
    with torch_settings(recipe.n_cpu_threads), joined_processes(device) as processes:
        started = datetime.now(UTC), time.perf_counter()
        shown = progress if processes.is_first else SILENT
        trainer, weights_source = _trainer(
            store=store,
            run=run,
            inputs=inputs,
            device=device,
            processes=processes,
            progress=shown,
        )
        try:
            standing = trainer.fit()
        except OSError as error:
            raise TrainingError(
                f"{method}: a file of the run cannot be written ({error.strerror}). Free space "
                "under the home folder and start the same command again: it goes on from the last "
                "checkpoint."
            ) from None
        if processes.is_first:
            row = _run_row(store, run, inputs, trainer, standing) | {
                "weights_source": weights_source,
                "started_datetime": started[0],
                "wall_s": time.perf_counter() - started[1],
            }
            _publish(store, run, standing.rows, row)
    return run_id


@dataclass(frozen=True)
class _Run:
    run_id: str
    recipe: Recipe
    method: str
    fold: int
    seed: int
    initial_run_id: str | None


def _check_arguments(*, method: str, fold: int, seed: int, initial_run_id: str | None) -> None:
    if fold < 0:
        raise ArgumentError(f"fold: got {fold}, allowed are 0 and above.")
    if seed < 0:
        raise ArgumentError(f"seed: got {seed}, allowed are 0 and above.")
    if method_named(method).needs_initial_run and initial_run_id is None:
        raise ArgumentError(
            f"method {method} starts from a supervised run's best epoch. Run `ribline train "
            "--method supervised` first and name its run with --initial-run."
        )


def _hash_of(recipe: Recipe, initial_run_id: str | None, fingerprint: str) -> str:
    parts = "\n".join([recipe.changes_to_json(), initial_run_id or "", fingerprint])
    return hashlib.sha256(parts.encode()).hexdigest()[:8]


def _trainer(
    *,
    store: Store,
    run: _Run,
    inputs: RunInputs,
    device: torch.device,
    processes: Processes,
    progress: Progress,
) -> tuple[Trainer, str]:
    recipe = run.recipe
    kind = method_named(run.method)
    if processes.count > 1 and kind.is_single_process:
        raise ArgumentError(
            f"processes: got {processes.count}, but method {run.method} keeps a memory of all "
            "films and runs in one. Start it without torchrun."
        )
    student, weights_source = build_network(recipe, seed=run.seed, kind=kind.network)
    if run.initial_run_id is not None:
        load_initial_weights(store, run.initial_run_id, student, recipe)
    student.to(device)
    if recipe.is_recomputing:
        recompute_backbone(student)
    folder = store.home.runs / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    n_steps = n_steps_per_epoch(recipe, len(inputs.train))
    method = kind(recipe, student, n_steps_per_epoch=n_steps)
    trainer = Trainer(
        student=student,
        method=method,
        train_films=inputs.train,
        validation_films=inputs.validation,
        recipe=recipe,
        seed=run.seed,
        folder=folder,
        device=device,
        progress=progress,
        processes=processes,
        publish_rows=lambda rows: _publish(store, run, rows),
    )
    return trainer, weights_source


def load_initial_weights(store: Store, run_id: str, network: nn.Module, recipe: Recipe) -> None:
    """Put the best epoch's student of another run into a network.

    Raises:
        ArgumentError: No such run, or one with other findings.
        CheckpointError: Its checkpoint is damaged, or of another backbone.
    """
    path = best_checkpoint_path(store, run_id)
    row = run_row(store, run_id)
    if row["findings"] != ",".join(recipe.findings):
        raise ArgumentError(
            f"initial_run_id: run {run_id} was trained on {row['findings']}, this one is on "
            f"{','.join(recipe.findings)}. Name a run with the same findings."
        )
    load_network(network, load_checkpoint(path).part("student"))


def run_row(store: Store, run_id: str) -> dict[str, object]:
    """The row of a finished run in training_runs.

    Raises:
        ArgumentError: No such run.
    """
    rows = store.read(TRAINING_RUNS, where={"run_id": run_id}).to_pylist()
    if not rows:
        raise ArgumentError(
            f"run: there is no finished run '{run_id}'. The table training_runs lists them."
        )
    return dict(rows[0])


def best_checkpoint_path(store: Store, run_id: str) -> Path:
    """Path of a finished run's best checkpoint.

    Raises:
        ArgumentError: No such run.
        CheckpointError: The file is gone.
    """
    path = store.home.root / str(run_row(store, run_id)["checkpoint_path"])
    if not path.is_file():
        raise CheckpointError(
            f"run {run_id}: its checkpoint {path.name} is missing under runs/. Restore it from a "
            "backup, or train with another seed."
        )
    return path


def torch_device() -> torch.device:
    """The device that runs train and predict on: a CUDA device of its own where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


@contextmanager
def torch_settings(n_cpu_threads: int) -> Iterator[None]:
    """Deterministic kernels and a fixed number of threads; what was set before comes back."""
    n_threads, is_strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(n_cpu_threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.use_deterministic_algorithms(is_strict)


def _run_row(
    store: Store, run: _Run, inputs: RunInputs, trainer: Trainer, standing: Standing
) -> dict[str, object]:
    recipe, text = run.recipe, run.recipe.to_json()
    best = next(
        path
        for path in checkpoint_paths(trainer.folder, BEST)
        if path.stem == f"{BEST}-{standing.best_epoch:08d}"
    )
    method: Method = trainer.method
    has_aals = run.method == "aals"
    return {
        "run_id": run.run_id,
        "method": run.method,
        "recipe": recipe.name,
        "fold": run.fold,
        "seed": run.seed,
        "initial_run_id": run.initial_run_id,
        "backbone": recipe.backbone,
        "image_size_px": recipe.image_size_px,
        "findings": ",".join(recipe.findings),
        "alpha": None if method.teacher is None else method.teacher.alpha,
        "a0": recipe.a0 if has_aals else None,
        "t": recipe.t if has_aals else None,
        "configuration_json": text,
        "configuration_hash": hashlib.sha256(text.encode()).hexdigest(),
        "n_train_r": inputs.train.count("R"),
        "n_train_p": inputs.train.count("P"),
        "n_train_n": inputs.train.count("N"),
        "n_steps": recipe.n_epochs * trainer.n_steps,
        "best_epoch": standing.best_epoch,
        "status": "completed",
        "checkpoint_path": str(best.relative_to(store.home.root)),
        "code_version": code_version(),
        "device": f"{trainer.device.type}, {'bfloat16' if trainer.is_mixed else 'float32'}",
        "images_per_s": trainer.throughput.images_per_s,
    }


def _publish(
    store: Store, run: _Run, figures: list[EpochRow], row: dict[str, object] | None = None
) -> None:
    """Write the figures of the epochs so far and, at the end, the run's row.

    Rows that stand already are not written again, so a run that goes on doubles nothing.
    """
    names = ("epoch", "finding", "metric", "value")
    epochs = [{"run_id": run.run_id, **dict(zip(names, each, strict=True))} for each in figures]
    configuration = {"recipe": run.recipe.to_json(), "method": run.method, "seed": run.seed}
    with store.commit(stage="train", configuration=configuration, run_id=run.run_id) as commit:
        commit.uses(COHORT, IMAGE_LABELS, CONSENSUS_BOXES, IMAGE_PIXELS)
        if row is not None:
            commit.upsert(TRAINING_RUNS, pa.Table.from_pylist([row], schema=TRAINING_RUNS.schema))
        commit.upsert(TRAINING_EPOCHS, pa.Table.from_pylist(epochs, schema=TRAINING_EPOCHS.schema))
