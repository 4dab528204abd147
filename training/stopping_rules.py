"""When a run stops itself: a loss that is no number, one that diverges, a collapsed teacher.

Each rule ends the run with the last good checkpoint in its folder; nothing of the run reaches
``training_runs``.
"""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.standing import Standing
from warehouse_schema.errors import TrainingError

WINDOW = 50
DIVERGED_BY = 10.0
# The loss of a network that says one half everywhere: no run that learns comes near it.
KNOWS_NOTHING = math.log(2.0)
COLLAPSED_SPREAD = 1e-4

_KEPT = "The last good checkpoint is kept; nothing was published."


def check_finite(loss: float, standing: Standing, method: str) -> None:
    """Stop where a step's loss is NaN or infinite, before it reaches the weights.

    Raises:
        TrainingError: It is.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"{method}: the loss became {loss} in epoch {standing.epoch}, step "
            f"{standing.step + 1}. Lower learning_rate. {_KEPT}"
        )


def check_divergence(loss: float, standing: Standing, method: str) -> None:
    """Take up a step's loss, and stop a run whose loss diverges.

    It does when the mean over the last ``WINDOW`` steps is more than ``DIVERGED_BY`` times the mean
    over the run's first ``WINDOW`` steps, and above log 2.

    Raises:
        TrainingError: It diverges.
    """
    if len(standing.first_losses) < WINDOW:
        standing.first_losses.append(loss)
    standing.recent_losses = [*standing.recent_losses, loss][-WINDOW:]
    if len(standing.recent_losses) < WINDOW:
        return
    first, recent = fmean(standing.first_losses), fmean(standing.recent_losses)
    if recent > max(DIVERGED_BY * first, KNOWS_NOTHING):
        raise TrainingError(
            f"{method}: the loss diverges in epoch {standing.epoch}, step {standing.step + 1}: its "
            f"mean over {WINDOW} steps is {recent:.3g}, that of the run's first {WINDOW} was "
            f"{first:.3g} (allowed: {DIVERGED_BY:g} times as much, or log 2). Lower learning_rate. "
            f"{_KEPT}"
        )


def check_teacher(scores: NDArray[np.float64], standing: Standing, method: str) -> None:
    """Stop a run whose teacher has collapsed.

    It has when, after an epoch, its scores of all validation films lie within ``COLLAPSED_SPREAD``
    of each other for every finding, and were ten times as far apart when the run began: it says the
    same of every film, and knew better. Before the first step the scores are noted.

    Args:
        scores: The teacher's score of each film and finding, (n, K).
        standing: Where the run is.
        method: Its method.

    Raises:
        TrainingError: It has.
    """
    spread = float(np.ptp(scores, axis=0).max())
    if standing.first_teacher_spread is None:
        standing.first_teacher_spread = spread
    elif spread < COLLAPSED_SPREAD <= standing.first_teacher_spread / 10:
        raise TrainingError(
            f"{method}: the teacher collapsed in epoch {standing.epoch}: its scores of "
            f"{len(scores)} validation films differ by {spread:.1g} at most, and differed by "
            f"{standing.first_teacher_spread:.1g} when the run began (allowed: at least "
            f"{COLLAPSED_SPREAD:g}). Lower learning_rate. {_KEPT}"
        )


def check_weights(tensors: dict[str, Tensor], method: str) -> None:
    """Refuse to save weights that are not numbers.

    Raises:
        TrainingError: A tensor holds NaN or infinity.
    """
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    sums = torch.stack([tensor.detach().double().sum() for tensor in floats])
    if not bool(torch.isfinite(sums).all()):
        raise TrainingError(
            f"{method}: the weights are no longer finite numbers. Lower learning_rate. {_KEPT}"
        )
