"""Bones as tapered, curved tubes with a cortical shell and a spongy core, sampled as points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.projection import Array, Cloud

# Rings of sample points: distance from the axis as a part of the radius, and the part of the
# cross-section's area that the ring stands for.
_CORE_RINGS = ((0.35, 0.3), (0.72, 0.7))


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A bone's axis and cross-section at M stations.

    axis_mm (M, 3); half_height_mm and half_depth_mm (M,) are the ellipse's semi-axes, the first
    along `up`'s projection on the cross-section; cortex_mm (M,) is the shell's thickness and
    spongy_density the core's density relative to cortical bone.
    """

    axis_mm: Array
    half_height_mm: Array
    half_depth_mm: Array
    cortex_mm: Array
    spongy_density: float
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)

    @property
    def arc_mm(self) -> Array:
        """Length along the axis to each station, (M,)."""
        steps = np.linalg.norm(np.diff(self.axis_mm, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)]).astype(np.float32)

    def frames(self) -> tuple[Array, Array, Array]:
        """Tangent, height direction and depth direction at each station, each (M, 3)."""
        tangent = _unit(np.gradient(self.axis_mm, axis=0).astype(np.float32))
        reference = np.asarray(self.up, dtype=np.float32)
        height = _unit(reference - tangent * (tangent @ reference)[:, None])
        return tangent, height, np.cross(tangent, height).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class TubeSamples:
    """Sample points of a tube before any fracture: position, place along the axis and around it."""

    positions_mm: Array
    volumes_mm3: Array
    arc_mm: Array
    turn_rad: Array

    def cloud(self) -> Cloud:
        """The points alone."""
        return Cloud(positions_mm=self.positions_mm, volumes_mm3=self.volumes_mm3)


def sample_tube(tube: Tube, *, spacing_mm: float) -> TubeSamples:
    """Points about spacing_mm apart on the shell, and the core's rings in the same stations."""
    arc = tube.arc_mm
    stations = max(int(arc[-1] / spacing_mm), 4)
    at = np.linspace(0, arc[-1], stations, dtype=np.float32)
    step = float(arc[-1]) / stations
    _, height, depth = tube.frames()
    axis, height, depth = (_resampled(at, arc, values) for values in (tube.axis_mm, height, depth))
    half_height = np.interp(at, arc, tube.half_height_mm).astype(np.float32)
    half_depth = np.interp(at, arc, tube.half_depth_mm).astype(np.float32)
    cortex = np.interp(at, arc, tube.cortex_mm).astype(np.float32)
    around = float(np.pi * (half_height.max() + half_depth.max()))
    rings = [(1.0, _shell_area(half_height, half_depth, cortex), max(int(around / spacing_mm), 8))]
    for part, share in _CORE_RINGS:
        area = np.pi * half_height * half_depth * share * tube.spongy_density
        rings.append((part, area, max(int(around * part / spacing_mm / 1.5), 5)))
    parts = [
        _ring(axis, height * half_height[:, None], depth * half_depth[:, None], r, area * step, n)
        for r, area, n in rings
    ]
    turns = [np.tile(_turns(n), (stations, 1)).ravel() for _, _, n in rings]
    arcs = [np.repeat(at, n) for _, _, n in rings]
    return TubeSamples(
        positions_mm=np.concatenate([positions for positions, _ in parts]),
        volumes_mm3=np.concatenate([volumes for _, volumes in parts]),
        arc_mm=np.concatenate(arcs),
        turn_rad=np.concatenate(turns),
    )


def _shell_area(half_height: Array, half_depth: Array, cortex: Array) -> Array:
    inner = np.maximum(half_height - cortex, 0) * np.maximum(half_depth - cortex, 0)
    return np.asarray(np.pi * (half_height * half_depth - inner), dtype=np.float32)


def _turns(count: int) -> Array:
    return (np.arange(count) * (2 * np.pi / count)).astype(np.float32)


def _ring(
    axis: Array, height: Array, depth: Array, part: float, volume: Array, count: int
) -> tuple[Array, Array]:
    turns = _turns(count)
    cos, sin = np.float32(part) * np.cos(turns), np.float32(part) * np.sin(turns)
    positions = axis[:, None, :] + cos[None, :, None] * height[:, None, :]
    positions += sin[None, :, None] * depth[:, None, :]
    # The shell's points are evenly spaced in angle; on a flat ellipse the arc between them
    # differs, so each carries the length of arc it stands for.
    if part == 1.0:
        a = np.linalg.norm(height, axis=1)[:, None]
        b = np.linalg.norm(depth, axis=1)[:, None]
        length = np.sqrt((a * np.sin(turns)) ** 2 + (b * np.cos(turns)) ** 2)
        weights = volume[:, None] * length / length.sum(axis=1, keepdims=True)
    else:
        weights = np.broadcast_to(volume[:, None] / count, (len(volume), count))
    return positions.reshape(-1, 3), np.asarray(weights, dtype=np.float32).ravel()


def _resampled(at: Array, arc: Array, values: Array) -> Array:
    columns = [np.interp(at, arc, values[:, i]) for i in range(3)]
    return np.stack(columns, axis=-1).astype(np.float32)


def _unit(vectors: Array) -> Array:
    return np.asarray(
        vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6), dtype=np.float32
    )
