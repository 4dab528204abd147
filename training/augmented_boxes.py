"""Boxes under the geometry that films are augmented with: hulls of what was turned, clipped."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.score_maps import ValidArea
from training.augmentation import AugmentationDraws, inverse_affine
from training.film_dataset import FilmSet

_LEAST_SIDE_PX = 1.0


def augmented_boxes(
    films: FilmSet,
    rows: NDArray[np.intp],
    draws: AugmentationDraws,
    *,
    centres: NDArray[np.intp] | None = None,
    size_px: int | None = None,
) -> list[list[Tensor]]:
    """Boxes of each film and finding in the pixels of the augmented film or window.

    Args:
        films: Training films.
        rows: Rows of the films, (b,).
        draws: Their augmentation.
        centres: Centre of each film's window, (b, 2) x and y; None: whole films.
        size_px: Side of the windows; None: whole films.

    Returns:
        Per film and finding (m, 4) float32, x_min, y_min, x_max, y_max, within the film, each side
        at least one pixel. Boxes that are out of sight are left out.
    """
    side = size_px or films.image_size_px
    inverse = np.linalg.inv(inverse_affine(draws)[:, :, :2].astype(np.float64))
    whole = np.full(2, films.image_size_px / 2)
    return [
        [
            _moved(
                clipped(boxes, films.valid_areas[row]),
                inverse[place],
                whole if centres is None else centres[place].astype(np.float64),
                side,
            )
            for boxes in films.boxes[row]
        ]
        for place, row in enumerate(rows)
    ]


def clipped(boxes: NDArray[np.float64], area: ValidArea) -> NDArray[np.float64]:
    """Boxes (m, 4) within a film's valid area, each side at least one pixel."""
    low = np.array([area.column_start, area.row_start], dtype=np.float64)
    high = np.array([area.column_stop, area.row_stop], dtype=np.float64)
    return _within(boxes, low, high)


def _moved(
    boxes: NDArray[np.float64], matrix: NDArray[np.float64], centre: NDArray[np.float64], side: int
) -> Tensor:
    """Hulls of boxes (m, 4) after d -> matrix d about a centre, in a frame of ``side`` pixels."""
    corners = boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]]
    turned = (corners - centre) @ matrix.T + side / 2
    hulls = np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)
    is_seen = ((hulls[:, :2] < side) & (hulls[:, 2:] > 0)).all(axis=1)
    return torch.from_numpy(
        _within(hulls[is_seen], np.zeros(2), np.full(2, float(side))).astype(np.float32)
    )


def _within(
    boxes: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    start = np.clip(boxes[:, :2], low, high - _LEAST_SIDE_PX)
    stop = np.clip(boxes[:, 2:], start + _LEAST_SIDE_PX, high)
    return np.concatenate([start, stop], axis=1)
