"""Activation checkpointing: a backbone's maps are computed again in the backward pass."""

from __future__ import annotations

from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from warehouse_schema.errors import ConfigurationError

_STAGES = ("stages", "blocks")


def recompute_backbone(network: nn.Module) -> None:
    """Keep only the inputs of a backbone's stages for the backward pass, in place.

    Names of tensors stay what they were, so checkpoints fit with and without.

    Raises:
        ConfigurationError: The network has no stages.
    """
    backbone = getattr(network, "backbone", None)
    for name in _STAGES:
        stages = getattr(backbone, name, None)
        if isinstance(stages, nn.ModuleList):
            for place, stage in enumerate(stages):
                stages[place] = checkpoint_wrapper(stage)
            return
    raise ConfigurationError(
        "is_recomputing: this method's network has no backbone with stages to recompute. Set it "
        "to false, and lower micro_batch_size instead."
    )
