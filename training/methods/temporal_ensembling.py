"""Temporal ensembling (Laine and Aila, ICLR 2017): agreement with a film's maps of past epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.augmentation import inverted, warp
from training.batches import Batch
from training.ensemble_memory import EnsembleMemory
from training.methods.consistency import ConsistencyMethod
from training.network import STRIDE

MEMORY_SIDE = 256


class TemporalEnsembling(ConsistencyMethod):
    """Maps are remembered in the frame of the plain film, at most 256 x 256.

    A student's map is warped back before it is remembered, and the mean is warped forth to the
    film as it is augmented now.
    """

    name = "temporal-ensembling"
    is_single_process = True

    def open(self, *, folder: Path, n_films: int) -> None:
        """Make the memory."""
        super().open(folder=folder, n_films=n_films)
        side = min(MEMORY_SIDE, self.recipe.image_size_px // STRIDE)
        self._memory = EnsembleMemory(
            folder=self.scratch,
            shape=(n_films, len(self.recipe.findings), side, side),
            alpha=self.recipe.ensemble_alpha,
        )
        self._side = side

    def begin_epoch(self, epoch: int) -> None:
        """Bring the memory up to the epoch."""
        super().begin_epoch(epoch)
        self._memory.begin_epoch(epoch)

    def opinion(
        self, student: nn.Module, batch: Batch, probabilities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The film's bias-corrected mean; films not seen before have none."""
        assert batch.rows is not None
        assert batch.geometry is not None
        rows = batch.rows.numpy()
        means, is_known = self._memory.targets(rows)
        size = probabilities.shape[-1]
        other = warp(torch.from_numpy(means).to(probabilities.device), batch.geometry, size_px=size)
        self._remember(rows, probabilities.detach(), batch.geometry)
        return other, torch.from_numpy(is_known).to(probabilities.device)

    def _remember(self, rows: NDArray[np.int64], probabilities: Tensor, geometry: Tensor) -> None:
        plain = warp(
            probabilities,
            inverted(geometry),
            size_px=probabilities.shape[-1],
            padding="border",
        )
        if plain.shape[-1] != self._side:
            plain = functional.adaptive_avg_pool2d(plain, self._side)
        self._memory.remember(rows, plain.cpu().numpy())
