"""What stands in the places of BatchNorm: itself, itself with frozen statistics, or GroupNorm.

Live BatchNorm's statistics are those of a micro-batch, so that gradients added up over
micro-batches or processes are not those of the whole batch. With the other two they are.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

Norm = Literal["batch", "frozen", "group"]

_GROUPS = 32
_LEAST_CHANNELS = 4


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm by its running statistics, in training too; scale and shift are still trained.

    It has BatchNorm's own tensors, so a network trained with live statistics goes on with these.
    """

    def train(self, mode: bool = True) -> FrozenBatchNorm2d:
        """Stay in evaluation mode."""
        super().train(False)
        return self


def put_norm(network: nn.Module, norm: Norm) -> None:
    """Replace every BatchNorm of a network, in place.

    Args:
        network: Network with ``nn.BatchNorm2d`` layers.
        norm: `batch` leaves them; `frozen` keeps their tensors; `group` takes GroupNorm of up to 32
            groups, of at least four channels each, with their scale and shift; it cannot go on from
            a run with the other two.
    """
    if norm == "batch":
        return
    for parent in network.modules():
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _frozen(child) if norm == "frozen" else _group(child))


def _frozen(layer: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    frozen = FrozenBatchNorm2d(layer.num_features, eps=layer.eps)
    frozen.load_state_dict(layer.state_dict())
    return frozen.eval()


def _group(layer: nn.BatchNorm2d) -> nn.GroupNorm:
    # A group of very few channels would take the film's grey level out of them.
    n_channels = layer.num_features
    n_groups = math.gcd(_GROUPS, max(1, n_channels // _LEAST_CHANNELS), n_channels)
    group = nn.GroupNorm(n_groups, n_channels, eps=layer.eps)
    group.load_state_dict({name: getattr(layer, name) for name in ("weight", "bias")})
    return group
