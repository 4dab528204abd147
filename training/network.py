"""What every network offers, and the paper's: a feature pyramid merged into one probability map.

Shapes: B films, H x W pixels of the network's input, K findings.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import Backbone, build_backbone
from training.normalisation import put_norm
from training.recipe import Recipe
from warehouse_schema.errors import CheckpointError

PRIOR = 0.01
STRIDE = 4
PATCH = 32

Kind = TypeVar("Kind", bound="ScoringNetwork")


@dataclass(frozen=True)
class NetworkScores:
    """What a network says of B films, float32 in [0, 1].

    Attributes:
        images: One score per film and finding, (B, K).
        maps: One score per pixel of the input, (B, K, H, W), 0 in the padding; None where they were
            not asked for.
    """

    images: Tensor
    maps: Tensor | None


class ScoringNetwork(nn.Module, ABC):
    """A network that a method trains and that scores films; ``forward`` is the method's affair.

    Attributes:
        has_comparable_maps: False where maps of different films cannot be compared: they are for
            looking at, not stored, and no FROC is computed.
    """

    has_comparable_maps: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def build(cls, backbone: Backbone, recipe: Recipe) -> Self:
        """The untrained network of a recipe on a backbone."""

    @abstractmethod
    def score(
        self, films: Tensor, valid: Tensor | None = None, *, is_mapped: bool = True
    ) -> NetworkScores:
        """Score normalised films (B, 1, H, W); call it in evaluation mode, without gradients.

        Args:
            films: As ``normalise`` gives them.
            valid: True where a pixel shows film and not padding, (B, 1, H, W); None: everywhere.
            is_mapped: False where image scores are enough, which some networks give faster.
        """


class PyramidDetector(ScoringNetwork):
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

    @classmethod
    def build(cls, backbone: Backbone, recipe: Recipe) -> Self:
        """The pyramid over all maps of the backbone."""
        n_findings = len(recipe.findings)
        return cls(backbone.network, backbone.n_channels, recipe.pyramid_width, n_findings)

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

    def score(
        self, films: Tensor, valid: Tensor | None = None, *, is_mapped: bool = True
    ) -> NetworkScores:
        """The upsampled probability map, and its maximum over the valid area."""
        maps = torch.sigmoid(upsample(self(films), films.shape[-1]))
        if valid is not None:
            maps = maps * valid
        return NetworkScores(images=maps.amax(dim=(-2, -1)), maps=maps if is_mapped else None)


class PatchDetector(PyramidDetector):
    """The same network with one logit a patch of ``PATCH`` input pixels: the mean of its cells.

    It has the weights of a ``PyramidDetector``, and starts from them.
    """

    has_comparable_maps = False

    def forward(self, films: Tensor) -> Tensor:
        """Logits (B, K, H / 32, W / 32) of normalised films (B, 1, H, W)."""
        return functional.avg_pool2d(super().forward(films), PATCH // STRIDE)


def build_network(
    recipe: Recipe,
    *,
    seed: int,
    kind: type[Kind] = PyramidDetector,  # type: ignore[assignment]
) -> tuple[Kind, str]:
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
        network = kind.build(backbone, recipe)
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
