"""Adaptive asymmetric label sharpening (Wang et al., IPMI 2021, section 2.2), in logit space.

Shapes: B images, K findings, h x w cells of the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_OUTSIDE = -1e30


@dataclass(frozen=True)
class Sharpened:
    """Pseudo-label of one batch.

    Attributes:
        logits: Sharpened logits z*, (B, K, h, w) float32.
        maximum: y'max of the teacher's map, (B, K) float32.
        is_active: True where y'max lies above the centre, so that something changed, (B, K).
        boost: Largest rise of a probability in the map by sharpening, (B, K) float32.
    """

    logits: Tensor
    maximum: Tensor
    is_active: Tensor
    boost: Tensor


def sharpen(
    teacher_logits: Tensor,
    valid_cells: Tensor,
    *,
    a0: float,
    t: float,
    t_share: float | None = None,
) -> Sharpened:
    """Sharpen a teacher's map: max(S(y'), y') with S of eq. 6 and a of eq. 7.

    With z = logit(y') eq. 6 reads logit S(y') = a z + (1 - a) logit(t), so the result is
    z* = z + (a - 1) max(z - logit(t), 0): exactly the identity at a = 1 and wherever y' <= t,
    never below z, and free of the infinities of logit(1) that bfloat16 meets from z = 6.25 on.
    y'max and a are taken per image and finding, over the valid (unpadded) area.

    Args:
        teacher_logits: Teacher's logits, (B, K, h, w), any floating type.
        valid_cells: True where a cell shows film and not padding, (B, 1, h, w) or (B, K, h, w).
        a0: Largest sharpening strength, at least 1 (eq. 7).
        t: Centre of the sharpening, in (0, 1) (eq. 6).
        t_share: Beyond the paper: the centre is this share of y'max where that is below t, so that
            a map with a low maximum is sharpened too. None: t alone.

    Returns:
        The pseudo-label; nothing in it carries a gradient.
    """
    z = teacher_logits.detach().float()
    valid = z.masked_fill(~valid_cells, _OUTSIDE)
    peak = valid.amax(dim=(-2, -1))
    maximum = torch.sigmoid(peak)
    # a - 1 of eq. 7, in the order of operations that is exactly 0 at y'max = 1.
    gain = ((a0 - 1.0) * (1.0 - maximum))[:, :, None, None]
    centre, is_active = _centre(peak, maximum, t, t_share)
    logits = raised(z, gain, centre)
    boost = (torch.sigmoid(logits) - torch.sigmoid(z)).masked_fill(~valid_cells, 0.0)
    return Sharpened(
        logits=logits, maximum=maximum, is_active=is_active, boost=boost.amax(dim=(-2, -1))
    )


def raised(z: Tensor, gain: Tensor | float, centre: Tensor | float) -> Tensor:
    """max(S(y'), y') of eq. 6 in logits, for a strength a = gain + 1 and the centre's logit."""
    return z + gain * (z - centre).clamp_min(0.0)


def _centre(
    peak: Tensor, maximum: Tensor, t: float, t_share: float | None
) -> tuple[Tensor, Tensor]:
    """Logit of the centre, that broadcasts over maps, and where the maximum lies above it."""
    fixed = torch.full_like(peak, math.log(t / (1.0 - t)))
    if t_share is None:
        return fixed[:, :, None, None], maximum > t
    # logit(share y) of a probability y that may have no logit of its own in float32.
    own = (t_share * maximum).clamp(1e-30, 1.0 - 1e-7)
    centre = torch.minimum(fixed, torch.logit(own))
    return centre[:, :, None, None], peak > centre
