"""Rotation, flip, intensity and contrast as one pass over films and masks on the device.

The draws are a function of seed, epoch and step alone (a counter-based generator), so a resumed run
draws what the uninterrupted one drew. Shapes: B films, C channels, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.recipe import Recipe

_STREAM, _SECOND_VIEW_STREAM = 1, 4


@dataclass(frozen=True)
class AugmentationDraws:
    """One batch's draws, (B,) float32 each unless said otherwise.

    Attributes:
        rotation_rad: Rotation about the centre, counter-clockwise as seen.
        is_flipped: Mirrored left to right before the rotation, (B,) bool.
        zoom: Magnification.
        contrast: Factor about mid-grey.
        intensity: Offset of grey levels in [0, 1].
        second_contrast: The same for a second view of the same geometry.
        second_intensity: Likewise.
    """

    rotation_rad: NDArray[np.float32]
    is_flipped: NDArray[np.bool_]
    zoom: NDArray[np.float32]
    contrast: NDArray[np.float32]
    intensity: NDArray[np.float32]
    second_contrast: NDArray[np.float32]
    second_intensity: NDArray[np.float32]

    def part(self, start: int, stop: int) -> AugmentationDraws:
        """The draws of some of the batch's films."""
        fields = {name: values[start:stop] for name, values in vars(self).items()}
        return AugmentationDraws(**fields)


def draw_augmentation(
    recipe: Recipe, *, seed: int, epoch: int, step: int, n_films: int
) -> AugmentationDraws:
    """Draws of one global batch: f(seed, epoch, step)."""
    rng, second_rng = (
        np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, stream, epoch, step])))
        for stream in (_STREAM, _SECOND_VIEW_STREAM)
    )
    unit = rng.uniform(-1.0, 1.0, size=(4, n_films)).astype(np.float32)
    second = second_rng.uniform(-1.0, 1.0, size=(2, n_films)).astype(np.float32)
    is_flipped = rng.random(n_films) < 0.5
    return AugmentationDraws(
        rotation_rad=unit[0] * np.float32(np.deg2rad(recipe.max_rotation_deg)),
        is_flipped=is_flipped & recipe.is_flipping,
        zoom=1 + unit[1] * np.float32(recipe.max_zoom),
        contrast=1 + unit[2] * np.float32(recipe.max_contrast),
        intensity=unit[3] * np.float32(recipe.max_intensity),
        second_contrast=1 + second[0] * np.float32(recipe.max_contrast),
        second_intensity=second[1] * np.float32(recipe.max_intensity),
    )


def inverse_affine(draws: AugmentationDraws) -> NDArray[np.float32]:
    """Matrices from output to input in affine_grid's frame (-1 to 1), (B, 2, 3).

    Forward, a film is mirrored, turned and magnified about its centre.
    """
    cosine = np.cos(draws.rotation_rad) / draws.zoom
    sine = np.sin(draws.rotation_rad) / draws.zoom
    mirror = np.where(draws.is_flipped, -1.0, 1.0)
    # Image rows run downwards, so a turn that looks counter-clockwise has this sign.
    matrix = np.zeros((len(cosine), 2, 3), dtype=np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = mirror * cosine, -mirror * sine
    matrix[:, 1, 0], matrix[:, 1, 1] = sine, cosine
    return matrix


def augment(
    films: Tensor, masks: Tensor, draws: AugmentationDraws, *, size_px: int | None = None
) -> tuple[Tensor, Tensor]:
    """Warp films and masks with the same geometry, then change the films' grey levels.

    Args:
        films: uint8, (B, H, W), on the device.
        masks: uint8 with values 0 and 1, (B, C, H, W), on the device.
        draws: One batch's draws.
        size_px: Side of the middle part that is kept; None keeps the whole.

    Returns:
        Films (B, 1, S, S) float32 in [0, 1]; masks (B, C, S, S) float32 in [0, 1]. What comes
        from outside a film is 0 in both.
    """
    plain, warped = warp_films(films, masks, draws, size_px=size_px)
    return change_grey_levels(plain, draws.contrast, draws.intensity), warped


def warp_films(
    films: Tensor, masks: Tensor, draws: AugmentationDraws, *, size_px: int | None = None
) -> tuple[Tensor, Tensor]:
    """The geometry of ``augment`` alone: films (B, 1, S, S) in [0, 1] and masks (B, C, S, S)."""
    stacked = torch.cat([films.unsqueeze(1), masks], dim=1).float()
    size = size_px or films.shape[-1]
    matrix = torch.from_numpy(inverse_affine(draws) * np.float32(size / films.shape[-1]))
    warped = warp(stacked, matrix.to(films.device), size_px=size)
    return warped[:, :1] / 255.0, warped[:, 1:]


def change_grey_levels(
    films: Tensor, contrast: NDArray[np.float32], intensity: NDArray[np.float32]
) -> Tensor:
    """Contrast about mid-grey, then an offset, per film; clipped to [0, 1]."""
    factor, offset = (
        torch.from_numpy(values).to(films.device)[:, None, None, None]
        for values in (contrast, intensity + 0.5 * (1.0 - contrast))
    )
    return torch.addcmul(offset, films, factor).clamp_(0.0, 1.0)


def warp(
    maps: Tensor, matrix: Tensor, *, size_px: int, padding: Literal["zeros", "border"] = "zeros"
) -> Tensor:
    """Sample maps (B, C, H, W) bilinearly where a matrix (B, 2, 3) from output to input points.

    Args:
        maps: Float maps.
        matrix: In affine_grid's frame, from -1 to 1.
        size_px: Side of the result.
        padding: What lies outside: 0, or the nearest edge.
    """
    grid = _grid(matrix, size_px)
    return functional.grid_sample(
        maps, grid, mode="bilinear", padding_mode=padding, align_corners=False
    )


def _grid(matrix: Tensor, size_px: int) -> Tensor:
    """affine_grid's points (B, S, S, 2), four times faster on a CPU than its matrix product."""
    centres = (2.0 * torch.arange(size_px, device=matrix.device) + 1.0) / size_px - 1.0
    x, y = centres[None, None, :], centres[None, :, None]
    grid = matrix.new_empty(len(matrix), size_px, size_px, 2)
    for axis in range(2):
        along_x, along_y, shift = matrix[:, axis, :, None, None].unbind(dim=1)
        torch.add(along_x * x, along_y * y + shift, out=grid[..., axis])
    return grid


def inverted(matrix: Tensor) -> Tensor:
    """The matrices (B, 2, 3) that undo warps about the centre (no translation)."""
    turned = torch.linalg.inv(matrix[:, :, :2].double()).to(matrix.dtype)
    return torch.cat([turned, torch.zeros_like(matrix[:, :, 2:])], dim=2)
