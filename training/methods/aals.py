"""Step 2: AALS, the paper's method (Wang et al., IPMI 2021, sections 2.1 and 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.aals import sharpen
from training.batches import Batch
from training.ema import Teacher, alpha_of_recipe
from training.film_dataset import UNCERTAIN, Role
from training.losses import batch_loss, bernoulli_kl
from training.methods.method import Method, StepLosses
from training.network import ScoringNetwork
from training.recipe import Recipe


class Aals(Method):
    """L_sup on boxes and record negatives, L_semi on positives without boxes (eqs. 1, 4, 5).

    The teacher sees the student's own view, in evaluation mode, and only the films it has
    something to say about. AALS works on positive findings alone.
    """

    name = "aals"
    uses_p = True
    needs_initial_run = True

    def __init__(self, recipe: Recipe, student: ScoringNetwork, *, n_steps_per_epoch: int) -> None:
        super().__init__(recipe, student, n_steps_per_epoch=n_steps_per_epoch)
        self.teacher = Teacher(student, alpha_of_recipe(recipe, n_steps_per_epoch))

    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """L = L_sup + L_semi (eq. 5)."""
        logits = student(batch.films)
        supervised = self.supervised_loss(logits, batch)
        semi, sums = self._semi_loss(logits, batch)
        total = supervised + semi
        sums |= {"loss": total.detach(), "loss_sup": supervised.detach()}
        return StepLosses(total=total, sums={**sums, "loss_semi": semi.detach()})

    def _semi_loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L_semi (eq. 4), and what the sharpening did per finding."""
        is_positive = batch.roles == Role.DISTILL
        applies, weights = self._semi_films(batch)
        rows = applies.any(dim=1).nonzero().flatten()
        if len(rows) == 0:
            nothing = torch.zeros(batch.roles.shape[1], device=logits.device)
            return logits.sum() * 0.0, dict.fromkeys(_SUMS, nothing)
        assert self.teacher is not None
        taught = self.teacher.predict(batch.films[rows]).float()
        sharp = sharpen(
            taught,
            batch.valid_cells[rows],
            a0=self.recipe.a0,
            t=self.recipe.t,
            t_share=self.recipe.adaptive_t,
        )
        positive = is_positive[rows]
        pseudo = torch.where(positive[:, :, None, None], sharp.logits, taught)
        divergence = bernoulli_kl(pseudo, logits[rows]) * weights[rows]
        loss = batch_loss(divergence, applies[rows], batch.n_global)
        is_inactive = positive & ~sharp.is_active
        figures = (positive, is_inactive, sharp.boost * positive, sharp.maximum * positive)
        return loss, {
            name: values.float().sum(dim=0) for name, values in zip(_SUMS, figures, strict=True)
        }

    def _semi_films(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Where L_semi counts, and with which weight, (B, K) each; the paper's weight is 1."""
        applies = batch.roles == Role.DISTILL
        weights = torch.ones_like(batch.roles, dtype=torch.float32)
        if batch.weights is not None:
            weights = batch.weights
        if self.recipe.record_negative == "distill":
            applies = applies | (batch.roles == Role.RECORD_NEGATIVE)
        if self.recipe.uncertain_target is not None:
            assert batch.labels is not None
            is_uncertain = batch.labels == UNCERTAIN
            applies = applies | is_uncertain
            weights = torch.where(is_uncertain, self.recipe.uncertain_target, weights)
        return applies, weights

    def epoch_figures(self, sums: dict[str, list[float]]) -> dict[str, list[float | None]]:
        """Share of positives on which AALS did nothing, mean boost and mean y'max."""
        n_distilled, *rest = (sums[name] for name in _SUMS)
        names = ("aals_inactive_share", "aals_mean_boost", "aals_mean_maximum")
        return {
            name: [value / n if n else None for value, n in zip(values, n_distilled, strict=True)]
            for name, values in zip(names, rest, strict=True)
        }


_SUMS = ("n_distilled", "n_inactive", "boost", "maximum")
