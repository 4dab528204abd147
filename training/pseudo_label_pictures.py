"""Example pseudo-labels of an epoch as one picture: what is taught and what was learned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.aals import sharpen
from training.film_dataset import FilmSet, Role
from training.methods.aals import Aals
from training.methods.method import Method
from training.network import STRIDE, normalise, upsample

FOLDER = "pseudo_labels"
N_EXAMPLES = 4
_SIDE_PX = 256


@torch.no_grad()
def example_pictures(
    method: Method, student: torch.nn.Module, films: FilmSet, device: torch.device
) -> NDArray[np.uint8] | None:
    """One row for each of the first positives without boxes; None where there is nothing to show.

    The columns are the film, the teacher's map, for AALS the sharpened map, and the student's map,
    each the largest probability over the film's positive findings, as grey levels.

    Returns:
        (n * side, columns * side) uint8.
    """
    is_distilled = (films.roles == Role.DISTILL).any(axis=1)
    rows = np.flatnonzero(is_distilled)[:N_EXAMPLES]
    if method.teacher is None or len(rows) == 0:
        return None
    student.eval()
    pixels = torch.from_numpy(films.films(rows)).to(device).unsqueeze(1).float() / 255.0
    inputs = normalise(pixels).contiguous(memory_format=torch.channels_last)
    taught = method.teacher.predict(inputs).float()
    maps = [taught]
    if isinstance(method, Aals):
        valid = torch.from_numpy(films.masks(rows)[:, -1:]).to(device).float()
        cells = functional.avg_pool2d(valid, STRIDE) >= 0.5
        maps.append(sharpen(taught, cells, a0=method.recipe.a0, t=method.recipe.t).logits)
    maps.append(student(inputs).float())
    shown = torch.from_numpy(films.roles[rows] == Role.DISTILL).to(device)[:, :, None, None]
    columns = [pixels] + [_probabilities(map_, shown, films.image_size_px) for map_ in maps]
    return _joined(torch.cat(columns, dim=1))


def _probabilities(logits: Tensor, shown: Tensor, size_px: int) -> Tensor:
    """(n, 1, size, size)."""
    probabilities = torch.sigmoid(upsample(logits, size_px))
    return (probabilities * shown).amax(dim=1, keepdim=True)


def _joined(columns: Tensor) -> NDArray[np.uint8]:
    """One picture of maps (n, columns, size, size) in [0, 1]."""
    side = min(_SIDE_PX, columns.shape[-1])
    small = functional.interpolate(columns, size=(side, side), mode="area")
    levels = (small * 255).round().to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(np.block([list(row) for row in levels]))


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a grey picture as PNG; the name tells nothing of the films in it."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
