"""Bones as tapered, curved tubes with a cortical shell and a spongy core, sampled as points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.projection import Array, FilmGeometry, FilmPoints

# Rings of sample points: distance from the axis as a part of the radius, the part of the
# cross-section's area that the ring stands for, and its points relative to the shell's.
_CORE_RINGS = ((0.38, 0.34, 0.2), (0.76, 0.66, 0.36))

# Points around are sparser than stations along: their rows are twisted, so that none align.
_AROUND = 0.8


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
        difference = np.empty_like(self.axis_mm)
        difference[1:-1] = self.axis_mm[2:] - self.axis_mm[:-2]
        difference[0] = self.axis_mm[1] - self.axis_mm[0]
        difference[-1] = self.axis_mm[-1] - self.axis_mm[-2]
        tangent = _unit(difference)
        reference = np.asarray(self.up, dtype=np.float32)
        height = _unit(reference - tangent * (tangent @ reference)[:, None])
        return tangent, height, _crossed(tangent, height)

    def at(self, site_mm: float) -> tuple[Array, Array]:
        """Axis point (3,) and unit tangent (3,) at a length along the axis."""
        arc, (tangent, _, _) = self.arc_mm, self.frames()
        point = [np.interp(site_mm, arc, self.axis_mm[:, i]) for i in range(3)]
        heading = [np.interp(site_mm, arc, tangent[:, i]) for i in range(3)]
        return np.asarray(point, dtype=np.float32), np.asarray(heading, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class TubeSamples:
    """A tube's points on the film, as (stations, points around) arrays.

    column, row and thickness_mm are (S, A); axis_px (S, 2) is the axis on the film, arc_mm (S,)
    the place along it, turn_rad (A,) the place around it, pixels_per_mm (S,) the local scale.
    """

    axis_px: Array
    column: Array
    row: Array
    thickness_mm: Array
    arc_mm: Array
    turn_rad: Array
    pixels_per_mm: Array

    def points(self) -> FilmPoints:
        """The points as one flat list."""
        return FilmPoints(
            column=self.column.ravel(),
            row=self.row.ravel(),
            thickness_mm=self.thickness_mm.ravel(),
        )


def sample_tube(tube: Tube, geometry: FilmGeometry, *, spacing_px: float) -> TubeSamples:
    """A tube's points about spacing_px apart on the shell, with the core's rings between.

    The axis and the two half axes are projected once a station: over a bone's thickness the
    beam's divergence does not show.
    """
    arc = tube.arc_mm
    column, row, magnification = geometry.project(tube.axis_mm)
    scale = magnification / np.float32(geometry.pixel_spacing_mm)
    _, height, depth = tube.frames()
    height_px = geometry.directions(height * tube.half_height_mm[:, None], magnification)
    depth_px = geometry.directions(depth * tube.half_depth_mm[:, None], magnification)
    stations = max(int(arc[-1] * float(scale.mean()) / spacing_px), 4)
    at = ((np.arange(stations) + 0.5) * (arc[-1] / stations)).astype(np.float32)
    known = np.stack([column, row, *height_px.T, *depth_px.T, scale, *_areas(tube)], axis=1)
    values = _interpolated(at, arc, known)
    at, values = _on_film(at, values, geometry, float(np.max(tube.half_height_mm)))
    step = np.float32(arc[-1] / stations)
    widest = float(np.max(tube.half_height_mm + tube.half_depth_mm)) * np.pi * float(scale.mean())
    turns, parts, weights = _layout(max(int(_AROUND * widest / spacing_px), 8))
    height_px, depth_px = _twisted(values[:, 2:4], values[:, 4:6], len(turns))
    scale_at = values[:, 6]
    # Every point is a sum over its station's columns: three small matrix products.
    around = np.stack([parts * np.cos(turns), parts * np.sin(turns), np.ones_like(turns)])
    axis_px = values[:, :2]
    shares = np.stack([_ring_lengths(tube, turns, parts), weights])
    areas = values[:, 7:9] * (step * scale_at**2)[:, None]
    return TubeSamples(
        axis_px=axis_px,
        column=np.stack([height_px[:, 0], depth_px[:, 0], axis_px[:, 0]], axis=1) @ around,
        row=np.stack([height_px[:, 1], depth_px[:, 1], axis_px[:, 1]], axis=1) @ around,
        thickness_mm=areas @ shares,
        arc_mm=at,
        turn_rad=turns,
        pixels_per_mm=scale_at,
    )


def _on_film(
    at: Array, values: Array, geometry: FilmGeometry, radius_mm: float
) -> tuple[Array, Array]:
    """Stations whose tube can reach the film: parts of shoulders and arms cannot."""
    margin = 2 * radius_mm / geometry.pixel_spacing_mm + 2
    kept = (values[:, 0] > -margin) & (values[:, 0] < geometry.columns_px + margin)
    kept &= (values[:, 1] > -margin) & (values[:, 1] < geometry.rows_px + margin)
    return at[kept], values[kept]


def _twisted(height_px: Array, depth_px: Array, count: int) -> tuple[Array, Array]:
    """Half axes (S, 2) turned a little more at each station, so that no rows of points align."""
    phase = (np.arange(len(height_px)) * 0.618034 % 1) * (4 * np.pi / count)
    c, s = np.cos(phase)[:, None], np.sin(phase)[:, None]
    height, depth = height_px * c + depth_px * s, depth_px * c - height_px * s
    return height.astype(np.float32), depth.astype(np.float32)


def _areas(tube: Tube) -> tuple[Array, Array]:
    """Cross-section of shell and of core (M,), in mm2 of cortical-equivalent bone."""
    a, b = tube.half_height_mm, tube.half_depth_mm
    inner = np.maximum(a - tube.cortex_mm, 0) * np.maximum(b - tube.cortex_mm, 0)
    return np.pi * (a * b - inner), np.pi * inner * np.float32(tube.spongy_density)


def _layout(around: int) -> tuple[Array, Array, Array]:
    """Angle, distance from the axis and share of the core for the points of one station."""
    turns = [_turns(around)]
    parts, weights = [np.ones(around)], [np.zeros(around)]
    for part, share, density in _CORE_RINGS:
        count = max(int(density * around), 4)
        turns.append(_turns(count) + 0.4)
        parts.append(np.full(count, part))
        weights.append(np.full(count, share / count))
    return (
        np.concatenate(turns).astype(np.float32),
        np.concatenate(parts).astype(np.float32),
        np.concatenate(weights).astype(np.float32),
    )


def _ring_lengths(tube: Tube, turns: Array, parts: Array) -> Array:
    """Part of the shell's length that each point stands for (0 in the core).

    Even angles are uneven arcs of an ellipse.
    """
    a, b = float(tube.half_height_mm.mean()), float(tube.half_depth_mm.mean())
    length = np.sqrt((a * np.sin(turns)) ** 2 + (b * np.cos(turns)) ** 2) * (parts == 1)
    return np.asarray(length / length.sum(), dtype=np.float32)


def _turns(count: int) -> Array:
    return (np.arange(count) * (2 * np.pi / count)).astype(np.float32)


def _interpolated(at: Array, arc: Array, known: Array) -> Array:
    """Rows of known (M, K), which belong to places arc (M,), at the places `at`, linearly."""
    left = np.clip(np.searchsorted(arc, at) - 1, 0, len(arc) - 2)
    part = (at - arc[left]) / np.maximum(arc[left + 1] - arc[left], 1e-6)
    values = known[left] + (known[left + 1] - known[left]) * part[:, None]
    return np.asarray(values, dtype=np.float32)


def _crossed(a: Array, b: Array) -> Array:
    # np.cross costs more than the rest of a short tube.
    return np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )


def _unit(vectors: Array) -> Array:
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.asarray(vectors / np.maximum(length, 1e-6), dtype=np.float32)
