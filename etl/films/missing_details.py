"""Where a film decoded at a lower resolution would differ from the whole one, and its repair.

The details that are left out are bounded by the codestream's own packet headers, code-block by
code-block. Where a bound is so large that the film could change by more than two grey levels, the
block is decoded at full resolution, and where that is much of the film, all of it is.

A line of one pixel changes a film by at most an eighth of its height, a step or a dot by less, and
noise by less still, because the film averages at least 1.4 pixels of the lower resolution a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from etl.films.codestream_blocks import DetailLevel
from etl.films.openjpeg_areas import Area

# Grey levels of 255. Details are harmless below the first anywhere, and between half of it and all
# of it where pixels of the lower resolution that touch differ by less than the second.
MAX_DETAIL = 12.0
MAX_CONTRAST = 32.0
# From here on a neighbourhood counts as sharp, and what is sharp at a block's edge reaches over it.
SHARP_CONTRAST = 20.0
# Support of the longer wavelet (9/7) on each side, in pixels of the finer resolution.
REACH_PX = 4
# Beyond this share of blocks the whole is decoded as quickly.
MAX_SHARE = 0.3
GREY_LEVEL = 257


@dataclass(frozen=True, kw_only=True)
class LowResolution:
    """A film at a lower resolution, and what bounds the details that it lacks.

    Attributes:
        grey: (rows, columns) uint16 over its full range.
        n_halvings: Resolutions between it and the whole.
        shape: (rows, columns) of the whole.
        levels: Bounds for each halving, the finest first.
    """

    grey: NDArray[np.uint16]
    n_halvings: int
    shape: tuple[int, int]
    levels: Sequence[DetailLevel]


def is_mostly_detailed(levels: Sequence[DetailLevel], *, values_per_level: float) -> bool:
    """Whether details show in so much of the film that a lower resolution saves nothing."""
    return float(_has_large_details(levels, values_per_level).mean()) > MAX_SHARE


def areas_to_decode(low: LowResolution, *, values_per_level: float) -> list[Area] | None:
    """Areas whose details could change the film by more than two grey levels.

    Args:
        low: The film without its finest details.
        values_per_level: Stored values that make one grey level where the look-up is steepest.

    Returns:
        (top, bottom, left, right) of each in source pixels; None for the whole film.
    """
    block_px = low.levels[0].block_px
    n_blocks = low.levels[0].bounds.shape
    low_block = (block_px[0] >> low.n_halvings, block_px[1] >> low.n_halvings)
    if min(low_block) < 2 * REACH_PX:
        return None
    contrast = _contrast(low.grey)
    sharpest = _block_maxima(contrast, low_block, n_blocks)
    is_wanted = _has_large_details(low.levels, values_per_level)
    is_wanted |= _has_large_details(low.levels, values_per_level / 2) & (sharpest >= MAX_CONTRAST)
    if is_wanted.mean() > MAX_SHARE:
        return None
    is_sharp = contrast >= SHARP_CONTRAST * GREY_LEVEL
    return [_area(low, is_sharp, is_wanted, run) for run in _runs(is_wanted)]


def _has_large_details(levels: Sequence[DetailLevel], values_per_level: float) -> NDArray[np.bool_]:
    """Blocks of the finest level in which details may be larger than MAX_DETAIL grey levels."""
    n_blocks = levels[0].bounds.shape
    is_large = np.zeros(n_blocks, dtype=np.bool_)
    for number, level in enumerate(levels, start=1):
        # The film averages finer details over twice as many pixels.
        limit = MAX_DETAIL * values_per_level * 2 ** (len(levels) - number)
        is_large |= _spread(level, levels[0].block_px, n_blocks) > limit
    return is_large


def _contrast(grey: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Largest less smallest of each pixel and its eight neighbours."""
    kernel = np.ones((3, 3), dtype=np.uint8)
    return np.asarray(cv2.dilate(grey, kernel) - cv2.erode(grey, kernel))


def _block_maxima(
    contrast: NDArray[np.uint16], block: tuple[int, int], n_blocks: tuple[int, ...]
) -> NDArray[np.float64]:
    """Largest value in each block, in grey levels."""
    rows, columns = n_blocks[0] * block[0], n_blocks[1] * block[1]
    padded = np.zeros((max(rows, contrast.shape[0]), max(columns, contrast.shape[1])), np.uint16)
    padded[: contrast.shape[0], : contrast.shape[1]] = contrast
    cut = padded[:rows, :columns].reshape(n_blocks[0], block[0], n_blocks[1], block[1])
    return np.asarray(cut.max(axis=1).max(axis=2) / GREY_LEVEL)


def _spread(
    level: DetailLevel, block_px: tuple[int, int], n_blocks: tuple[int, ...]
) -> NDArray[np.float64]:
    """Bounds of a level on the grid of the finest one's blocks."""
    rows, columns = (
        np.minimum(np.arange(n) * finest // coarse, side - 1)
        for n, finest, coarse, side in zip(
            n_blocks, block_px, level.block_px, level.bounds.shape, strict=True
        )
    )
    return np.asarray(level.bounds[np.ix_(rows, columns)])


def _runs(is_wanted: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Wanted blocks that follow each other in a row: row, first column, column after the last."""
    steps = np.diff(np.pad(is_wanted.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    return [
        (int(row), int(first), int(last))
        for (row, first), last in zip(starts, ends[:, 1], strict=True)
    ]


def _area(
    low: LowResolution,
    is_sharp: NDArray[np.bool_],
    is_wanted: NDArray[np.bool_],
    run: tuple[int, int, int],
) -> Area:
    """The area of a run: over its edge where that is sharp, else short of it.

    Short of it, because an area that ends at the edge needs the next block's coefficients; but not
    between two blocks that are both wanted, where nothing may be left out.
    """
    row, first, last = run
    reach = REACH_PX << (low.n_halvings - 1)
    height, width = (each >> low.n_halvings for each in low.levels[0].block_px)
    top, bottom, left, right = row * height, (row + 1) * height, first * width, last * width
    inside = is_sharp[top:bottom, left:right]
    above = is_wanted[row - 1, first:last] if row else np.ones(1)
    below = is_wanted[row + 1, first:last] if row + 1 < len(is_wanted) else np.ones(1)
    beyond = [
        reach if edge.any() else 0 if meets else -reach
        for edge, meets in (
            (inside[:REACH_PX], above.any()),
            (inside[height - REACH_PX :], below.any()),
            (inside[:, :REACH_PX], first == 0),
            (inside[:, right - left - REACH_PX :], last == is_wanted.shape[1]),
        )
    ]
    rows, columns = low.shape
    return (
        max((top << low.n_halvings) - beyond[0], 0),
        min((bottom << low.n_halvings) + beyond[1], rows),
        max((left << low.n_halvings) - beyond[2], 0),
        min((right << low.n_halvings) + beyond[3], columns),
    )
