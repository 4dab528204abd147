"""Consistency with a second opinion on every film: what three of the paper's baselines share.

Laine and Aila (ICLR 2017) and Tarvainen and Valpola (NeurIPS 2017), applied to probability maps.
Unlike AALS they take no notice of the image-level labels of P, whose films count as unlabelled.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from training.batches import Batch
from training.film_dataset import Role
from training.losses import batch_loss, pixel_bce
from training.methods.method import Method, StepLosses

_RISE_EXPONENT = -5.0


class ConsistencyMethod(Method):
    """L_sup on R and N, and a rising weight times the squared difference to another map."""

    uses_p = True
    needs_initial_run = True

    @abstractmethod
    def opinion(
        self, student: nn.Module, batch: Batch, probabilities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The map to agree with, (B, K, h, w) in [0, 1], and the films that have one, (B,) bool.

        Args:
            student: The network that is trained.
            batch: The micro-batch.
            probabilities: The student's own map of it, (B, K, h, w).
        """

    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """L_sup + w (p - p')^2, averaged over the cells and findings of every film."""
        logits = student(batch.films)
        supervised = self._labelled_loss(logits, batch)
        probabilities = torch.sigmoid(logits.float())
        other, has_opinion = self.opinion(student, batch, probabilities)
        difference = (probabilities - other).square().mean(dim=(-2, -1))
        applies = has_opinion[:, None].expand_as(difference)
        consistency = batch_loss(difference, applies, batch.n_global)
        weight = self.weight(batch.n_steps_done)
        total = supervised + weight * consistency
        sums = {
            "loss": total.detach(),
            "loss_sup": supervised.detach(),
            "loss_consistency": consistency.detach(),
        }
        return StepLosses(total=total, sums=sums)

    def weight(self, n_steps_done: int) -> float:
        """exp(-5 (1 - x)^2) of the recipe's weight, x rising from 0 to 1 (Laine and Aila)."""
        n_steps = self.recipe.consistency_rise * self.recipe.n_epochs * self.n_steps_per_epoch
        x = min(1.0, n_steps_done / n_steps) if n_steps else 1.0
        return self.recipe.consistency_weight * math.exp(_RISE_EXPONENT * (1.0 - x) ** 2)

    def _labelled_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """L_sup (eq. 1) on films with boxes and on N; a film of P has no label here at all."""
        is_boxed = batch.roles == Role.BOXES
        applies = is_boxed
        if self.recipe.record_negative == "zero":
            is_denied = batch.roles == Role.RECORD_NEGATIVE
            applies = is_boxed | (is_denied & is_boxed.any(dim=1, keepdim=True))
        per_finding = pixel_bce(logits, batch.targets, positive_weight=self.recipe.positive_weight)
        return batch_loss(per_finding, applies, batch.n_global)
