"""Multi-instance learning on patches (Li et al., CVPR 2018, eqs. 2 to 4; reference 7 of the paper).

A film is a bag of 32-pixel patches with probabilities p_j. Where boxes tell which patches are
positive, p(y = 1 | x, box) is the product of p_j inside and 1 - p_j outside; where only the record
speaks, p(y = 1 | x) = 1 - prod (1 - p_j).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import Batch
from training.film_dataset import Role
from training.losses import batch_loss
from training.methods.method import Method, StepLosses
from training.network import PatchDetector
from training.record_options import label_targets

# Below this a bag's log-probability has no float32 gradient worth having.
_LEAST_BAG = 1e-6


class LiMil(Method):
    """Boxes and image-level labels in one loss; P is used by its labels."""

    name = "li-mil"
    uses_p = True
    needs_initial_run = True
    network = PatchDetector

    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """-w log p(y | x, box) on boxed positives, -log p(y | x) by record elsewhere (eq. 4)."""
        assert batch.labels is not None
        logits = student(batch.films).float()
        is_positive = batch.labels == 1
        target, is_known = label_targets(batch.labels, self.recipe)
        is_boxed = is_positive & (batch.roles == Role.BOXES)
        per_finding = torch.where(
            is_boxed,
            self.recipe.mil_box_weight * _box_loss(logits, batch.targets),
            _bag_loss(logits, target),
        )
        if batch.weights is not None:
            per_finding = per_finding * batch.weights
        loss = batch_loss(per_finding, is_known, batch.n_global)
        return StepLosses(total=loss, sums={"loss": loss.detach()})


def log_bag_probability(logits: Tensor) -> Tensor:
    """log(1 - prod (1 - p_j)) of patch logits (B, K, h, w), (B, K), in float32."""
    log_none = functional.logsigmoid(-logits.float()).sum(dim=(-2, -1))
    return torch.log(-torch.expm1(log_none) + _LEAST_BAG)


def _bag_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of a bag's probability and its target, (B, K)."""
    loss = -target * log_bag_probability(logits)
    return torch.where(target < 1, loss + (1 - target) * _denial_loss(logits), loss)


def _denial_loss(logits: Tensor) -> Tensor:
    """-log prod (1 - p_j), (B, K)."""
    return functional.softplus(logits).sum(dim=(-2, -1))


def _box_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """-log of the product over patches; one that a box touches is positive, (B, K)."""
    is_inside = functional.adaptive_max_pool2d(targets, logits.shape[-2:]) > 0
    loss = functional.binary_cross_entropy_with_logits(logits, is_inside.float(), reduction="none")
    return loss.sum(dim=(-2, -1))
