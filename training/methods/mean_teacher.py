"""Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): the student agrees with its own average."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.batches import Batch
from training.ema import Teacher, alpha_of_recipe
from training.methods.consistency import ConsistencyMethod
from training.network import ScoringNetwork
from training.recipe import Recipe


class MeanTeacher(ConsistencyMethod):
    """The EMA teacher, in evaluation mode, sees a view with other grey levels."""

    name = "mean-teacher"
    needs_second_view = True

    def __init__(self, recipe: Recipe, student: ScoringNetwork, *, n_steps_per_epoch: int) -> None:
        super().__init__(recipe, student, n_steps_per_epoch=n_steps_per_epoch)
        self.teacher = Teacher(student, alpha_of_recipe(recipe, n_steps_per_epoch))

    def opinion(
        self, student: nn.Module, batch: Batch, probabilities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The teacher's map of the second view."""
        assert self.teacher is not None
        assert batch.second_view is not None
        other = torch.sigmoid(self.teacher.predict(batch.second_view).float())
        return other, other.new_ones(len(other), dtype=torch.bool)
