"""Our AALS step, data reading and EMA against the straightforward way, on this machine's CPU.

The straightforward way: PNG files decoded and augmented film by film on the CPU, masks with them,
contiguous float32 tensors, an optimiser loop over parameters, an EMA that allocates per parameter.
Same network, same batch, same process, measured in turns; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from evaluation.score_maps import ValidArea
from training.aals import sharpen
from training.batches import BatchLoader
from training.film_dataset import FilmSet, Role
from training.losses import batch_loss, bernoulli_kl, pixel_bce
from training.methods.aals import Aals
from training.network import PyramidDetector, build_network, normalise
from training.recipe import Recipe, recipe
from warehouse_schema.pixel_shards import write_array

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
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    figures: dict[str, object] = {"threads": arguments.threads, "device": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        figures["step"] = measure_step(Path(folder), arguments.rounds)
        figures["data"] = measure_data(Path(folder), arguments.rounds)
    figures["ema"] = measure_ema(arguments.rounds)
    if not torch.cuda.is_available():
        figures["not_run"] = "GPU figures: this machine has no CUDA device"
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, values in figures.items():
        print(name, values)


def measure_step(folder: Path, rounds: int) -> dict[str, float]:
    """One AALS step of the light network, batch 16 at 256 pixels, data included."""
    settings = recipe("demo", batch_mix="natural", crop_px=None, passes_per_epoch=1)
    films = write_films(folder / "step", settings.image_size_px)
    ours, theirs = OurLoop(films, settings), StraightforwardLoop(films, settings, folder / "step")
    return compared(ours.step, theirs.step, rounds, unit_films=settings.batch_size)


def measure_data(folder: Path, rounds: int) -> dict[str, float]:
    """Films and masks at 1024 pixels made ready on the host: mapped shards against PNG files.

    Our warp happens on the device as part of the step; the straightforward one on the host.
    """
    settings = recipe("paper", batch_size=16, batch_mix="natural")
    films = write_films(folder / "data", settings.image_size_px)
    rows = np.arange(settings.batch_size)
    theirs = StraightforwardLoop(films, recipe("demo", image_size_px=1024), folder / "data")
    return compared(
        lambda: (films.films(rows), films.masks(rows)),
        lambda: theirs.read(rows),
        max(rounds // 2, 3),
        unit_films=len(rows),
    )


def measure_ema(rounds: int) -> dict[str, float]:
    """One update of a ResNet-50 detector's teacher."""
    from training.ema import Teacher

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


def write_films(folder: Path, size: int) -> FilmSet:
    """Smooth random films as one shard, and as PNG files beside it."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    films = np.empty((N_FILMS, size, size), dtype=np.uint8)
    for number in range(N_FILMS):
        coarse = rng.integers(0, 255, (size // 16, size // 16)).astype(np.uint8)
        film = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        films[number] = (film + rng.integers(-6, 6, (size, size))).clip(0, 255)
        cv2.imwrite(str(folder / f"{number}.png"), films[number])
    write_array(folder / "films.npy", films)
    subsets = np.array([SUBSETS[number % len(SUBSETS)] for number in range(N_FILMS)])
    box = np.array([[0.3, 0.3, 0.45, 0.42]]) * size
    none = np.zeros((0, 4))
    return FilmSet(
        image_ids=[str(number) for number in range(N_FILMS)],
        subsets=subsets,
        labels=np.array([[int(subset != "N"), 0] for subset in subsets], dtype=np.int8),
        roles=np.array([ROLES[subset] for subset in subsets], dtype=np.int8),
        boxes=[[box if subset == "R" else none, none] for subset in subsets],
        valid_areas=[ValidArea(0, size, size // 16, size - size // 16)] * N_FILMS,
        shards=[("films.npy", number, None) for number in range(N_FILMS)],
        cache=folder,
        image_size_px=size,
        fingerprint="",
    )


class OurLoop:
    """Steps of our trainer's parts."""

    def __init__(self, films: FilmSet, settings: Recipe) -> None:
        self.student, _ = build_network(settings, seed=0)
        self.method = Aals(settings, self.student, n_steps_per_epoch=30)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-3, fused=True)
        self.loader = BatchLoader(films, settings, seed=0, device=torch.device("cpu"))
        self.epoch = 0
        self.batches = self.loader.steps(1)

    def step(self) -> None:
        """Data, losses, optimiser and teacher."""
        batches = next(self.batches, None)
        if batches is None:
            self.epoch += 1
            self.batches = self.loader.steps(self.epoch + 1)
            batches = next(self.batches)
        self.student.train()
        self.optimizer.zero_grad()
        for batch in batches:
            self.method.losses(self.student, batch).total.backward()
        self.optimizer.step()
        self.method.after_step(self.student)


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
        self.student.train()
        self.optimizer.zero_grad()
        logits = self.student(films)
        targets, cells = functional.avg_pool2d(masks, 4), functional.avg_pool2d(valid, 4) >= 0.5
        with torch.no_grad():
            taught = self.teacher.network(films)
        pseudo = sharpen(taught, cells, a0=4.0, t=0.4).logits
        supervised = batch_loss(pixel_bce(logits, targets), roles != Role.DISTILL, size)
        semi = batch_loss(bernoulli_kl(pseudo, logits), roles == Role.DISTILL, size)
        (supervised + semi).backward()
        self.optimizer.step()
        self.teacher.update(self.student)


class StraightforwardTeacher:
    """An EMA that allocates new tensors parameter by parameter."""

    def __init__(self, student: nn.Module, alpha: float) -> None:
        import copy

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
