"""Pi-model (Laine and Aila, ICLR 2017): the network agrees with itself on two views of a film."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.batches import Batch
from training.methods.consistency import ConsistencyMethod


class PiModel(ConsistencyMethod):
    """The second view differs in its grey levels; both passes carry gradients."""

    name = "pi-model"
    needs_second_view = True

    def opinion(
        self, student: nn.Module, batch: Batch, probabilities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The student's map of the second view."""
        assert batch.second_view is not None
        other = torch.sigmoid(student(batch.second_view).float())
        return other, other.new_ones(len(other), dtype=torch.bool)
