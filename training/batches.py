"""Batches: films and masks read ahead by one thread, warped and normalised on the device.

Shapes: B films, K findings, H x W pixels, h x w cells of the map (stride 4).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.augmentation import (
    AugmentationDraws,
    change_grey_levels,
    draw_augmentation,
    inverse_affine,
    warp_films,
)
from training.augmented_boxes import augmented_boxes
from training.crops import cut, draw_centres, window_side
from training.film_dataset import FilmSet
from training.network import STRIDE, normalise
from training.processes import ALONE, Processes
from training.recipe import Recipe
from training.record_options import record_weights
from training.sampler import epoch_batches
from warehouse_schema.errors import ArgumentError, RiblineError, TrainingError

_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the device.

    Attributes:
        films: Normalised films, (B, 1, H, W), channels last.
        targets: Share of each cell's pixels that lie in a box, (B, K, h, w).
        valid_cells: True where at least half of a cell shows film, (B, 1, h, w).
        roles: A Role per film and finding, (B, K) int8.
        n_global: Films of the whole step, of which these are a part.
        labels: 1 positive, 0 negative, -1 excluded, -2 uncertain by record, (B, K) int8.
        second_view: The films with other grey levels and the same geometry, like ``films``; None
            for methods that need none.
        rows: Each film's number in the training set, (B,).
        geometry: Matrices from the augmented to the plain film, (B, 2, 3) in affine_grid's frame.
        n_steps_done: Optimiser steps of the run before this one.
        weights: Weight of each positive without boxes by where it was seen, 1 elsewhere, (B, K);
            None: all 1.
        boxes: Boxes (m, 4) of each film and finding in the augmented film's pixels; None for
            methods that need none.
    """

    films: Tensor
    targets: Tensor
    valid_cells: Tensor
    roles: Tensor
    n_global: int
    labels: Tensor | None = None
    second_view: Tensor | None = None
    rows: Tensor | None = None
    geometry: Tensor | None = None
    n_steps_done: int = 0
    weights: Tensor | None = None
    boxes: list[list[Tensor]] | None = None

    def part(self, n: int) -> Batch:
        """The first ``n`` films."""
        fields: dict[str, Any] = {
            name: value[:n] if isinstance(value, Tensor | list) else value
            for name, value in vars(self).items()
        }
        return Batch(**fields)


@dataclass(frozen=True)
class _Read:
    films: Tensor
    masks: Tensor
    roles: Tensor
    draws: AugmentationDraws
    n_global: int
    labels: Tensor
    rows: Tensor
    n_steps_done: int
    weights: Tensor
    boxes: list[list[Tensor]] | None


class BatchLoader:
    """The micro-batches of an epoch, from any step on.

    Args:
        films: Training films.
        recipe: Batch size, mix and augmentation.
        seed: Seed of order and augmentation.
        device: Where batches go.
        crop_px: Side of the windows to train on; None: whole films.
        has_second_view: True adds ``Batch.second_view``.
        has_boxes: True adds ``Batch.boxes``.
        processes: Each process gets its part of every step's films.

    Attributes:
        waited_s: Seconds the trainer has waited for data.

    Raises:
        ArgumentError: A step has fewer films than there are processes.
    """

    def __init__(
        self,
        films: FilmSet,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        crop_px: int | None = None,
        has_second_view: bool = False,
        has_boxes: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self._films = films
        self._recipe = recipe
        self._seed = seed
        self._device = device
        self._crop_px = crop_px
        self._has_second_view = has_second_view
        self._has_boxes = has_boxes
        self._processes = processes
        self._is_positive = films.subsets != "N"
        self._weights = record_weights(films, recipe)
        self.waited_s = 0.0
        fewest = min(len(rows) for rows in self._order(1))
        if fewest < processes.count:
            raise ArgumentError(
                f"processes: got {processes.count}, but a step has {fewest} films. Start at most "
                f"{fewest} processes, or use a larger batch_size or more films."
            )

    def __len__(self) -> int:
        """Training films."""
        return len(self._films)

    def _order(self, epoch: int) -> list[NDArray[np.intp]]:
        return epoch_batches(
            self._recipe, is_positive=self._is_positive, seed=self._seed, epoch=epoch
        )

    def steps(self, epoch: int, *, first_step: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step of an epoch, from ``first_step`` on.

        Raises:
            WarehouseError: A film is missing from the cache, or altered.
            TrainingError: The thread that reads films ended.
        """
        order = self._order(epoch)
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead: list[Future[list[_Read]]] = []
            for step in range(first_step, len(order) + _AHEAD):
                if step < len(order):
                    n_done = (epoch - 1) * len(order) + step
                    ahead.append(reader.submit(self._read_step, epoch, step, order[step], n_done))
                if len(ahead) > _AHEAD or step >= len(order):
                    if not ahead:
                        return
                    yield self._finish(ahead.pop(0))

    def _finish(self, future: Future[list[_Read]]) -> list[Batch]:
        started = time.perf_counter()
        error = future.exception()
        self.waited_s += time.perf_counter() - started
        if isinstance(error, RiblineError):
            raise error
        if error is not None:
            # Its text may name a file or hold data; its kind says enough.
            raise TrainingError(
                f"data: the thread that reads films ended ({type(error).__name__}). Start the same "
                "command again: it goes on from the last checkpoint. If it ends again, look at "
                "free memory and at the disk of the cache."
            ) from None
        parts = future.result()
        return [self._to_device(part) for part in parts]

    def _read_step(
        self, epoch: int, step: int, rows: NDArray[np.intp], n_steps_done: int
    ) -> list[_Read]:
        counter = {"seed": self._seed, "epoch": epoch, "step": step}
        draws = draw_augmentation(self._recipe, **counter, n_films=len(rows))
        centres = None
        if self._crop_px is not None:
            centres = draw_centres(self._films, rows, crop_px=self._crop_px, **counter)
        boxes = None
        if self._has_boxes:
            boxes = augmented_boxes(
                self._films, rows, draws, centres=centres, size_px=self._crop_px
            )
        size = self._recipe.micro_batch_size or len(rows)
        first, last = self._processes.part(len(rows))
        parts = []
        for start in range(first, last, size):
            stop = min(start + size, last)
            films, masks = self._pixels(
                rows[start:stop], None if centres is None else centres[start:stop]
            )
            roles = torch.from_numpy(self._films.roles[rows[start:stop]])
            parts.append(
                _Read(
                    films,
                    masks,
                    roles,
                    draws.part(start, stop),
                    n_global=len(rows),
                    labels=torch.from_numpy(self._films.labels[rows[start:stop]]),
                    rows=torch.from_numpy(rows[start:stop].astype(np.int64)),
                    n_steps_done=n_steps_done,
                    weights=torch.from_numpy(self._weights[rows[start:stop]]),
                    boxes=None if boxes is None else boxes[start:stop],
                )
            )
        return parts

    def _pixels(
        self, rows: NDArray[np.intp], centres: NDArray[np.intp] | None
    ) -> tuple[Tensor, Tensor]:
        films, masks = self._films.films(rows), self._films.masks(rows)
        if centres is not None and self._crop_px is not None:
            side = window_side(self._crop_px)
            films, masks = cut(films, centres, side), cut(masks, centres, side)
        pixels = torch.from_numpy(films), torch.from_numpy(masks)
        if self._device.type == "cuda":
            return pixels[0].pin_memory(), pixels[1].pin_memory()
        return pixels

    def _to_device(self, part: _Read) -> Batch:
        films = part.films.to(self._device, non_blocking=True)
        masks = part.masks.to(self._device, non_blocking=True)
        draws = part.draws
        plain, warped = warp_films(films, masks, draws, size_px=self._crop_px)
        cells = functional.avg_pool2d(warped, STRIDE)
        second = None
        if self._has_second_view:
            second = _as_input(plain, draws.second_contrast, draws.second_intensity)
        return Batch(
            films=_as_input(plain, draws.contrast, draws.intensity),
            targets=cells[:, :-1],
            valid_cells=cells[:, -1:] >= 0.5,
            roles=part.roles.to(self._device),
            n_global=part.n_global,
            labels=part.labels.to(self._device),
            second_view=second,
            rows=part.rows,
            geometry=torch.from_numpy(inverse_affine(draws)).to(self._device),
            n_steps_done=part.n_steps_done,
            weights=part.weights.to(self._device),
            boxes=part.boxes,
        )


def _as_input(
    films: Tensor, contrast: NDArray[np.float32], intensity: NDArray[np.float32]
) -> Tensor:
    grey = change_grey_levels(films, contrast, intensity)
    return normalise(grey).contiguous(memory_format=torch.channels_last)
