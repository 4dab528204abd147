"""torchvision's RetinaNet and FCOS over the recipe's backbone and torchvision's feature pyramid.

torchvision's defaults would distort a comparison: it resizes films to 800 pixels, drops detections
below 0.05 (RetinaNet) or 0.2 (FCOS), keeps the best 300 or 100 of all findings together, and takes
an image's size over a map's for its stride. Here a film comes at its size, every detection counts,
findings do not crowd one another out, and anchors stand at the pyramid's strides.
Shapes: B films, S x S pixels, K findings, A anchors of all levels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluation.score_maps import ValidArea, box_pixels
from training.backbones import STRIDES, Backbone
from training.network import NetworkScores, ScoringNetwork
from training.recipe import Recipe
from training.torchvision_operators import import_torchvision

_N_MAPS = 3
_N_LEVELS = _N_MAPS + 2
_CHANNELS_IN_GROUP = 8
# FCOSHead knows groups of 32 alone: both of its parts are replaced.
_HEAD_TO_REPLACE = 32
# In place of a logit that is to have no loss: the focal loss against background is zero here.
_SILENT_LOGIT = -30.0


class FilmPyramid(nn.Module):
    """The last three maps of a backbone, torchvision's pyramid over them and two coarser levels.

    That is torchvision's own choice for ResNet-50: strides 8 to 128. The light backbone's last
    three maps give strides 4 to 64, for films of a quarter the side.

    Attributes:
        out_channels: Channels of every level, as torchvision's detectors ask.
        strides: Stride of each level.
    """

    def __init__(self, backbone: Backbone, width: int) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelP6P7

        self.backbone = backbone.network
        self.pyramid = FeaturePyramidNetwork(
            list(backbone.n_channels[-_N_MAPS:]), width, LastLevelP6P7(width, width)
        )
        self.out_channels = width
        finest = STRIDES[len(backbone.n_channels) - _N_MAPS]
        self.strides = tuple(finest * 2**level for level in range(_N_LEVELS))

    def forward(self, films: Tensor) -> OrderedDict[str, Tensor]:
        """Levels by name, finest first."""
        maps = self.backbone(films)[-_N_MAPS:]
        levels: OrderedDict[str, Tensor] = self.pyramid(
            OrderedDict((str(number), features) for number, features in enumerate(maps))
        )
        return levels


class BoxDetector(ScoringNetwork):
    """A detector of torchvision that scores films; ``forward`` gives its head's outputs.

    Args:
        detector: torchvision's network over a ``FilmPyramid``.
        strides: Stride of each level.
    """

    def __init__(self, detector: Any, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.detector = detector
        self.strides = strides

    @classmethod
    def build(cls, backbone: Backbone, recipe: Recipe) -> Self:
        """torchvision's detector on a recipe's backbone, its score and size limits undone."""
        import_torchvision()
        pyramid = FilmPyramid(backbone, recipe.pyramid_width)
        every = {
            "score_thresh": 0.0,
            "detections_per_img": 2**31,
            "min_size": recipe.image_size_px,
            "max_size": recipe.image_size_px,
            "image_mean": [0.0],
            "image_std": [1.0],
        }
        detector = cls.torchvision_detector(pyramid, len(recipe.findings), every)
        return cls(detector, pyramid.strides)

    @staticmethod
    @abstractmethod
    def torchvision_detector(
        pyramid: FilmPyramid, n_findings: int, settings: dict[str, object]
    ) -> nn.Module:
        """torchvision's network for K findings."""

    @abstractmethod
    def anchor_scores(self, outputs: dict[str, Tensor]) -> Tensor:
        """Score of every anchor, (B, A, K)."""

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        """Outputs of torchvision's head of films (B, 1, S, S): ``cls_logits`` (B, A, K) ..."""
        outputs: dict[str, Tensor] = self.detector.head(
            list(self.detector.backbone(films).values())
        )
        return outputs

    def losses(
        self,
        outputs: dict[str, Tensor],
        targets: list[dict[str, Tensor]],
        is_silent: Tensor,
        *,
        size_px: int,
    ) -> dict[str, Tensor]:
        """torchvision's losses of ``forward``'s outputs, in float32.

        Args:
            outputs: Of B films.
            targets: ``boxes`` (m, 4) and ``labels`` (m,) of each film, empty on N.
            is_silent: True where a finding is to have no loss, (B, K).
            size_px: Side of the films.
        """
        plain = {name: values.float() for name, values in outputs.items()}
        logits = plain["cls_logits"]
        silent = is_silent[:, None, :].expand_as(logits)
        plain["cls_logits"] = torch.where(silent, _SILENT_LOGIT, logits)
        levels = self._anchors(size_px, logits.device)
        anchors = [torch.cat(levels)] * len(logits)
        result: dict[str, Tensor] = self._loss(plain, targets, anchors, [len(a) for a in levels])
        return result

    def _loss(
        self,
        outputs: dict[str, Tensor],
        targets: list[dict[str, Tensor]],
        anchors: list[Tensor],
        n_in_levels: list[int],
    ) -> Any:
        return self.detector.compute_loss(targets, outputs, anchors)

    def score(
        self, films: Tensor, valid: Tensor | None = None, *, is_mapped: bool = True
    ) -> NetworkScores:
        """The best detection's score; each pixel has the best score of the boxes that cover it."""
        outputs = {name: values.float() for name, values in self(films).items()}
        images = self.anchor_scores(outputs).amax(dim=1)
        if not is_mapped:
            return NetworkScores(images=images, maps=None)
        n_films, _, _, size = films.shape
        maps = np.zeros((n_films, images.shape[1], size, size), dtype=np.float32)
        for finding in range(images.shape[1]):
            for film, found in enumerate(self._detections(outputs, finding, size)):
                paint_boxes(
                    maps[film, finding], found["boxes"].cpu().numpy(), found["scores"].cpu().numpy()
                )
        painted = torch.from_numpy(maps).to(films.device)
        return NetworkScores(images=images, maps=painted if valid is None else painted * valid)

    def _detections(
        self, outputs: dict[str, Tensor], finding: int, size_px: int
    ) -> list[dict[str, Tensor]]:
        """torchvision's detections of one finding: the limits of one do not cut those of another.

        Before its suppression of overlaps torchvision keeps the best 1,000 boxes of each level.
        """
        levels = self._anchors(size_px, outputs["cls_logits"].device)
        counts = [len(level) for level in levels]
        alone = outputs | {"cls_logits": outputs["cls_logits"][..., finding : finding + 1]}
        split = {name: list(torch.split(values, counts, dim=1)) for name, values in alone.items()}
        n_films = len(outputs["cls_logits"])
        found: list[dict[str, Tensor]] = self.detector.postprocess_detections(
            split, [levels] * n_films, [(size_px, size_px)] * n_films
        )
        return found

    def _anchors(self, size_px: int, device: torch.device) -> list[Tensor]:
        """Anchors (a, 4) of each level of a film of S x S pixels."""
        generator = self.detector.anchor_generator
        generator.set_cell_anchors(torch.float32, device)
        sides = [-(-size_px // stride) for stride in self.strides]
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        anchors: list[Tensor] = generator.grid_anchors([[side, side] for side in sides], strides)
        return anchors


class RetinaNetDetector(BoxDetector):
    """RetinaNet (Lin et al., ICCV 2017): nine anchors a place, four strides and more wide."""

    @staticmethod
    def torchvision_detector(
        pyramid: FilmPyramid, n_findings: int, settings: dict[str, object]
    ) -> nn.Module:
        """RetinaNet with group normalisation in its head, as torchvision's second version has."""
        from torchvision.models.detection import RetinaNet
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.retinanet import RetinaNetHead

        sizes = tuple(
            tuple(int(4 * stride * 2 ** (third / 3)) for third in range(3))
            for stride in pyramid.strides
        )
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
        width = pyramid.out_channels
        head = RetinaNetHead(
            width, anchors.num_anchors_per_location()[0], n_findings, norm_layer=_norm(width)
        )
        detector: nn.Module = RetinaNet(
            pyramid, n_findings, anchor_generator=anchors, head=head, **settings
        )
        return detector

    def anchor_scores(self, outputs: dict[str, Tensor]) -> Tensor:
        """The class's probability."""
        return torch.sigmoid(outputs["cls_logits"])


class FcosDetector(BoxDetector):
    """FCOS (Tian et al., ICCV 2019): one point a place."""

    @staticmethod
    def torchvision_detector(
        pyramid: FilmPyramid, n_findings: int, settings: dict[str, object]
    ) -> nn.Module:
        """FCOS with eight channels in a group of its head's normalisation, as at 256 channels."""
        from torchvision.models.detection import FCOS
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.fcos import (
            FCOSClassificationHead,
            FCOSHead,
            FCOSRegressionHead,
        )

        width = pyramid.out_channels
        sizes = tuple((stride,) for stride in pyramid.strides)
        head = FCOSHead(_HEAD_TO_REPLACE, 1, n_findings)
        head.classification_head = FCOSClassificationHead(
            width, 1, n_findings, norm_layer=_norm(width)
        )
        head.regression_head = FCOSRegressionHead(width, 1, norm_layer=_norm(width))
        detector: nn.Module = FCOS(
            pyramid,
            n_findings,
            anchor_generator=AnchorGenerator(sizes, ((1.0,),) * len(sizes)),
            head=head,
            **settings,
        )
        return detector

    def anchor_scores(self, outputs: dict[str, Tensor]) -> Tensor:
        """Geometric mean of the class's probability and centre-ness, as torchvision takes it."""
        centred = torch.sigmoid(outputs["bbox_ctrness"])
        return torch.sqrt(torch.sigmoid(outputs["cls_logits"]) * centred)

    def _loss(
        self,
        outputs: dict[str, Tensor],
        targets: list[dict[str, Tensor]],
        anchors: list[Tensor],
        n_in_levels: list[int],
    ) -> Any:
        return self.detector.compute_loss(targets, outputs, anchors, n_in_levels)


def paint_boxes(
    score_map: NDArray[np.float32],
    boxes: NDArray[np.floating],
    scores: Sequence[float] | NDArray[np.floating],
) -> None:
    """Give each pixel of a map (S, S) the highest score of the boxes that cover it, in place.

    Args:
        score_map: Zeros.
        boxes: (m, 4); a box covers every pixel that it touches, at least its centre's.
        scores: (m,).
    """
    area = ValidArea(0, score_map.shape[0], 0, score_map.shape[1])
    for number in np.argsort(scores, kind="stable"):
        score_map[box_pixels(boxes[number], area)] = scores[number]


def _norm(width: int) -> Any:
    return partial(nn.GroupNorm, max(1, width // _CHANNELS_IN_GROUP))
