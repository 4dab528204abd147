"""What a method is: losses of a batch, and what happens after an optimiser step."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from training.batches import Batch
from training.ema import Teacher
from training.film_dataset import Role
from training.losses import batch_loss, pixel_bce
from training.network import PyramidDetector, ScoringNetwork
from training.recipe import Recipe


@dataclass(frozen=True)
class StepLosses:
    """Losses of one micro-batch.

    Attributes:
        total: What is differentiated (eq. 5), a scalar.
        sums: Detached sums for the epoch's figures by name: scalars, or (K,) per finding.
    """

    total: Tensor
    sums: dict[str, Tensor] = field(default_factory=dict)


class Method(ABC):
    """A training method over the one trainer.

    Args:
        recipe: Settings.
        student: The network that is trained.
        n_steps_per_epoch: Optimiser steps of an epoch.

    Attributes:
        name: Name on the command line and in training_runs.
        uses_p: True where the method trains on R, P and N; else on R and N.
        needs_initial_run: True for a second step, which starts from a first step's best epoch.
        takes_both_steps: True for a method without a first step: without an initial run it takes
            as many optimiser steps as step 1 and step 2 together.
        needs_second_view: True where a batch must hold a second view of its films.
        needs_boxes: True where a batch must hold the boxes themselves beside their masks.
        needs_whole_films: True where windows of films are of no use, also in step 1.
        learns_from_boxes: False where image labels are enough, so that no box is asked for.
        network: Class of the network.
        is_single_process: True where the method cannot be split over processes.
        teacher: The EMA teacher, None for methods without one.
    """

    name: ClassVar[str]
    uses_p: ClassVar[bool] = False
    needs_initial_run: ClassVar[bool] = False
    takes_both_steps: ClassVar[bool] = False
    needs_second_view: ClassVar[bool] = False
    needs_boxes: ClassVar[bool] = False
    needs_whole_films: ClassVar[bool] = False
    learns_from_boxes: ClassVar[bool] = True
    is_single_process: ClassVar[bool] = False
    network: ClassVar[type[ScoringNetwork]] = PyramidDetector

    def __init__(self, recipe: Recipe, student: ScoringNetwork, *, n_steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.n_steps_per_epoch = n_steps_per_epoch
        self.teacher: Teacher | None = None

    @abstractmethod
    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """Losses of a micro-batch."""

    def open(self, *, folder: Path, n_films: int) -> None:
        """Called once before the first epoch.

        Args:
            folder: The run's folder; a method keeps its own files in ``scratch`` under it.
            n_films: Training films, which ``Batch.rows`` number.
        """
        self.scratch, self.n_films = folder / "scratch", n_films

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch, and when a killed run goes on in it."""
        self.epoch = epoch

    def close(self) -> None:
        """Called once after the last epoch: removes the method's own files."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def after_step(self, student: nn.Module) -> None:
        """Called after each optimiser step."""
        if self.teacher is not None:
            self.teacher.update(student)

    def epoch_figures(self, sums: dict[str, list[float]]) -> dict[str, list[float | None]]:
        """Figures per finding of an epoch, from the summed ``StepLosses.sums`` of length K."""
        return {}

    def supervised_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """L_sup (eq. 1) over boxed findings, N, and findings the record denies."""
        applies = batch.roles == Role.BOXES
        if self.recipe.record_negative == "zero":
            applies = applies | (batch.roles == Role.RECORD_NEGATIVE)
        per_finding = pixel_bce(logits, batch.targets, positive_weight=self.recipe.positive_weight)
        return batch_loss(per_finding, applies, batch.n_global)
