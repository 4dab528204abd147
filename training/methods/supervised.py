"""Step 1: supervised pre-training on R and N (Wang et al., IPMI 2021, section 2.1, eq. 1)."""

from __future__ import annotations

from torch import nn

from training.batches import Batch
from training.methods.method import Method, StepLosses


class Supervised(Method):
    """Pixel-wise cross-entropy against the boxes of R and the empty masks of N.

    With an initial run it goes on from that run's best epoch: the yardstick for a second step.
    """

    name = "supervised"

    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """L_sup alone."""
        loss = self.supervised_loss(student(batch.films), batch)
        return StepLosses(total=loss, sums={"loss": loss.detach(), "loss_sup": loss.detach()})
