"""Windows of films for step 1 of small recipes: around a box in R, anywhere in N.

A network of few steps first learns where fractures are frequent, which tells no film from
another; a window has no place on the film, so it must learn what they look like. The paper trains
on whole films; so do all recipes without ``crop_px``, and step 2 always, since y'max (eq. 7) is a
statement about a whole film.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.film_dataset import FilmSet

_STREAM = 4
# Room for turning a window without black corners, and for magnification.
_MARGIN = 1.5
_JITTER = 0.35


def window_side(crop_px: int) -> int:
    """Side of the window cut out for a crop that is then turned."""
    return 2 * math.ceil(crop_px * _MARGIN / 2)


def draw_centres(
    films: FilmSet, rows: NDArray[np.intp], *, crop_px: int, seed: int, epoch: int, step: int
) -> NDArray[np.intp]:
    """Centre of each film's window, (b, 2) x and y in input pixels: f(seed, epoch, step).

    With boxes: near a box drawn at random, which the crop always shows. Without: uniform over the
    valid area.
    """
    rng = np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, _STREAM, epoch, step]))
    )
    units = rng.random((len(rows), 3))
    centres = np.empty((len(rows), 2), dtype=np.intp)
    for place, row in enumerate(rows):
        boxes, area = np.concatenate(films.boxes[row]), films.valid_areas[row]
        if len(boxes):
            box = boxes[int(units[place, 2] * len(boxes))]
            jitter = (2 * units[place, :2] - 1) * _JITTER * crop_px
            centres[place] = (box[:2] + box[2:]) / 2 + jitter
        else:
            low = np.array([area.column_start, area.row_start])
            high = np.array([area.column_stop, area.row_stop])
            centres[place] = low + units[place, :2] * (high - low)
    return centres


def cut(pixels: NDArray[np.uint8], centres: NDArray[np.intp], side_px: int) -> NDArray[np.uint8]:
    """Windows (b, ..., side, side) of pixels (b, ..., H, W); 0 beyond the edges.

    Args:
        pixels: Films or masks.
        centres: x and y of the windows' centres, (b, 2).
        side_px: Side of the windows, even.
    """
    height, width = pixels.shape[-2:]
    half = side_px // 2
    windows = np.zeros((*pixels.shape[:-2], side_px, side_px), dtype=np.uint8)
    for place, (x, y) in enumerate(centres):
        left, top = max(x - half, 0), max(y - half, 0)
        right, bottom = min(x + half, width), min(y + half, height)
        target = windows[place][
            ..., top - y + half : bottom - y + half, left - x + half : right - x + half
        ]
        target[:] = pixels[place][..., top:bottom, left:right]
    return windows
