"""Lung vessels: trees that branch from the hila and thin out towards the pleura."""

from __future__ import annotations

import numpy as np

from etl.synthetic_hospital.projection import Array, Cloud
from etl.synthetic_hospital.thorax_shape import ThoraxShape

_LEVELS = 6
_STEPS = 14


def grow_vessels(rng: np.random.Generator, shape: ThoraxShape) -> list[tuple[float, Cloud]]:
    """Point clouds of both lungs' vessels with their radius (mm), water-equivalent volumes."""
    right, left = _tree(rng, shape, -1.0), _tree(rng, shape, 1.0)
    levels = [
        (radius, Cloud.joined([one, other]))
        for (radius, one), (_, other) in zip(right, left, strict=True)
    ]
    # Levels of similar radius are drawn together: on the film they differ by less than the blur.
    return [
        (levels[i][0], Cloud.joined([levels[i][1], levels[i + 1][1]])) for i in range(0, _LEVELS, 2)
    ]


def _tree(rng: np.random.Generator, shape: ThoraxShape, sign: float) -> list[tuple[float, Cloud]]:
    s = shape.scale
    hilum = np.array([sign * 30.0, float(shape.vertebra_y_mm[4]) + 26, -2.0])
    spread = np.deg2rad(np.linspace(-80, 82, 11) + rng.normal(0, 5, 11))
    heading = np.stack(
        [sign * np.cos(spread), np.sin(spread) * 1.1, rng.uniform(-0.7, 0.7, len(spread))], axis=1
    )
    start = hilum + np.stack([np.zeros(11), np.linspace(-14, 20, 11), rng.normal(0, 8, 11)], axis=1)
    radius, length = 3.6 * s, 34.0 * s
    clouds = []
    for level in range(_LEVELS):
        heading = heading / np.linalg.norm(heading, axis=1, keepdims=True)
        bend = rng.normal(0, 0.25, heading.shape)
        t = np.linspace(0, 1, _STEPS)[None, :, None]
        lengths = length * rng.uniform(0.75, 1.25, (len(start), 1, 1))
        path = start[:, None] + lengths * (t * heading[:, None] + t**2 * bend[:, None] * 0.5)
        volume = np.pi * radius**2 * np.broadcast_to(lengths[..., 0], path.shape[:2]) / _STEPS
        inside = _inside(shape, path.reshape(-1, 3))
        clouds.append(
            (
                radius,
                Cloud(
                    positions_mm=path.reshape(-1, 3)[inside].astype(np.float32),
                    volumes_mm3=volume.reshape(-1)[inside].astype(np.float32),
                ),
            )
        )
        end = path[:, -1]
        direction = path[:, -1] - path[:, -2]
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        fork = rng.normal(0, 0.42, direction.shape)
        keep = _inside(shape, end)
        end, direction, fork = end[keep], direction[keep], fork[keep]
        start = np.concatenate([end, end])
        heading = np.concatenate([direction + fork, direction - fork])
        radius, length = radius * 0.74, length * 0.78
        if level == 2:
            length *= 0.9
    return clouds


def _inside(shape: ThoraxShape, points: Array) -> Array:
    """Whether points (N, 3) lie within the rib cage's ellipse at their height."""
    side_y = shape.vertebra_y_mm + 6 + shape.slope * shape.half_depth_mm
    half = np.interp(points[:, 1], side_y, shape.half_width_mm) - 9
    depth = np.interp(points[:, 1], side_y, shape.half_depth_mm) - 10
    centre = np.interp(points[:, 1], side_y, shape.centre_z_mm)
    inside = (points[:, 0] / half) ** 2 + ((points[:, 2] - centre) / depth) ** 2 < 1
    return np.asarray(inside & (points[:, 1] > shape.vertebra_y_mm[0] + 4))
