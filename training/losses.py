"""The paper's losses (eqs. 1, 4 and 5), float32, with the reductions that it leaves open decided.

Shapes: B images, K findings, h x w cells. Every loss is a mean over an image's cells and findings,
summed over the images and divided by the number of images in the global batch: separate means per
subset would give P (9 % of the films) ten times its weight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pixel_bce(logits: Tensor, targets: Tensor, *, positive_weight: float = 1.0) -> Tensor:
    """Pixel-wise binary cross-entropy of eq. 1, one value per image and finding.

    A target is the share of a cell's pixels that lie in a box. Cross-entropy is linear in the
    target, so this equals the mean over the pixels themselves when each takes its cell's logit.

    Args:
        logits: Student's logits, (B, K, h, w).
        targets: Shares in [0, 1], (B, K, h, w).
        positive_weight: Weight of the positive part; 1 is the paper's loss.

    Returns:
        Mean over cells, (B, K) float32.
    """
    weight = torch.tensor(positive_weight, device=logits.device)
    loss = functional.binary_cross_entropy_with_logits(
        logits.float(), targets.float(), pos_weight=weight, reduction="none"
    )
    return loss.mean(dim=(-2, -1))


def bernoulli_kl(pseudo_logits: Tensor, logits: Tensor) -> Tensor:
    """KL divergence of eq. 4, KL(y' || f(x)), per image and finding.

    Both terms of the Bernoulli distribution count; ``functional.kl_div`` on one channel would drop
    the one of 1 - p. No gradient flows to the pseudo-label.

    Args:
        pseudo_logits: Sharpened logits z* of the teacher, (B, K, h, w).
        logits: Student's logits, (B, K, h, w).

    Returns:
        Mean over cells, (B, K) float32, never below zero beyond rounding.
    """
    pseudo = pseudo_logits.detach().float()
    target = torch.sigmoid(pseudo)
    bce = functional.binary_cross_entropy_with_logits
    entropy = bce(pseudo, target, reduction="none")
    cross = bce(logits.float(), target, reduction="none")
    return (cross - entropy).mean(dim=(-2, -1))


def batch_loss(per_finding: Tensor, applies: Tensor, n_global: int) -> Tensor:
    """Sum over images of the mean over findings, divided by the global batch (eqs. 1, 4).

    A masked finding counts as zero; the divisor stays K, so that masking one finding does not
    raise the weight of the others.

    Args:
        per_finding: Losses, (B, K).
        applies: True where the loss counts, (B, K).
        n_global: Images in the global batch, of which these B may be a part.
    """
    kept = torch.where(applies, per_finding, torch.zeros_like(per_finding))
    return kept.mean(dim=1).sum() / n_global
