"""Backbones by name: ``light`` for two cores, and torchvision's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.torchvision_operators import import_torchvision
from warehouse_schema.errors import ConfigurationError

LIGHT = "light"
STRIDES = (4, 8, 16, 32)
_LIGHT_STAGES = ((16, 2), (32, 2), (64, 3), (96, 3))


@dataclass(frozen=True)
class Backbone:
    """A backbone ready for the pyramid.

    Attributes:
        network: Returns a list of maps, finest (stride 4) first.
        n_channels: Channels of each map.
        weights_source: ``random``, or name and SHA-256 of the weights file.
    """

    network: nn.Module
    n_channels: tuple[int, ...]
    weights_source: str


def build_backbone(name: str, *, weights: str) -> Backbone:
    """Build a backbone.

    Args:
        name: ``light`` or a classification model of torchvision made of convolutions.
        weights: ``random``, ``imagenet`` (torchvision's own, from its cache) or a weights file.

    Raises:
        ConfigurationError: Unknown name, or weights that are missing or do not fit.
    """
    if name == LIGHT:
        if weights != "random":
            raise ConfigurationError(
                f"weights: backbone 'light' has none to load, got '{weights}'. Use 'random'."
            )
        channels = tuple(width for width, _ in _LIGHT_STAGES[1:])
        return Backbone(LightBackbone(), channels, "random")
    return _torchvision_backbone(name, weights)


class LightBackbone(nn.Module):
    """Ten plain 3x3 convolutions, 16-32-64-96 channels, maps at strides 4, 8 and 16.

    From random weights two cores teach it to see what a residual network of the same cost has not
    begun to see; docs/methods.md gives the figures.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        n_in = 2
        for width, depth in _LIGHT_STAGES:
            layers: list[nn.Module] = []
            for place in range(depth):
                layers += [
                    nn.Conv2d(n_in, width, 3, stride=1 if place else 2, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                n_in = width
            self.stages.append(nn.Sequential(*layers))

    def forward(self, films: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8 and 16 of films (B, 1, H, W)."""
        features = torch.cat([films, local_contrast(films)], dim=1)
        features = features.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps[1:]


@torch.no_grad()
def local_contrast(films: Tensor) -> Tensor:
    """Films (B, 1, H, W) less their local mean, over their local spread, same shape.

    Neighbourhoods are about 24 pixels wide. A fracture is a small step on a grey level that the
    organs around it decide; a network of few steps need not learn to subtract them first.
    """

    def local_mean(values: Tensor) -> Tensor:
        coarse = functional.avg_pool2d(functional.avg_pool2d(values, 8), 3, 1, 1)
        return functional.interpolate(
            coarse, size=films.shape[-2:], mode="bilinear", align_corners=False
        )

    mean = local_mean(films)
    spread = (local_mean(films.square()) - mean.square()).clamp_min(0).sqrt()
    return (films - mean) / (spread + 0.1)


class StridedFeatures(nn.Module):
    """The last map of each stride of a chain of blocks, for films of one channel."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, films: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8, 16 and 32 of films (B, 1, H, W)."""
        features = films.expand(-1, 3, -1, -1)
        by_stride: dict[int, Tensor] = {}
        for block in self.blocks:
            features = block(features)
            by_stride[round(films.shape[-1] / features.shape[-1])] = features
        return [by_stride[stride] for stride in STRIDES if stride in by_stride]


def _torchvision_backbone(name: str, weights: str) -> Backbone:
    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise ConfigurationError(
            f"backbone: got '{name}', allowed are 'light' and torchvision's classification models "
            "such as resnet18, resnet50, regnet_y_400mf, mobilenet_v3_small, convnext_tiny."
        )
    model = models.get_model(name, weights=None)
    source = "random"
    if weights != "random":
        source = _load_weights(model, _weights_path(models, name, weights))
    network = StridedFeatures(_blocks(name, model))
    network.eval()
    try:
        with torch.no_grad():
            maps = network(torch.zeros(1, 1, 128, 128))
    except (RuntimeError, ValueError):
        maps = []
    network.train()
    if len(maps) < 3 or any(map_.ndim != 4 or map_.shape[2] != map_.shape[3] for map_ in maps):
        raise _not_a_pyramid(name)
    return Backbone(network, tuple(map_.shape[1] for map_ in maps), source)


def _not_a_pyramid(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"backbone: '{name}' gives no maps at strides 4, 8 and 16. Take a convolutional network "
        "such as resnet50 or regnet_y_400mf."
    )


def weights_fingerprint(name: str, weights: str) -> str:
    """What of a weights file a run depends on: its SHA-256; empty for random weights.

    Args:
        name: The backbone.
        weights: As in ``build_backbone``.

    Raises:
        ConfigurationError: There is no such file.
    """
    if weights == "random" or name == LIGHT:
        return ""
    path = _weights_path(import_torchvision().models, name, weights)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _blocks(name: str, model: nn.Module) -> list[nn.Module]:
    children = dict(model.named_children())
    if "layer4" in children:
        stem = nn.Sequential(*(children[part] for part in ("conv1", "bn1", "relu", "maxpool")))
        return [stem, *(children[f"layer{number}"] for number in range(1, 5))]
    if "trunk_output" in children:
        return [children["stem"], *children["trunk_output"].children()]
    if "stage4" in children:
        return [children[part] for part in ("conv1", "maxpool", "stage2", "stage3", "stage4")]
    if "features" in children:
        return list(children["features"].children())
    raise _not_a_pyramid(name)


def _weights_path(models: object, name: str, weights: str) -> Path:
    if weights != "imagenet":
        path = Path(weights)
    else:
        url = models.get_model_weights(name).DEFAULT.url  # type: ignore[attr-defined]
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        raise ConfigurationError(
            f"weights: no file {path.name} for backbone '{name}'. Put torchvision's ImageNet "
            "weights into its cache, name a weights file, or choose 'random'."
        )
    return path


def _load_weights(model: nn.Module, path: Path) -> str:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        classifiers = ("fc.", "classifier.", "head.", "heads.")
        backbone = {key: value for key, value in state.items() if not key.startswith(classifiers)}
        answer = model.load_state_dict(backbone, strict=False)
        missing = [key for key in answer.missing_keys if not key.startswith(classifiers)]
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a foreign file
        raise ConfigurationError(
            f"weights: {path.name} cannot be loaded ({type(error).__name__}). "
            "Give a state dictionary of this backbone."
        ) from None
    if missing or answer.unexpected_keys:
        raise ConfigurationError(
            f"weights: {path.name} is of another backbone ({len(missing)} missing and "
            f"{len(answer.unexpected_keys)} unknown entries)."
        )
    return f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
