"""The teacher: an exponential moving average of the student (eq. 2)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from training.network import ScoringNetwork
from training.recipe import Recipe


class Teacher:
    """EMA of a network's parameters and floating buffers; integer buffers are copied.

    Args:
        student: Network to follow; the teacher starts as its copy.
        alpha: Smoothing coefficient per update, in [0, 1).
    """

    def __init__(self, student: ScoringNetwork, alpha: float) -> None:
        self.alpha = alpha
        self.network = copy.deepcopy(student).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """theta' = alpha theta' + (1 - alpha) theta, for BatchNorm's running statistics too."""
        ours, theirs = _tensors(self.network), _tensors(student)
        if ours[True][0].is_cuda:
            torch._foreach_lerp_(ours[True], theirs[True], 1.0 - self.alpha)
        else:
            # On a CPU the foreach form takes a slow path, twelve times as long as this loop.
            for mine, other in zip(ours[True], theirs[True], strict=True):
                mine.lerp_(other, 1.0 - self.alpha)
        if ours[False]:
            torch._foreach_copy_(ours[False], theirs[False])

    @torch.no_grad()
    def predict(self, films: Tensor) -> Tensor:
        """Logits in evaluation mode, without gradients."""
        logits: Tensor = self.network(films)
        return logits


def _tensors(network: nn.Module) -> dict[bool, list[Tensor]]:
    """Parameters and buffers, floating (True) and others; a state dictionary takes longer."""
    tensors: dict[bool, list[Tensor]] = {True: [], False: []}
    for tensor in (*network.parameters(), *network.buffers()):
        tensors[tensor.is_floating_point()].append(tensor)
    return tensors


def alpha_per_update(*, alpha_per_48: float, batch_size: int) -> float:
    """The coefficient of one update of ``batch_size`` images: alpha^(B / 48)."""
    return float(alpha_per_48 ** (batch_size / 48.0))


def alpha_of_horizon(*, n_updates: float) -> float:
    """The coefficient whose memory 1 / (1 - alpha) is ``n_updates`` updates long."""
    return 1.0 - 1.0 / max(n_updates, 1.0)


def alpha_of_recipe(recipe: Recipe, n_steps_per_epoch: int) -> float:
    """The coefficient of one update: of the recipe's horizon, else of its alpha per 48 images."""
    if recipe.ema_epochs is None:
        return alpha_per_update(alpha_per_48=recipe.alpha, batch_size=recipe.batch_size)
    return alpha_of_horizon(n_updates=recipe.ema_epochs * n_steps_per_epoch)
