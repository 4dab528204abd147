"""The trainer: a plain loop over epochs and steps that any method plugs its losses into.

Everything random is a function of (seed, epoch, step), and a checkpoint holds all the rest: a run
that was killed goes on from its last checkpoint and ends with the numbers of an uninterrupted one,
bit for bit on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.batches import Batch, BatchLoader
from training.checkpoint import newest_checkpoint, prefixed, save_checkpoint
from training.device import has_fast_bfloat16, peak_memory_gib
from training.film_dataset import FilmSet
from training.logbook import Logbook
from training.methods.method import Method, StepLosses
from training.micro_batches import memory_error
from training.network import ScoringNetwork, load_network
from training.optimisation import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
)
from training.processes import ALONE, Processes
from training.pseudo_label_pictures import FOLDER, example_pictures, write_picture
from training.recipe import Recipe
from training.sampler import n_steps_per_epoch
from training.scoring import finding_aurocs, image_scores
from training.standing import EpochRow, Standing, mean_auroc
from training.stop_signal import StopSignal
from training.stopping_rules import check_divergence, check_finite, check_teacher, check_weights
from training.throughput import Throughput
from warehouse_schema.errors import TrainingError, TrainingStoppedError
from warehouse_schema.progress import Progress

LAST, BEST = "last", "best"


class Trainer:
    """Trains one network on one fold.

    Args:
        student: Network, on its device, with its initial weights.
        method: Losses and teacher.
        train_films: Films the method trains on.
        validation_films: Films that choose the best epoch.
        recipe: Settings.
        seed: Seed of order and augmentation.
        folder: Folder of the run: checkpoints, TensorBoard logs, pictures of pseudo-labels.
        device: Where the network is.
        progress: Listener.
        processes: This process among those that train the run.
        publish_rows: Takes all figures so far after each epoch, in the first process.
        save_every_steps: Steps between checkpoints within an epoch, beside the one after each.
    """

    def __init__(
        self,
        *,
        student: ScoringNetwork,
        method: Method,
        train_films: FilmSet,
        validation_films: FilmSet,
        recipe: Recipe,
        seed: int,
        folder: Path,
        device: torch.device,
        progress: Progress,
        processes: Processes = ALONE,
        publish_rows: Callable[[list[EpochRow]], None] = lambda rows: None,
        save_every_steps: int = 500,
    ) -> None:
        self.student = student
        self.method = method
        self.train_films, self.validation_films = train_films, validation_films
        self.recipe = recipe
        self.folder = folder
        self.device = device
        self.progress = progress
        self.processes = processes
        self.publish_rows = publish_rows
        self.save_every_steps = save_every_steps
        self.is_mixed = recipe.is_mixed_precision and has_fast_bfloat16(device)
        self.n_steps = n_steps_per_epoch(recipe, len(train_films))
        self.loader = BatchLoader(
            train_films,
            recipe,
            seed=seed,
            device=device,
            crop_px=recipe.crop_px,
            has_second_view=method.needs_second_view,
            has_boxes=method.needs_boxes,
            processes=processes,
        )
        self.optimizer = build_optimizer(recipe, student)
        compiled = torch.compile(student) if recipe.is_compiled else student
        # What a method calls; its parameters are the student's.
        self.model: nn.Module = processes.parallel(compiled, device)  # type: ignore[arg-type]
        self.standing = Standing()
        self.stop = StopSignal()
        self.throughput = Throughput()

    def fit(self) -> Standing:
        """Train all epochs, from the newest checkpoint where there is one.

        Returns:
            The final standing; the folder holds the checkpoints of the best and the last epoch.

        Raises:
            TrainingError: A rule of ``stopping_rules`` applies, memory or disk do not suffice, or
                the thread that reads films ended.
            TrainingStoppedError: SIGTERM came; the last checkpoint is of the step that it came in.
            CheckpointError: The checkpoints found are damaged or of another network.
        """
        self._restore()
        self.method.open(folder=self.folder, n_films=len(self.loader))
        standing = self.standing
        self.progress.start(f"train {self.method.name}", self.recipe.n_epochs * self.n_steps)
        self.progress.advance(self.n_done)
        log = Logbook(self.folder / "tensorboard", is_written=self.processes.is_first)
        with log as logbook, self.stop:
            while standing.epoch <= self.recipe.n_epochs:
                self._train_epoch(logbook)
                self._finish_epoch(logbook)
        self.method.close()
        self.progress.finish()
        return standing

    @property
    def n_done(self) -> int:
        """Optimiser steps done."""
        return (self.standing.epoch - 1) * self.n_steps + self.standing.step

    def _train_epoch(self, logbook: Logbook) -> None:
        standing = self.standing
        self.method.begin_epoch(standing.epoch)
        for batches in self.loader.steps(standing.epoch, first_step=standing.step):
            started = time.perf_counter()
            loss, is_stopped = self._step(batches)
            standing.step += 1
            self.throughput.n_films += batches[0].n_global
            self.throughput.training_s += time.perf_counter() - started
            self.throughput.waited_s = self.loader.waited_s
            logbook.scalar("loss/step", loss, self.n_done)
            self.progress.advance(
                1,
                epoch=f"{standing.epoch}/{self.recipe.n_epochs}",
                loss=loss,
                images_per_s=self.throughput.images_per_s,
                waiting=f"{self.throughput.waiting_share:.0%}",
            )
            if is_stopped:
                self._save(LAST, self.n_done)
                raise TrainingStoppedError(
                    f"{self.method.name}: stopped by SIGTERM after step {standing.step} of epoch "
                    f"{standing.epoch}, and saved. The same command goes on from there."
                )
            if standing.step % self.save_every_steps == 0 and standing.step < self.n_steps:
                self._save(LAST, self.n_done)

    def _step(self, batches: list[Batch]) -> tuple[float, bool]:
        """One optimiser step over the micro-batches of a batch: its loss, and whether to stop."""
        self.student.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.n_done)
        self.optimizer.zero_grad(set_to_none=True)
        sums = {"stop": torch.tensor(float(self.stop.is_asked), device=self.device)}
        is_held = True
        try:
            for batch in batches:
                with self.processes.adding_up(self.model, is_last=batch is batches[-1]):
                    for name, value in self._backward(batch).items():
                        sums[name] = sums[name] + value if name in sums else value
        except torch.OutOfMemoryError:
            is_held = False
        if not is_held:  # outside of the clause, whose error still holds the tensors
            raise self._too_large(batches[0])
        totals = self.processes.summed(sums)
        loss, is_stopped = totals.pop("total")[0], bool(totals.pop("stop")[0])
        check_finite(loss, self.standing, self.method.name)
        check_divergence(loss, self.standing, self.method.name)
        self.standing.add(totals)
        self.optimizer.step()
        self.processes.average_buffers(self.student)
        self.method.after_step(self.student)
        return loss, is_stopped

    def forward(self, batch: Batch) -> StepLosses:
        """Losses of a micro-batch: the networks in bfloat16 where that is faster."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed):
            return self.method.losses(self.model, batch)

    def _rate(self, n_done: int) -> float:
        n_steps = self.recipe.n_epochs * self.n_steps
        return learning_rate(self.recipe, n_done=n_done, n_steps=n_steps)

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Add a micro-batch's gradients; returns the sums for the epoch's figures."""
        losses = self.forward(batch)
        # Processes average their gradients, and the losses of all are to be added.
        (losses.total * self.processes.count).backward()  # type: ignore[no-untyped-call]
        return {**losses.sums, "total": losses.total.detach()}

    def _too_large(self, batch: Batch) -> TrainingError:
        def attempt(n_films: int) -> None:
            self.optimizer.zero_grad(set_to_none=True)
            self._backward(batch.part(n_films))

        return memory_error(attempt, len(batch.films))

    def _finish_epoch(self, logbook: Logbook) -> None:
        """Validate, choose, save, publish and log."""
        standing, method = self.standing, self.method
        figures: dict[str, list[float | None]] = {
            name: [values[0] / self.n_steps]
            for name, values in standing.sums.items()
            if len(values) == 1 and name.startswith("loss")
        }
        figures["learning_rate"] = [self._rate(self.n_done - 1)]
        figures |= method.epoch_figures(standing.sums)
        labels = self.validation_films.labels
        figures["validation_auroc"] = finding_aurocs(self._validation_scores(self.student), labels)
        if method.teacher is not None:
            scores = self._validation_scores(method.teacher.network)
            check_teacher(scores, standing, method.name)
            figures["validation_auroc_teacher"] = finding_aurocs(scores, labels)
        mean = mean_auroc(figures["validation_auroc"])
        standing.record(figures, self.recipe.findings)
        if mean > standing.best_auroc:
            standing.best_epoch, standing.best_auroc = standing.epoch, mean
            self._save(BEST, standing.epoch)
        self._log_epoch(logbook)
        self.progress.advance(
            0, validation_auroc=mean, peak_memory_gib=peak_memory_gib(self.device)
        )
        standing.begin_next_epoch()
        self._save(LAST, self.n_done)
        if self.processes.is_first:
            self.publish_rows(standing.rows)

    def _log_epoch(self, logbook: Logbook) -> None:
        """The epoch's figures for TensorBoard, and its examples of pseudo-labels."""
        if not self.processes.is_first:
            return
        epoch = self.standing.epoch
        for number, finding, metric, value in self.standing.rows:
            if number == epoch and value is not None:
                logbook.scalar(f"{metric}/{finding}", value, epoch)
        logbook.scalar("speed/images_per_s", self.throughput.images_per_s, epoch)
        logbook.scalar("speed/waiting_for_data_share", self.throughput.waiting_share, epoch)
        logbook.scalar("speed/peak_memory_gib", peak_memory_gib(self.device), epoch)
        picture = example_pictures(self.method, self.student, self.train_films, self.device)
        if picture is not None:
            logbook.picture("pseudo_labels", picture, epoch)
            write_picture(self.folder / FOLDER / f"epoch-{epoch:04d}.png", picture)

    def _validation_scores(self, network: ScoringNetwork) -> NDArray[np.float64]:
        """Scores of all validation films, (n, K), each scored by one process."""
        films = self.validation_films
        first, stop = self.processes.part(len(films))
        if self.processes.count > 1:
            films = films.take(np.arange(first, stop))
        scores = image_scores(network, films, device=self.device)
        return self.processes.gathered(scores, first, len(self.validation_films))

    def _save(self, kind: str, number: int) -> None:
        if not self.processes.is_first:
            return
        tensors = prefixed("student", self.student.state_dict())
        if self.method.teacher is not None:
            tensors |= prefixed("teacher", self.method.teacher.network.state_dict())
        if kind == LAST:
            tensors |= prefixed("optimizer", optimizer_tensors(self.optimizer))
        check_weights(tensors, self.method.name)
        state = {"standing": self.standing.to_json(), "recipe": self.recipe.to_json()}
        save_checkpoint(self.folder, kind, number, tensors, state)

    def _restore(self) -> None:
        checkpoint = newest_checkpoint(self.folder, LAST)
        if checkpoint is None:
            if self.method.teacher is not None:
                scores = self._validation_scores(self.method.teacher.network)
                check_teacher(scores, self.standing, self.method.name)
            return
        standing = Standing.of(checkpoint)
        load_network(self.student, checkpoint.part("student"))
        if self.method.teacher is not None:
            load_network(self.method.teacher.network, checkpoint.part("teacher"))
        restore_optimizer(self.optimizer, self.student, checkpoint.part("optimizer"))
        self.standing = standing
