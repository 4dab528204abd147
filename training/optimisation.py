"""Optimiser, learning rate, and the optimiser's state to and from checkpoints."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.recipe import Recipe


def build_optimizer(recipe: Recipe, student: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser, fused: one pass over all parameters."""
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(
        student.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def learning_rate(recipe: Recipe, *, n_done: int, n_steps: int) -> float:
    """Learning rate of the step after ``n_done`` of a run's ``n_steps``."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    rise = min(1.0, (n_done + 1) / (recipe.warmup_steps + 1))
    return recipe.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * n_done / n_steps))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors by ``PARAMETER/ENTRY``."""
    return {
        f"{index}/{name}": tensor
        for index, entries in optimizer.state_dict()["state"].items()
        for name, tensor in entries.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, student: nn.Module, saved: dict[str, Tensor]
) -> None:
    """Put tensors of ``optimizer_tensors`` back."""
    parameters = list(student.parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in saved.items():
        index, entry = name.split("/")
        like = parameters[int(index)]
        # A fused optimiser walks through memory: its state must lie as its parameter does.
        is_shaped = tensor.shape == like.shape
        laid = torch.empty_like(like).copy_(tensor) if is_shaped else tensor
        state.setdefault(int(index), {})[entry] = laid.detach()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
