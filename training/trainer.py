"""The trainer: a plain loop over epochs and steps that any method plugs its losses into.

Everything random is a function of (seed, epoch, step), and a checkpoint holds all the rest: a run
that was killed goes on from its last checkpoint and ends with the numbers of an uninterrupted one,
bit for bit on a CPU.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from training.batches import Batch, BatchLoader
from training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from training.film_dataset import FilmSet
from training.logbook import Logbook
from training.methods.method import Method
from training.network import ScoringNetwork, load_network
from training.recipe import Recipe
from training.sampler import n_steps_per_epoch
from training.scoring import finding_aurocs, image_scores
from warehouse_schema.errors import TrainingError
from warehouse_schema.progress import Progress

LAST, BEST = "last", "best"


@dataclass
class Standing:
    """How far a run is; with the tensors, all that a resume needs.

    Attributes:
        epoch: Epoch under way, from 1.
        step: Steps done in it.
        sums: Sums of the epoch's figures so far: scalars as lists of length 1, or one per finding.
        rows: Finished figures: epoch, finding or 'all', metric, value.
        best_epoch: Epoch with the best mean validation AUROC so far; 0 before the first.
        best_auroc: That AUROC.
    """

    epoch: int = 1
    step: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)
    rows: list[tuple[int, str, str, float | None]] = field(default_factory=list)
    best_epoch: int = 0
    best_auroc: float = -1.0


class Trainer:
    """Trains one network on one fold.

    Args:
        student: Network, on its device, with its initial weights.
        method: Losses and teacher.
        train_films: Films the method trains on.
        validation_films: Films that choose the best epoch.
        recipe: Settings.
        seed: Seed of order and augmentation.
        folder: Folder of the run: checkpoints and TensorBoard logs.
        device: Where the network is.
        progress: Listener.
        save_every_steps: Steps between checkpoints within an epoch; one is written after each
            epoch anyhow.
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
        save_every_steps: int = 500,
    ) -> None:
        self.student = student
        self.method = method
        self.validation_films = validation_films
        self.recipe = recipe
        self.folder = folder
        self.device = device
        self.progress = progress
        self.save_every_steps = save_every_steps
        self.n_steps = n_steps_per_epoch(recipe, len(train_films))
        self.loader = BatchLoader(
            train_films,
            recipe,
            seed=seed,
            device=device,
            crop_px=recipe.crop_px,
            has_second_view=method.needs_second_view,
            has_boxes=method.needs_boxes,
        )
        self.optimizer = _optimizer(recipe, student)
        self.standing = Standing()
        self.n_films_seen = 0
        self.training_s = 0.0

    def fit(self) -> Standing:
        """Train all epochs, from the newest checkpoint where there is one.

        Returns:
            The final standing; the folder holds the checkpoints of the best and the last epoch.

        Raises:
            TrainingError: The loss is not finite, or a checkpoint cannot be written.
            CheckpointError: The checkpoints found are damaged or of another network.
        """
        self._restore(newest_checkpoint(self.folder, LAST))
        self.method.open(folder=self.folder, n_films=len(self.loader))
        standing = self.standing
        done = (standing.epoch - 1) * self.n_steps + standing.step
        self.progress.start(f"train {self.method.name}", self.recipe.n_epochs * self.n_steps)
        if done:
            self.progress.advance(done)
        with Logbook(self.folder / "tensorboard") as logbook:
            while standing.epoch <= self.recipe.n_epochs:
                self._train_epoch(logbook)
                self._finish_epoch(logbook)
        self.method.close()
        self.progress.finish()
        return standing

    def _train_epoch(self, logbook: Logbook) -> None:
        standing = self.standing
        self.method.begin_epoch(standing.epoch)
        for batches in self.loader.steps(standing.epoch, first_step=standing.step):
            started = time.perf_counter()
            loss = self._step(batches)
            standing.step += 1
            n_films = batches[0].n_global
            self.n_films_seen += n_films
            self.training_s += time.perf_counter() - started
            done = (standing.epoch - 1) * self.n_steps + standing.step
            logbook.scalar("loss/step", loss, done)
            self.progress.advance(
                1,
                epoch=f"{standing.epoch}/{self.recipe.n_epochs}",
                loss=loss,
                images_per_s=self.images_per_s,
            )
            if standing.step % self.save_every_steps == 0 and standing.step < self.n_steps:
                self._save(LAST, done)

    def _step(self, batches: list[Batch]) -> float:
        """One optimiser step over the micro-batches of a batch; its loss."""
        self.student.train()
        rate = self.learning_rate(self.standing.epoch, self.standing.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        is_mixed = self.recipe.is_mixed_precision and self.device.type == "cuda"
        loss = 0.0
        for batch in batches:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=is_mixed):
                losses = self.method.losses(self.student, batch)
            losses.total.backward()  # type: ignore[no-untyped-call]
            loss += float(losses.total.detach())
            self._add(losses.sums)
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.method.name}: the loss became {loss} in epoch {self.standing.epoch}, step "
                f"{self.standing.step + 1}. Lower learning_rate; the checkpoints written before "
                "are intact."
            )
        self.optimizer.step()
        self.method.after_step(self.student)
        return loss

    def _add(self, sums: dict[str, Tensor]) -> None:
        for name, values in sums.items():
            new = [float(value) for value in values.reshape(-1)]
            old = self.standing.sums.get(name, [0.0] * len(new))
            self.standing.sums[name] = [a + b for a, b in zip(old, new, strict=True)]

    def _finish_epoch(self, logbook: Logbook) -> None:
        """Validate, choose, log and save."""
        standing, method = self.standing, self.method
        figures: dict[str, list[float | None]] = {
            name: [values[0] / self.n_steps]
            for name, values in standing.sums.items()
            if len(values) == 1 and name.startswith("loss")
        }
        figures["learning_rate"] = [self.learning_rate(standing.epoch, self.n_steps - 1)]
        figures |= method.epoch_figures(standing.sums)
        figures["validation_auroc"] = self._validation_aurocs(self.student)
        if method.teacher is not None:
            teacher = self._validation_aurocs(method.teacher.network)
            figures["validation_auroc_teacher"] = teacher
        mean = mean_auroc(figures["validation_auroc"])
        self._record(figures, mean)
        if mean > standing.best_auroc:
            standing.best_epoch, standing.best_auroc = standing.epoch, mean
            self._save(BEST, standing.epoch)
        for epoch, finding, metric, value in standing.rows:
            if epoch == standing.epoch and value is not None:
                logbook.scalar(f"{metric}/{finding}", value, epoch)
        self.progress.advance(0, validation_auroc=mean)
        standing.epoch, standing.step, standing.sums = standing.epoch + 1, 0, {}
        self._save(LAST, (standing.epoch - 1) * self.n_steps)

    def _record(self, figures: dict[str, list[float | None]], mean: float) -> None:
        epoch, findings = self.standing.epoch, self.recipe.findings
        for metric, values in figures.items():
            names = findings if metric.startswith(("validation", "aals")) else ("all",)
            self.standing.rows += [
                (epoch, name, metric, value) for name, value in zip(names, values, strict=True)
            ]
        self.standing.rows.append((epoch, "all", "validation_auroc", mean))

    def _validation_aurocs(self, network: ScoringNetwork) -> list[float | None]:
        scores = image_scores(network, self.validation_films, device=self.device)
        return finding_aurocs(scores, self.validation_films.labels)

    @property
    def images_per_s(self) -> float:
        """Throughput of the steps, validation left out."""
        seconds = self.training_s + self.loader.waited_s
        return self.n_films_seen / seconds if seconds else 0.0

    def learning_rate(self, epoch: int, step: int) -> float:
        """Learning rate of a step (from 0) of an epoch (from 1)."""
        recipe = self.recipe
        if recipe.schedule == "constant":
            return recipe.learning_rate
        done = (epoch - 1) * self.n_steps + step
        total = recipe.n_epochs * self.n_steps
        rise = min(1.0, (done + 1) / (recipe.warmup_steps + 1))
        return recipe.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * done / total))

    def _save(self, kind: str, number: int) -> None:
        tensors = _prefixed("student", self.student.state_dict())
        if self.method.teacher is not None:
            tensors |= _prefixed("teacher", self.method.teacher.network.state_dict())
        if kind == LAST:
            for index, entries in self.optimizer.state_dict()["state"].items():
                tensors |= _prefixed(f"optimizer/{index}", entries)
        state: dict[str, object] = {
            "standing": dataclasses.asdict(self.standing),
            "recipe": self.recipe.to_json(),
        }
        save_checkpoint(self.folder, kind, number, tensors, state)

    def _restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        load_network(self.student, checkpoint.part("student"))
        if self.method.teacher is not None:
            load_network(self.method.teacher.network, checkpoint.part("teacher"))
        parameters = list(self.student.parameters())
        saved = checkpoint.part("optimizer")
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in saved.items():
            index, entry = name.split("/")
            like = parameters[int(index)]
            # A fused optimiser walks through memory: its state must lie as its parameter does.
            is_shaped = tensor.shape == like.shape
            laid = torch.empty_like(like).copy_(tensor) if is_shaped else tensor
            state.setdefault(int(index), {})[entry] = laid.detach()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        fields = checkpoint.state["standing"]
        assert isinstance(fields, dict)
        fields["rows"] = [tuple(row) for row in fields["rows"]]
        self.standing = Standing(**fields)


def mean_auroc(values: list[float | None]) -> float:
    """Mean over the findings that have an AUROC."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def _optimizer(recipe: Recipe, student: nn.Module) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(
        student.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}
