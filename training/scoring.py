"""Scores of many films in 16 bits: what a network says, rounded as it is stored.

A pyramid's logits are upsampled before the sigmoid. The other order would cut an isolated peak to
0.77 of itself. Shapes: b films, K findings, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.auroc import auroc
from evaluation.score_maps import SCORE_MAX
from training.film_dataset import FilmSet
from training.network import ScoringNetwork, normalise

_FILMS_AT_ONCE = 16


@dataclass(frozen=True)
class ScoredFilms:
    """Scores of some films, uint16 = round(65535 p).

    Attributes:
        rows: Their places in the film set, (b,).
        images: Image scores, (b, K).
        maps: Score maps, (b, K, H, W), 0 outside the valid area; None where not asked for.
    """

    rows: NDArray[np.intp]
    images: NDArray[np.uint16]
    maps: NDArray[np.uint16] | None


@torch.no_grad()
def score_films(
    network: ScoringNetwork, films: FilmSet, *, device: torch.device, is_mapped: bool = True
) -> Iterator[ScoredFilms]:
    """Scores of all films in order.

    Args:
        network: Set to evaluation mode here.
        films: Films to score.
        device: Where the network is.
        is_mapped: False leaves the maps out.
    """
    network.eval()
    for start in range(0, len(films), _FILMS_AT_ONCE):
        rows = np.arange(start, min(start + _FILMS_AT_ONCE, len(films)))
        pixels = torch.from_numpy(films.films(rows)).to(device)
        inputs = normalise(pixels.unsqueeze(1).float() / 255.0)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        valid = torch.from_numpy(_valid_pixels(films, rows)).to(device)
        scores = network.score(inputs, valid, is_mapped=is_mapped)
        yield ScoredFilms(
            rows=rows,
            images=_in_16_bits(scores.images),
            maps=None if scores.maps is None else _in_16_bits(scores.maps),
        )


def image_scores(
    network: ScoringNetwork, films: FilmSet, *, device: torch.device
) -> NDArray[np.float64]:
    """Score of each film and finding, (n, K), in [0, 1], as it would be stored."""
    scored = score_films(network, films, device=device, is_mapped=False)
    return np.concatenate([part.images for part in scored]).astype(np.float64) / SCORE_MAX


def _valid_pixels(films: FilmSet, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    size = films.image_size_px
    valid = np.zeros((len(rows), 1, size, size), dtype=np.bool_)
    for place, row in enumerate(rows):
        area = films.valid_areas[row]
        columns = slice(area.column_start, area.column_stop)
        valid[place, 0, area.row_start : area.row_stop, columns] = True
    return valid


def _in_16_bits(probabilities: Tensor) -> NDArray[np.uint16]:
    levels = (probabilities * SCORE_MAX).round().to(torch.int32)
    return levels.cpu().numpy().astype(np.uint16)


def finding_aurocs(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> list[float | None]:
    """AUROC per finding over films labelled positive or negative; None where a class is missing."""
    areas: list[float | None] = []
    for finding in range(labels.shape[1]):
        known = labels[:, finding] >= 0
        positive = labels[known, finding] == 1
        has_both = positive.any() and not positive.all()
        areas.append(auroc(scores[known, finding], positive) if has_both else None)
    return areas
