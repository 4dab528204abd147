"""Our AALS step, data reading and EMA against the straightforward way; on a GPU, its roofline too.

The straightforward way is what a competent researcher writes first: PNG files decoded and
augmented film by film on the CPU, masks with them; contiguous float32 tensors; the teacher's
forward pass on the whole batch; an optimiser loop over parameters; an EMA that allocates per
parameter. Ours is the trainer as `train` runs it: mapped uint8 shards, one warp of films and
masks, channels last, bfloat16 where the processor has it, the teacher's pass on P alone, fused
optimiser, foreach EMA. Same network, batch and losses (checked), same process, measured in turns;
medians.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from training_roofline import PAPER_SIZE, TINY_SIZE, measure_device, write_films

from training.aals import sharpen
from training.batches import Batch, BatchLoader
from training.ema import Teacher
from training.film_dataset import FilmSet, Role
from training.losses import batch_loss, bernoulli_kl, pixel_bce
from training.methods.aals import Aals
from training.network import PyramidDetector, build_network, normalise
from training.recipe import Recipe, recipe
from training.trainer import Trainer
from warehouse_schema.progress import SILENT

N_FILMS = 48
SUBSETS = ("R", "P", "N", "N", "N", "N", "N", "N")
ROLES = {
    "R": (Role.BOXES, Role.RECORD_NEGATIVE),
    "P": (Role.DISTILL, Role.RECORD_NEGATIVE),
    "N": (Role.BOXES, Role.BOXES),
}


def main() -> None:
    """Measures and prints; --json as one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=8, help="measurements of each side")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file too")
    parser.add_argument(
        "--rehearse", action="store_true", help="without a GPU: its part, tiny and on the CPU"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    figures: dict[str, object] = {"threads": arguments.threads, "device": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        figures["step"] = measure_step(Path(folder), arguments.rounds)
        figures["data"] = measure_data(Path(folder), arguments.rounds)
        figures["ema"] = measure_ema(arguments.rounds)
        if torch.cuda.is_available():
            figures["gpu"] = measure_device(Path(folder), torch.device("cuda", 0), PAPER_SIZE)
        elif arguments.rehearse:
            figures["rehearsal"] = measure_device(Path(folder), torch.device("cpu"), TINY_SIZE)
        else:
            figures["not_run"] = (
                "no CUDA device: images/s at 1024 x 1024 and batch 48, the roofline beside it, "
                "and bfloat16 against float32 over 50 steps"
            )
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=2))
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, values in figures.items():
        print(name, values)


def measure_step(folder: Path, rounds: int) -> dict[str, object]:
    """One AALS step of the light network, batch 16 at 256 pixels, data included."""
    settings = recipe("demo", batch_mix="natural", crop_px=None, passes_per_epoch=1)
    films = write_films(folder / "step", settings.image_size_px)
    theirs = StraightforwardLoop(films, settings, folder / "step")
    ours = OurLoop(films, settings, folder / "ours")
    float32 = OurLoop(films, replace(settings, is_mixed_precision=False), folder / "float32")
    losses = {
        "straightforward_loss": theirs.loss_of(float32.batch),
        "float32_loss": float32.loss_of_batch(),
        "loss": ours.loss_of_batch(),
    }
    assert math.isclose(losses["straightforward_loss"], losses["float32_loss"], rel_tol=1e-5)
    assert math.isclose(losses["straightforward_loss"], losses["loss"], rel_tol=2e-2)
    return {
        "is_bfloat16": ours.trainer.is_mixed,
        **losses,
        **compared(ours.step, theirs.step, rounds, unit_films=settings.batch_size),
        "float32_ratio": compared(float32.step, theirs.step, rounds, unit_films=1)["ratio"],
    }


def measure_data(folder: Path, rounds: int) -> dict[str, float]:
    """Films and masks at 1024 pixels made ready on the host: mapped shards against PNG files.

    Our warp happens on the device as part of the step; the straightforward one on the host.
    """
    settings = recipe("paper", batch_size=16, batch_mix="natural")
    films = write_films(folder / "data", settings.image_size_px)
    rows = np.arange(settings.batch_size)
    theirs = StraightforwardLoop(films, recipe("demo", image_size_px=1024), folder / "data")
    loader = BatchLoader(films, settings, seed=0, device=torch.device("cpu"))

    def warped() -> None:
        for part in loader._read_step(1, 0, rows, 0):
            loader._to_device(part)

    n = max(rounds // 2, 3)
    figures = compared(
        lambda: (films.films(rows), films.masks(rows)),
        lambda: theirs.read(rows),
        n,
        unit_films=len(rows),
    )
    with_warp = compared(warped, lambda: theirs.read(rows), n, unit_films=len(rows))
    return {**figures, "ratio_with_warp_on_cpu": with_warp["ratio"]}


def measure_ema(rounds: int) -> dict[str, float]:
    """One update of a ResNet-50 detector's teacher."""
    student, _ = build_network(recipe("paper", weights="random"), seed=0)
    teacher, plain = Teacher(student, 0.999), StraightforwardTeacher(student, 0.999)
    return compared(
        lambda: teacher.update(student), lambda: plain.update(student), rounds, unit_films=1
    )


def compared(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, *, unit_films: int
) -> dict[str, float]:
    """Median seconds of both, taken in turns after one warm-up each, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side, call in enumerate((ours, theirs)):
            started = time.perf_counter()
            call()
            if number:
                seconds[side].append(time.perf_counter() - started)
    mine, others = (statistics.median(values) for values in seconds)
    return {
        "ours_s": round(mine, 5),
        "straightforward_s": round(others, 5),
        "ratio": round(others / mine, 2),
        "ours_per_s": round(unit_films / mine, 1),
        "straightforward_per_s": round(unit_films / others, 1),
    }


class OurLoop:
    """Steps of our trainer."""

    def __init__(self, films: FilmSet, settings: Recipe, folder: Path) -> None:
        student, _ = build_network(settings, seed=0)
        method = Aals(settings, student, n_steps_per_epoch=30)
        self.trainer = Trainer(
            student=student,
            method=method,
            train_films=films,
            validation_films=films,
            recipe=settings,
            seed=0,
            folder=folder,
            device=torch.device("cpu"),
            progress=SILENT,
        )
        self.epoch = 1
        self.batches = self.trainer.loader.steps(1)
        self.batch: Batch = next(self.trainer.loader.steps(1))[0]

    def loss_of_batch(self) -> float:
        """The loss of the first batch, before any step."""
        losses = copy.deepcopy(self.trainer).forward(self.batch)
        return float(losses.total.detach())

    def step(self) -> None:
        """Data, losses, optimiser and teacher."""
        batches = next(self.batches, None)
        if batches is None:
            self.epoch += 1
            self.batches = self.trainer.loader.steps(self.epoch)
            batches = next(self.batches)
        self.trainer._step(batches)


class StraightforwardLoop:
    """The same step as a first draft would have it."""

    def __init__(self, films: FilmSet, settings: Recipe, folder: Path) -> None:
        self.films, self.settings, self.folder = films, settings, folder
        network, _ = build_network(settings, seed=0)
        self.student: PyramidDetector = network.to(memory_format=torch.contiguous_format)
        self.teacher = StraightforwardTeacher(self.student, 0.97)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-3, foreach=False)
        self.rng = np.random.default_rng(0)
        self.order: list[int] = []

    def read(self, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor, Tensor]:
        """Decode, augment and stack films, masks and valid areas."""
        loaded = [self._film(int(row)) for row in rows]
        films, masks, valid = (
            torch.from_numpy(np.stack(part)) for part in zip(*loaded, strict=True)
        )
        return normalise(films.unsqueeze(1)), masks, valid

    def _film(self, row: int) -> tuple[NDArray[np.float32], ...]:
        film = cv2.imread(str(self.folder / f"{row}.png"), cv2.IMREAD_GRAYSCALE)
        assert film is not None
        film = film.astype(np.float32) / 255
        size = film.shape[0]
        mask = self.films.masks(np.array([row]))[0].astype(np.float32)
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), self.rng.uniform(-10, 10), 1.0)
        parts = [cv2.warpAffine(part, matrix, (size, size)) for part in (film, *mask)]
        if self.rng.random() < 0.5:
            parts = [part[:, ::-1] for part in parts]
        grey = ((parts[0] - 0.5) * self.rng.uniform(0.8, 1.2) + 0.5).clip(0, 1)
        return grey.astype(np.float32), np.stack(parts[1:3]), np.stack(parts[3:])

    def step(self) -> None:
        """Data, losses, optimiser and teacher."""
        size = self.settings.batch_size
        if len(self.order) < size:
            self.order = self.rng.permutation(N_FILMS).tolist()
        rows = np.array([self.order.pop() for _ in range(size)])
        films, masks, valid = self.read(rows)
        roles = torch.from_numpy(self.films.roles[rows])
        self.optimizer.zero_grad()
        targets, cells = functional.avg_pool2d(masks, 4), functional.avg_pool2d(valid, 4) >= 0.5
        self.loss(self.student, films, targets, cells, roles).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.teacher.update(self.student)

    def loss(
        self, student: nn.Module, films: Tensor, targets: Tensor, cells: Tensor, roles: Tensor
    ) -> Tensor:
        """AALS over the whole batch."""
        student.train()
        logits = student(films)
        with torch.no_grad():
            taught = self.teacher.network(films)
        pseudo = sharpen(taught, cells, a0=self.settings.a0, t=self.settings.t).logits
        weighted = pixel_bce(logits, targets, positive_weight=self.settings.positive_weight)
        supervised = batch_loss(weighted, roles != Role.DISTILL, len(films))
        return supervised + batch_loss(
            bernoulli_kl(pseudo, logits), roles == Role.DISTILL, len(films)
        )

    def loss_of(self, batch: Batch) -> float:
        """The loss of one of our batches, before any step."""
        student = copy.deepcopy(self.student)
        return float(
            self.loss(
                student, batch.films.contiguous(), batch.targets, batch.valid_cells, batch.roles
            ).detach()
        )


class StraightforwardTeacher:
    """An EMA that allocates new tensors parameter by parameter."""

    def __init__(self, student: nn.Module, alpha: float) -> None:
        self.alpha = alpha
        self.network = copy.deepcopy(student).eval()

    def update(self, student: nn.Module) -> None:
        """theta' = alpha theta' + (1 - alpha) theta."""
        theirs = student.state_dict()
        state = {
            name: value * self.alpha + theirs[name] * (1 - self.alpha)
            if value.is_floating_point()
            else theirs[name]
            for name, value in self.network.state_dict().items()
        }
        self.network.load_state_dict(state)


if __name__ == "__main__":
    main()
