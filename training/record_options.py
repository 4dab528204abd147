"""Options beyond the paper on how far a record is believed; all are off by default."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.film_dataset import UNCERTAIN, FilmSet, Role
from training.recipe import Recipe


def record_weights(films: FilmSet, recipe: Recipe) -> NDArray[np.float32]:
    """Weight of each finding of a film in losses that learn from its record, (n, K).

    ``tier_weights`` of the recipe where a positive has no boxes, by where it was seen (a chest
    film's report, other imaging, clinical text, a code alone); 1 for every other finding.
    """
    weights = np.ones(films.labels.shape, dtype=np.float32)
    if films.tiers is not None:
        is_unboxed = films.roles == Role.DISTILL
        for tier, weight in recipe.tier_weights:
            weights[is_unboxed & (films.tiers == tier)] = weight
    return weights


def label_targets(labels: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Targets in [0, 1] of image-level losses, and where there is one, (B, K) each.

    An uncertain label has none, or the recipe's ``uncertain_target``.

    Args:
        labels: As in ``Batch``.
        recipe: Settings.
    """
    targets, is_known = labels.clamp_min(0).float(), labels >= 0
    if recipe.uncertain_target is None:
        return targets, is_known
    is_uncertain = labels == UNCERTAIN
    smoothed = torch.full_like(targets, recipe.uncertain_target)
    return torch.where(is_uncertain, smoothed, targets), is_known | is_uncertain
