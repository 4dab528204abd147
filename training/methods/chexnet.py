"""CheXNet (Rajpurkar et al., 2017): trained on image labels alone, R and P as positives."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from training.batches import Batch
from training.image_classifier import ImageClassifier
from training.losses import batch_loss
from training.methods.method import Method, StepLosses
from training.record_options import label_targets


class CheXNet(Method):
    """Cross-entropy of each finding's label; boxes are not used, unknown labels have no loss.

    A label says something of a whole film, so windows are never cut.
    """

    name = "chexnet"
    uses_p = True
    takes_both_steps = True
    needs_whole_films = True
    learns_from_boxes = False
    network = ImageClassifier

    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """Binary cross-entropy over the labelled findings of all films."""
        assert batch.labels is not None
        logits = student(batch.films).float()
        targets, is_known = label_targets(batch.labels, self.recipe)
        per_finding = functional.binary_cross_entropy_with_logits(
            logits, targets, weight=batch.weights, reduction="none"
        )
        loss = batch_loss(per_finding, is_known, batch.n_global)
        return StepLosses(total=loss, sums={"loss": loss.detach()})
