"""A simple check for text that was burnt into a film's pixels.

A console draws letters near black or white, or in one grey level, which film never shows over an
area: noise differs from pixel to pixel. So the check looks for small patches of such values that
stand in a row with patches of like height, upright or along the side, as letters do. It prefers to
flag: a ruler or a row of screws is flagged too.

Measured: 15 letters and digits drawn into 25 real films (NIH ChestX-ray14, 1024 px) are found in
all 25 from 15 px letter height on, in 20 at 11 px; of 150 such films as published 43 are flagged,
and nearly all of these carry text ("PORTABLE"); of 40 synthetic films, which carry none, 1 is.
Missed: handwriting, slanted text, fewer than MIN_LETTERS in a row, letters that touch each other.
A trained text detector would find more; those that install offline bring a second OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_LETTERS = 4
# Vertebrae and ribs stand above each other too.
MIN_LETTERS_ALONG_SIDE = 6
LETTER_HEIGHT_SHARE = (0.004, 0.12)
MIN_LETTER_PX = 5
# Smoothed edges of thin strokes reach neither black nor white, but come near.
EDGE_SHARE = 0.3
MAX_LETTER_ASPECT = 1.8
FILL_SHARE = (0.12, 0.95)
# The gap to the next letter, in letter heights; a word space is about half a height.
MAX_GAP_HEIGHTS = 1.2
HEIGHT_RATIO = 1.6


def has_burnt_in_text(stored: NDArray[np.integer]) -> bool:
    """True where letters seem to be drawn into a film.

    Args:
        stored: Stored pixel values (rows, columns), before any look-up table.
    """
    low, high = int(stored.min()), int(stored.max())
    band = round(EDGE_SHARE * (high - low))
    masks = [stored == value for value in _flat_values(stored)]
    masks += [stored > high - band, stored < low + band]
    return any(
        _longest_row(_letters(mask)) >= MIN_LETTERS
        # Text along the film's side is upright in the transposed film.
        or _longest_row(_letters(mask.T)) >= MIN_LETTERS_ALONG_SIDE
        for mask in masks
    )


def _flat_values(stored: NDArray[np.integer]) -> list[int]:
    """Values that a drawing may have used: the extremes, and those over-frequent in flat spots."""
    right = stored[1:, :-1] == stored[1:, 1:]
    below = stored[:-1, 1:] == stored[1:, 1:]
    diagonal = stored[:-1, :-1] == stored[1:, 1:]
    flat = stored[1:, 1:][right & below & diagonal]
    values, counts = np.unique(flat, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")[:8]].tolist()
    return sorted({int(stored.min()), int(stored.max()), *map(int, frequent)})


def _letters(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Boxes (n, 4: x, y, width, height) of the patches that have the size and shape of letters."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats[1:].T
    low, high = (share * max(mask.shape) for share in LETTER_HEIGHT_SHARE)
    fill = area / (width * height)
    is_letter = (
        (height >= max(low, MIN_LETTER_PX))
        & (height <= high)
        & (width <= MAX_LETTER_ASPECT * height)
        & (fill >= FILL_SHARE[0])
        & (fill <= FILL_SHARE[1])
    )
    boxes: NDArray[np.int32] = np.stack([x, y, width, height], axis=1)[is_letter]
    return boxes


def _longest_row(boxes: NDArray[np.int32]) -> int:
    """How many letters follow each other on one base line."""
    order = boxes[np.argsort(boxes[:, 0], kind="stable")]
    length = np.ones(len(order), dtype=np.int64)
    for place, (x, y, _, height) in enumerate(order):
        earlier = order[:place]
        gap = x - (earlier[:, 0] + earlier[:, 2])
        taller = np.maximum(earlier[:, 3], height)
        is_next = (
            (gap > 0)
            & (gap <= MAX_GAP_HEIGHTS * taller)
            & (abs((earlier[:, 1] + earlier[:, 3]) - (y + height)) <= 0.15 * taller)
            & (taller <= HEIGHT_RATIO * np.minimum(earlier[:, 3], height))
        )
        if is_next.any():
            length[place] = length[:place][is_next].max() + 1
    return int(length.max(initial=0))
