"""The detectors of Table 1: RetinaNet and FCOS, trained on R's boxes and on N as background."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.batches import Batch
from training.box_detectors import BoxDetector, FcosDetector, RetinaNetDetector
from training.film_dataset import Role
from training.methods.method import Method, StepLosses


class BoxDetection(Method):
    """torchvision's own losses, summed over their kinds.

    A finding that is masked, or positive without boxes, has no loss: its anchors are not taken for
    background. torchvision divides by the boxed anchors of a film (RetinaNet) or of a micro-batch
    (FCOS).
    """

    takes_both_steps = True
    needs_boxes = True

    def losses(self, student: nn.Module, batch: Batch) -> StepLosses:
        """The detector's losses, a micro-batch weighted by its share of the batch."""
        assert batch.boxes is not None
        network = _detector_of(student)
        is_silent = (batch.roles == Role.MASKED) | (batch.roles == Role.DISTILL)
        if self.recipe.record_negative != "zero":
            is_silent |= batch.roles == Role.RECORD_NEGATIVE
        parts = network.losses(
            student(batch.films),
            box_targets(batch.boxes, is_silent),
            is_silent,
            size_px=batch.films.shape[-1],
        )
        share = len(batch.films) / batch.n_global
        total = torch.stack(list(parts.values())).sum() * share
        sums = {f"loss_{name}": value.detach() * share for name, value in parts.items()}
        return StepLosses(total=total, sums={"loss": total.detach(), **sums})


class RetinaNetMethod(BoxDetection):
    """RetinaNet (Lin et al., ICCV 2017; reference 9 of the paper)."""

    name = "retinanet"
    network = RetinaNetDetector


class FcosMethod(BoxDetection):
    """FCOS (Tian et al., ICCV 2019; reference 14 of the paper)."""

    name = "fcos"
    network = FcosDetector


def _detector_of(student: nn.Module) -> BoxDetector:
    """The detector under what torch wraps around a student: its processes and its compiler."""
    for wrapped in ("module", "_orig_mod"):
        student = getattr(student, wrapped, student)
    assert isinstance(student, BoxDetector)
    return student


def box_targets(boxes: list[list[Tensor]], is_silent: Tensor) -> list[dict[str, Tensor]]:
    """torchvision's targets, one dictionary a film; empty where there is no box.

    Args:
        boxes: Boxes (m, 4) per film and finding.
        is_silent: True where a finding's boxes are left out, (B, K).
    """
    targets = []
    for film, by_finding in enumerate(boxes):
        kept = [
            (found, number)
            for number, found in enumerate(by_finding)
            if not bool(is_silent[film, number])
        ]
        targets.append(
            {
                "boxes": torch.cat([torch.zeros(0, 4), *(found for found, _ in kept)]).to(
                    is_silent.device
                ),
                "labels": torch.cat(
                    [torch.full((len(found),), number, dtype=torch.int64) for found, number in kept]
                    or [torch.zeros(0, dtype=torch.int64)]
                ).to(is_silent.device),
            }
        )
    return targets
