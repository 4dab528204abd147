"""The detector: a feature pyramid whose levels merge into one probability map.

Shapes: B films, H x W pixels of the network's input, K findings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import build_backbone
from training.normalisation import put_norm
from training.recipe import Recipe
from warehouse_schema.errors import CheckpointError

PRIOR = 0.01
STRIDE = 4
PATCH = 32


class PyramidDetector(nn.Module):
    """Backbone, feature pyramid (Lin et al., CVPR 2017) and one logit map per finding.

    The levels meet by top-down addition of nearest-neighbour upsampled maps (which has a
    deterministic backward pass on CUDA, unlike bilinear), each level is smoothed and all are summed
    at stride 4, as in Panoptic FPN. The last bias starts at the logit of 0.01.

    Args:
        backbone: Network that returns maps at strides 4, 8, 16 ...
        n_channels: Channels of each map, finest first.
        width: Channels of the pyramid.
        n_findings: Output channels, one per finding.
    """

    def __init__(
        self, backbone: nn.Module, n_channels: tuple[int, ...], width: int, n_findings: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, 1) for count in n_channels)
        self.smoothing = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(width, n_findings, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, math.log(PRIOR / (1.0 - PRIOR)))

    def forward(self, films: Tensor) -> Tensor:
        """Logits (B, K, H / 4, W / 4) of normalised films (B, 1, H, W).

        Example: two films (2, 1, 256, 256) and two findings give (2, 2, 64, 64).
        """
        merged: Tensor | None = None
        levels = list(zip(self.laterals, self.backbone(films), strict=True))
        for lateral, features in reversed(levels):
            level = lateral(features)
            if merged is not None:
                level = level + functional.interpolate(
                    merged, size=level.shape[-2:], mode="nearest"
                )
            merged = level
        assert merged is not None
        logits: Tensor = self.head(self.smoothing(merged))
        return logits


class PatchDetector(PyramidDetector):
    """The same network with one logit a patch of ``PATCH`` input pixels: the mean of its cells.

    It has the weights of a ``PyramidDetector``, and starts from them.
    """

    def forward(self, films: Tensor) -> Tensor:
        """Logits (B, K, H / 32, W / 32) of normalised films (B, 1, H, W)."""
        return functional.avg_pool2d(super().forward(films), PATCH // STRIDE)


def build_network(
    recipe: Recipe, *, seed: int, kind: type[PyramidDetector] = PyramidDetector
) -> tuple[PyramidDetector, str]:
    """The untrained network of a recipe and the source of its weights.

    Args:
        recipe: Names backbone, weights and findings.
        seed: Seed of the random weights; the global random state is left as it was.
        kind: The network's class.

    Returns:
        The network, and ``random`` or name and SHA-256 of the weights file.

    Raises:
        ConfigurationError: The backbone is unknown or its weights cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(recipe.backbone, weights=recipe.weights)
        network = kind(
            backbone.network, backbone.n_channels, recipe.pyramid_width, len(recipe.findings)
        )
    put_norm(network, recipe.norm)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, backbone.weights_source


def load_network(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put saved weights into a network.

    Raises:
        CheckpointError: They are of another network.
    """
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError:
        raise CheckpointError(
            "checkpoint: its weights do not fit the network of the recipe (another backbone, "
            "other findings or norm, or another version of the code). Train the run again."
        ) from None


def normalise(films: Tensor) -> Tensor:
    """Films (B, 1, H, W) in [0, 1] as the network takes them, roughly zero mean, unit spread."""
    return (films - 0.5) / 0.25


def upsample(logits: Tensor, size_px: int) -> Tensor:
    """Logits at the network's input size, (B, K, size, size); the sigmoid comes after."""
    return functional.interpolate(
        logits.float(), size=(size_px, size_px), mode="bilinear", align_corners=False
    )
