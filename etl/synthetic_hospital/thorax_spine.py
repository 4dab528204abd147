"""The spine: one vertebra's points, made once, set at every level in its size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from etl.synthetic_hospital.projection import Array, Cloud
from etl.synthetic_hospital.thorax_shape import RIB_COUNT, ThoraxShape

_NECK_LEVELS = 5
_LUMBAR_LEVELS = 5
# Steps of the three-dimensional golden-ratio sequence.
_R3 = np.array([0.8191725134, 0.6710436067, 0.5497004779])


def build_spine(shape: ThoraxShape, density: float) -> Cloud:
    """All vertebrae from the neck to the loins; density scales the bone."""
    y = shape.vertebra_y_mm.astype(float)
    first, last = float(y[1] - y[0]), float(y[-1] - y[-2])
    above = y[0] - 0.85 * first * np.arange(_NECK_LEVELS, 0, -1)
    below = y[-1] + 1.12 * last * np.arange(1, _LUMBAR_LEVELS + 2)
    levels = np.concatenate([above, y, below])
    back = np.concatenate(
        [
            np.full(_NECK_LEVELS, shape.back_z_mm[0] + 8),
            shape.back_z_mm,
            np.full(_LUMBAR_LEVELS, shape.back_z_mm[-1] + 6),
        ]
    )
    template = _vertebra()
    clouds = []
    for i, (top, bottom, z) in enumerate(zip(levels[:-1], levels[1:], back, strict=True)):
        half = (12.0 + 0.62 * min(i, 16)) * shape.scale
        size = np.array([half, (bottom - top) * 0.82, half], dtype=np.float32)
        at = np.array([0.0, top + 1.5, z + 36], dtype=np.float32)
        volume = template.volumes_mm3 * np.float32(np.prod(size) * density)
        clouds.append(Cloud(positions_mm=template.positions_mm * size + at, volumes_mm3=volume))
    assert len(clouds) == _NECK_LEVELS + RIB_COUNT + _LUMBAR_LEVELS
    return Cloud.joined(clouds)


@lru_cache(maxsize=1)
def _vertebra() -> Cloud:
    """A vertebra in units of its half width, its height (downwards from 0 to 1) and half depth.

    Volumes are in mm3 of cortical-equivalent bone for a unit box of 1 mm3.
    """
    rng = np.random.default_rng(20)
    parts = [
        _column(rng, 900, (0.0, 0.5, 0.0), (1.0, 0.5, 0.95), is_hollow=False, volume=0.27),
        _column(rng, 420, (0.0, 0.5, 0.0), (0.97, 0.5, 0.92), is_hollow=True, volume=0.14),
        _column(rng, 320, (0.0, 0.02, 0.0), (1.0, 0.03, 0.95), is_hollow=False, volume=0.04),
        _column(rng, 320, (0.0, 0.98, 0.0), (1.0, 0.03, 0.95), is_hollow=False, volume=0.04),
        _column(rng, 120, (0.0, 0.95, -2.2), (0.2, 0.32, 0.7), is_hollow=False, volume=0.07),
    ]
    for sign in (-1.0, 1.0):
        parts += [
            _column(
                rng, 110, (0.62 * sign, 0.32, -1.2), (0.22, 0.2, 0.4), is_hollow=True, volume=0.02
            ),
            _column(
                rng, 130, (1.35 * sign, 0.34, -1.8), (0.62, 0.15, 0.3), is_hollow=False, volume=0.03
            ),
        ]
    return Cloud.joined(parts)


def _column(
    rng: np.random.Generator,
    count: int,
    centre: tuple[float, float, float],
    half: tuple[float, float, float],
    *,
    is_hollow: bool,
    volume: float,
) -> Cloud:
    """An upright elliptic cylinder, waisted a little, filled or as its side wall alone."""
    # A low-discrepancy sequence covers the body more evenly than independent draws would.
    along = np.arange(count)[:, None] * _R3 + rng.uniform(0, 1, 3)
    turn, reach, down = (2 * np.pi * along[:, 0] % (2 * np.pi), along[:, 1] % 1, along[:, 2] % 1)
    down = 2 * down - 1
    reach = np.ones(count) if is_hollow else np.sqrt(reach)
    reach = reach * (0.9 + 0.1 * down**2)
    offsets = np.stack([reach * np.cos(turn), down, reach * np.sin(turn)], axis=1)
    positions: Array = (np.asarray(centre) + offsets * np.asarray(half)).astype(np.float32)
    return Cloud(
        positions_mm=positions, volumes_mm3=np.full(count, volume / count, dtype=np.float32)
    )
