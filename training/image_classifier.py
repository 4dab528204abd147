"""The image-level classifier of CheXNet (Rajpurkar et al., 2017; reference 11 of the paper).

Global average pooling over the coarsest map of the backbone and one linear layer; its class
activation maps show where the evidence lies. Shapes: B films, H x W pixels, K findings.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from training.backbones import Backbone
from training.network import PRIOR, NetworkScores, ScoringNetwork, upsample
from training.recipe import Recipe


class ImageClassifier(ScoringNetwork):
    """One logit per film and finding: the mean of its class activation map.

    The activation maps of two films are not on one scale (paper, section 3.2): no FROC.
    """

    has_comparable_maps: ClassVar[bool] = False

    def __init__(self, backbone: nn.Module, n_channels: int, n_findings: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(n_channels, n_findings, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, math.log(PRIOR / (1.0 - PRIOR)))

    @classmethod
    def build(cls, backbone: Backbone, recipe: Recipe) -> Self:
        """A classifier on the backbone's coarsest map."""
        return cls(backbone.network, backbone.n_channels[-1], len(recipe.findings))

    def activations(self, films: Tensor) -> Tensor:
        """Class activation maps as logits, (B, K, h, w) at the backbone's coarsest stride."""
        maps: Tensor = self.head(self.backbone(films)[-1])
        return maps

    def forward(self, films: Tensor) -> Tensor:
        """Logits (B, K). The layer is linear, so pooling its map is its value of the pooled."""
        return self.activations(films).float().mean(dim=(-2, -1))

    def score(
        self, films: Tensor, valid: Tensor | None = None, *, is_mapped: bool = True
    ) -> NetworkScores:
        """The film's probability, and the sigmoid of its class activation map."""
        activations = self.activations(films).float()
        images = torch.sigmoid(activations.mean(dim=(-2, -1)))
        if not is_mapped:
            return NetworkScores(images=images, maps=None)
        maps = torch.sigmoid(upsample(activations, films.shape[-1]))
        return NetworkScores(images=images, maps=maps if valid is None else maps * valid)
