"""From network to 16-bit score maps: upsample logits, then sigmoid, then the maximum.

The other order (sigmoid, then bilinear upsampling) would cut an isolated peak to 0.77 of itself.
Shapes: b films, K findings, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluation.auroc import auroc
from evaluation.score_maps import SCORE_MAX
from training.film_dataset import FilmSet
from training.network import normalise, upsample

_FILMS_AT_ONCE = 16


@torch.no_grad()
def score_maps(
    network: nn.Module, films: FilmSet, *, device: torch.device
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint16]]]:
    """Rows and score maps (b, K, H, W) uint16 of all films in order; 0 outside the valid area.

    Args:
        network: Set to evaluation mode here.
        films: Films to score.
        device: Where the network is.
    """
    network.eval()
    for start in range(0, len(films), _FILMS_AT_ONCE):
        rows = np.arange(start, min(start + _FILMS_AT_ONCE, len(films)))
        pixels = torch.from_numpy(films.films(rows)).to(device)
        inputs = normalise(pixels.unsqueeze(1).float() / 255.0)
        logits = network(inputs.contiguous(memory_format=torch.channels_last))
        scores = torch.sigmoid(upsample(logits, films.image_size_px))
        levels = (scores * SCORE_MAX).round().to(torch.int32).cpu().numpy().astype(np.uint16)
        maps = np.zeros_like(levels)
        for place, row in enumerate(rows):
            area = films.valid_areas[row]
            for finding in range(maps.shape[1]):
                area.of(maps[place, finding])[:] = area.of(levels[place, finding])
        yield rows, maps


def image_scores(
    network: nn.Module, films: FilmSet, *, device: torch.device
) -> NDArray[np.float64]:
    """Largest score of each film and finding, (n, K), in [0, 1]."""
    maxima = [maps.max(axis=(2, 3)) for _, maps in score_maps(network, films, device=device)]
    return np.concatenate(maxima).astype(np.float64) / SCORE_MAX


def finding_aurocs(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> list[float | None]:
    """AUROC per finding over films labelled positive or negative; None where a class is missing."""
    areas: list[float | None] = []
    for finding in range(labels.shape[1]):
        known = labels[:, finding] >= 0
        positive = labels[known, finding] == 1
        has_both = positive.any() and not positive.all()
        areas.append(auroc(scores[known, finding], positive) if has_both else None)
    return areas
