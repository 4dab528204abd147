"""The GPU part of training_speed.py: images/s of the paper's AALS step beside its roofline.

The roofline is the time that arithmetic and memory traffic of one step take at the speeds that
this device reaches in a matrix product and in a copy, measured in the same run: one after the
other (what perfect kernels of single layers reach) and overlapped (what nothing could beat).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from evaluation.score_maps import ValidArea
from training.batches import Batch
from training.film_dataset import FilmSet, Role
from training.methods.aals import Aals
from training.network import build_network
from training.recipe import Recipe, recipe
from training.trainer import Trainer
from warehouse_schema.errors import TrainingError
from warehouse_schema.pixel_shards import write_array
from warehouse_schema.progress import SILENT

N_FILMS = 48
SUBSETS = ("R", "P", "N", "N", "N", "N", "N", "N")
ROLES = {
    "R": (Role.BOXES, Role.RECORD_NEGATIVE),
    "P": (Role.DISTILL, Role.RECORD_NEGATIVE),
    "N": (Role.BOXES, Role.BOXES),
}
BFLOAT16_BYTES = 2
# Forward, gradient of the input, gradient of the weights (or BatchNorm's statistics).
PASSES = 3


@dataclass(frozen=True)
class Size:
    """How large the measurement is."""

    backbone: str
    image_size_px: int
    batch_size: int
    n_steps: int
    comparison_batch_size: int
    n_comparison_steps: int


PAPER_SIZE = Size("resnet50", 1024, 48, 30, 8, 50)
TINY_SIZE = Size("light", 64, 4, 3, 4, 5)


def measure_device(folder: Path, device: torch.device, size: Size) -> dict[str, object]:
    """Throughput, roofline, and bfloat16 against float32."""
    settings = recipe(
        "paper",
        backbone=size.backbone,
        weights="random",
        image_size_px=size.image_size_px,
        batch_size=size.batch_size,
    )
    films = write_films(folder / "device", size.image_size_px)
    throughput = measured_throughput(films, settings, device, size, folder / "throughput")
    roof = roofline(settings, device, p_share=films.count("P") / len(films))
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "image_size_px": size.image_size_px,
        "batch_size": size.batch_size,
        "backbone": size.backbone,
        **throughput,
        **roof,
        "share_of_roofline": round(
            float(str(throughput["images_per_s"])) / roof["roofline_images_per_s"], 3
        ),
        "bfloat16": compared_precisions(films, settings, device, size, folder),
    }


def trainer_of(films: FilmSet, settings: Recipe, device: torch.device, folder: Path) -> Trainer:
    """Our trainer with AALS on the device."""
    student, _ = build_network(settings, seed=0)
    student.to(device)
    return Trainer(
        student=student,
        method=Aals(settings, student, n_steps_per_epoch=100),
        train_films=films,
        validation_films=films,
        recipe=settings,
        seed=0,
        folder=folder,
        device=device,
        progress=SILENT,
    )


def endless(trainer: Trainer) -> Iterator[list[Batch]]:
    """Steps of one epoch after the other."""
    epoch = 1
    while True:
        yield from trainer.loader.steps(epoch)
        epoch += 1


def measured_throughput(
    films: FilmSet, settings: Recipe, device: torch.device, size: Size, folder: Path
) -> dict[str, object]:
    """Images/s of whole steps, data included; the micro-batch is halved until it fits."""
    micro = settings.batch_size
    while True:
        try:
            return _throughput(
                trainer_of(films, replace(settings, micro_batch_size=micro), device, folder),
                size.n_steps,
            )
        except TrainingError as error:
            if "memory" not in str(error) or micro == 1:
                raise
            micro = -(-micro // 2)


def _throughput(trainer: Trainer, n_steps: int) -> dict[str, object]:
    batches = endless(trainer)
    for _ in range(3):
        trainer._step(next(batches))
    waited = trainer.loader.waited_s
    seconds, n_films = [], 0
    started = time.perf_counter()
    for _ in range(n_steps):
        before = time.perf_counter()
        step = next(batches)
        trainer._step(step)
        _synchronize(trainer.device)
        seconds.append(time.perf_counter() - before)
        n_films += step[0].n_global
    wall_s = time.perf_counter() - started
    figures: dict[str, object] = {
        "micro_batch_size": trainer.recipe.micro_batch_size,
        "images_per_s": round(n_films / wall_s, 1),
        "step_s": round(statistics.median(seconds), 4),
        "waiting_share": round((trainer.loader.waited_s - waited) / wall_s, 4),
    }
    if trainer.device.type == "cuda":
        figures["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    return figures


def roofline(settings: Recipe, device: torch.device, *, p_share: float) -> dict[str, float]:
    """Images/s that arithmetic and traffic of a step allow on the device."""
    network, _ = build_network(settings, seed=0)
    network.to(device)
    side = settings.image_size_px
    film = torch.zeros(1, 1, side, side, device=device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        n_bytes = _traffic_bytes(network, film)
    n_operations = counter.get_total_flops()
    n_passes = PASSES + p_share
    operations_per_s, bytes_per_s = _peak_operations(device), _peak_bytes(device)
    arithmetic_s = n_passes * n_operations / operations_per_s
    traffic_s = n_passes * n_bytes / bytes_per_s
    return {
        "gflop_per_image": round(n_passes * n_operations / 1e9, 1),
        "gb_per_image": round(n_passes * n_bytes / 1e9, 2),
        "measured_tflop_per_s": round(operations_per_s / 1e12, 1),
        "measured_gb_per_s": round(bytes_per_s / 1e9, 1),
        "roofline_images_per_s": round(1 / (arithmetic_s + traffic_s), 1),
        "overlapped_roofline_images_per_s": round(1 / max(arithmetic_s, traffic_s), 1),
    }


def _traffic_bytes(network: nn.Module, film: Tensor) -> int:
    """Bytes that the layers read and write in one forward pass, in bfloat16."""
    counted = [0]

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counted[0] += BFLOAT16_BYTES * (inputs[0].numel() + output.numel())

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    network(film)
    for handle in handles:
        handle.remove()
    return counted[0]


def _peak_operations(device: torch.device) -> float:
    """Operations/s of a large bfloat16 matrix product."""
    side = 8192 if device.type == "cuda" else 512
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / _seconds(lambda: one @ one, device)


def _peak_bytes(device: torch.device) -> float:
    """Bytes/s, read and written, of a large copy."""
    one = torch.empty(2**30 if device.type == "cuda" else 2**26, device=device, dtype=torch.uint8)
    other = torch.empty_like(one)
    return 2 * one.numel() / _seconds(lambda: other.copy_(one), device)


def _seconds(call: object, device: torch.device) -> float:
    assert callable(call)
    times = []
    for _ in range(8):
        _synchronize(device)
        started = time.perf_counter()
        call()
        _synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compared_precisions(
    films: FilmSet, settings: Recipe, device: torch.device, size: Size, folder: Path
) -> dict[str, object]:
    """Losses of the same steps in bfloat16 and in float32."""
    losses: dict[bool, list[float]] = {}
    for is_mixed in (True, False):
        chosen = replace(
            settings, batch_size=size.comparison_batch_size, is_mixed_precision=is_mixed
        )
        trainer = trainer_of(films, chosen, device, folder / f"precision-{is_mixed}")
        batches = endless(trainer)
        losses[is_mixed] = [trainer._step(next(batches))[0] for _ in range(size.n_comparison_steps)]
    pairs = list(zip(losses[True], losses[False], strict=True))
    worst = max(abs(mixed - plain) / plain for mixed, plain in pairs)
    return {
        "n_steps": len(pairs),
        "worst_relative_difference": round(worst, 5),
        "last_losses": [round(value, 6) for value in pairs[-1]],
        "agrees_within_5_percent": worst < 0.05,
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
