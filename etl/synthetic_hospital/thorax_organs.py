"""Soft tissue of a frontal view: how much water-equivalent tissue each ray crosses.

Organs are ellipsoids and elliptic cylinders whose chords along the beam are known in closed
form, so a film needs no voxels. Maps are (H, W) in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from etl.synthetic_hospital.projection import Array, FilmGeometry
from etl.synthetic_hospital.thorax_shape import ThoraxShape

LUNG_DENSITY = 0.26


@dataclass(frozen=True, kw_only=True)
class Organs:
    """Water-equivalent thickness of a view, and how much of it is lung (before its texture)."""

    tissue_mm: Array
    lung_mm: Array


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """Centre and semi-axes in mm; roll_rad turns it in the film's plane.

    fullness 0.5 is an ellipsoid; less makes a fuller body, more one that thins towards its edge.
    """

    centre_mm: tuple[float, float, float]
    semi_mm: tuple[float, float, float]
    roll_rad: float = 0.0
    fullness: float = 0.5

    def chord(self, geometry: FilmGeometry) -> Array:
        """Length (H, W) that each ray spends inside."""
        x0, y0, z0 = self.centre_mm
        turned = geometry.turn_rad
        centre = np.array([x0 * np.cos(turned) + z0 * np.sin(turned), y0, z0], dtype=np.float32)
        window = geometry.window(centre, max(self.semi_mm[:2]))
        length = np.zeros((geometry.rows_px, geometry.columns_px), dtype=np.float32)
        x, y = geometry.grid(z0, window)
        x, y = x - centre[0], y - centre[1]
        c, s = np.float32(np.cos(self.roll_rad)), np.float32(np.sin(self.roll_rad))
        across, down = (c * x + s * y) / self.semi_mm[0], (c * y - s * x) / self.semi_mm[1]
        inside = np.maximum(1 - across * across - down * down, 0)
        length[window] = 2 * self.semi_mm[2] * inside**self.fullness
        return length


@dataclass(frozen=True, kw_only=True)
class ChestContents:
    """The organs that a seed draws inside one thorax; domes are (right, left) diaphragm tops."""

    heart: tuple[Ellipsoid, ...]
    vessels: tuple[Ellipsoid, ...]
    air: tuple[Ellipsoid, ...]
    breasts: tuple[Ellipsoid, ...]
    dome_y_mm: tuple[float, float]
    dome_height_mm: float


def draw_contents(rng: np.random.Generator, shape: ThoraxShape) -> ChestContents:
    """Draws heart, great vessels, trachea, stomach bubble, breasts and diaphragm of a patient."""
    s = shape.scale
    y = shape.vertebra_y_mm.astype(float)
    width = shape.heart_width_mm
    breath = shape.inspiration
    dome = float(y[8] + 14 + 22 * breath + rng.normal(0, 4))
    domes = (dome, dome + float(rng.uniform(4, 16)))
    base = domes[1] - 2.0
    heart_y = base - 0.62 * width
    left = Ellipsoid(
        centre_mm=(0.46 * width, heart_y + 0.1 * width, 20.0),
        semi_mm=(1.06 * width, 0.74 * width, 1.4 * width),
        fullness=0.4,
        roll_rad=float(np.deg2rad(rng.uniform(28, 46) - 8 * breath)),
    )
    right = Ellipsoid(centre_mm=(-0.14 * width, heart_y + 6, 12.0), semi_mm=(0.6 * width, 0.85 * width, 1.35 * width), fullness=0.4)
    outflow = Ellipsoid(centre_mm=(6.0, heart_y - 0.7 * width, 15.0), semi_mm=(0.46 * width, 0.75 * width, 50.0))
    arch = float(y[3] + 16)
    knob = 14 + 0.08 * max(shape.age_years - 30, 0)
    vessels = (
        Ellipsoid(centre_mm=(18 * s, arch, -8.0), semi_mm=(knob * 1.15 * s, knob * s, 42.0)),
        Ellipsoid(centre_mm=(-1.0, y[2], -5.0), semi_mm=(34 * s, 105 * s, 75.0), fullness=0.35),
        Ellipsoid(centre_mm=(16 * s, y[8], -45.0), semi_mm=(15 * s, 150.0, 14.0)),
        Ellipsoid(centre_mm=(0.0, y[5], -45.0), semi_mm=(26 * s, 330.0, 42.0), fullness=0.6),
        Ellipsoid(centre_mm=(22 * s, arch + 30 * s, 8.0), semi_mm=(17 * s, 18 * s, 24.0)),
        Ellipsoid(centre_mm=(-34 * s, arch + 36 * s, 0.0), semi_mm=(19 * s, 34 * s, 38.0), roll_rad=-0.3, fullness=1.2),
        Ellipsoid(centre_mm=(36 * s, arch + 30 * s, -4.0), semi_mm=(20 * s, 30 * s, 38.0), roll_rad=0.4, fullness=1.2),
    )
    crura = Ellipsoid(centre_mm=(2.0, domes[1] + 22, -15.0), semi_mm=(50 * s, 44.0, 75.0), fullness=0.8)
    carina = arch + 16 * s
    air = [
        Ellipsoid(centre_mm=(-1.0, carina - 90, -8.0), semi_mm=(9.0 * s, 96.0, 11.0)),
        Ellipsoid(centre_mm=(-13 * s, carina + 10, -10.0), semi_mm=(6.0 * s, 22.0 * s, 6.0), roll_rad=0.7),
        Ellipsoid(centre_mm=(17 * s, carina + 10, -10.0), semi_mm=(5.5 * s, 26.0 * s, 5.5), roll_rad=-0.95),
    ]
    if rng.random() < 0.75:
        size = rng.uniform(14, 34)
        air.append(
            Ellipsoid(
                centre_mm=(float(rng.uniform(50, 85)), domes[1] + 10 + 0.7 * size, 10.0),
                semi_mm=(1.3 * size, 0.7 * size, 0.9 * size),
                roll_rad=float(rng.normal(0, 0.2)),
            )
        )
    for _ in range(int(rng.integers(0, 4))):
        size = rng.uniform(7, 15)
        air.append(
            Ellipsoid(
                centre_mm=(float(rng.uniform(-30, 120)), domes[1] + float(rng.uniform(50, 100)), 30.0),
                semi_mm=(1.5 * size, size, size),
                roll_rad=float(rng.normal(0, 0.6)),
            )
        )
    return ChestContents(
        heart=(left, right, outflow),
        vessels=(*vessels, crura),
        air=tuple(air),
        breasts=_breasts(rng, shape),
        dome_y_mm=domes,
        dome_height_mm=float(rng.uniform(38, 56)),
    )


def _breasts(rng: np.random.Generator, shape: ThoraxShape) -> tuple[Ellipsoid, ...]:
    size = rng.uniform(0.7, 1.25) * (1 + shape.fat_mm / 90)
    sag = rng.uniform(0, 25)
    droop = rng.normal(0, 4)
    if not shape.is_female:
        size, sag = 0.55 * size, 0.0
    y = float(shape.vertebra_y_mm[7]) + sag
    depth = (15.0 if shape.is_female else 5.0) * size
    return tuple(
        Ellipsoid(
            centre_mm=(sign * 78.0 * shape.scale, y + sign * droop, 105.0),
            semi_mm=(60 * size**0.5, 56 * size**0.5, depth),
            fullness=0.62,
        )
        for sign in (-1.0, 1.0)
    )


def chest_organs(geometry: FilmGeometry, shape: ThoraxShape, contents: ChestContents) -> Organs:
    """Line integrals of a frontal chest on every step_px-th pixel."""
    lung = sum(lung_chord(geometry, shape, contents, sign) for sign in (-1.0, 1.0))
    assert isinstance(lung, np.ndarray)
    heart = np.max([one.chord(geometry) for one in contents.heart], axis=0)
    heart = heart * _above_diaphragm(geometry, contents)
    vessels = [one.chord(geometry) for one in contents.vessels]
    solid = heart + np.max(vessels[:4], axis=0) + np.max(vessels[4:], axis=0)
    # Organs' outlines are steps on this coarse grid; on a film they are not.
    lung = cv2.GaussianBlur(np.maximum(lung - solid, 0), (0, 0), 0.8)
    tissue = body_chord(geometry.reduced(2), shape)
    tissue = cv2.resize(tissue, heart.shape[::-1], interpolation=cv2.INTER_LINEAR)
    for breast in contents.breasts:
        tissue = tissue + breast.chord(geometry)
    for gas in contents.air:
        tissue = tissue - gas.chord(geometry)
    lung = np.minimum(lung, np.maximum(tissue - 40, 0))
    return Organs(tissue_mm=np.maximum(tissue, 0) - lung, lung_mm=lung)


def _above_diaphragm(geometry: FilmGeometry, contents: ChestContents) -> Array:
    """1 above the crest of the diaphragm, 0 below: the heart rests on it."""
    x, y = geometry.grid(0.0)
    dome = np.where(x < 0, contents.dome_y_mm[0], contents.dome_y_mm[1])
    crest = dome + contents.dome_height_mm * ((np.abs(x) - 58) / 74) ** 2
    return np.asarray(np.clip(1 - (y - crest + 4) / 14, 0, 1), dtype=np.float32)


def lung_chord(
    geometry: FilmGeometry, shape: ThoraxShape, contents: ChestContents, sign: float
) -> Array:
    """Length of each ray inside one lung: inside the ribs, beside the spine, above the dome."""
    centre = np.array([sign * 70.0, geometry.centre_y_mm, 0.0], dtype=np.float32)
    rows = slice(0, geometry.rows_px)
    window = (rows, geometry.window(centre, 82.0)[1])
    x, y = geometry.grid(0.0, window)
    x = x * np.float32(sign)
    profile = _lung_profile(shape)
    place = np.clip((y - profile.top_mm) / profile.step_mm, 0, len(profile.outer) - 1).astype(np.int32)
    outer, middle = profile.outer[place], profile.middle[place]
    ratio = np.sqrt(np.clip(1 - (x / outer) ** 2, 0, 1))
    z_back = middle - profile.behind[place] * ratio
    z_front = middle + profile.before[place] * ratio
    dome = contents.dome_y_mm[0 if sign < 0 else 1]
    q = (y - dome) / contents.dome_height_mm - ((x - 58) / 74) ** 2
    half = 82.0 * np.sqrt(np.maximum(q, 0))
    covered = np.minimum(z_front, 8 + half) - np.maximum(z_back, 8 - half)
    length = (z_front - z_back) - np.where(q > 0, np.maximum(covered, 0), 0)
    edge = np.clip((x - 8) / 10, 0, 1) * _ramp(y - profile.top_mm, 12)
    total = np.zeros((geometry.rows_px, geometry.columns_px), dtype=np.float32)
    total[window] = np.maximum(length * edge * _ramp(dome + 75 - y, 10), 0)
    return total


@dataclass(frozen=True, kw_only=True)
class _LungProfile:
    """A lung by height, every step_mm from its apex at top_mm down.

    outer is its lateral edge, middle the depth of its widest place, behind and before how far
    it reaches from there; all in mm.
    """

    top_mm: float
    step_mm: float
    outer: Array
    middle: Array
    behind: Array
    before: Array


def _lung_profile(shape: ThoraxShape) -> _LungProfile:
    apex = float(shape.vertebra_y_mm[0]) - 2
    y = apex + np.arange(900) * 0.5
    rise = shape.vertebra_y_mm + 6
    side_y = rise + shape.slope * shape.half_depth_mm
    front_y = rise + shape.slope * 2 * shape.half_depth_mm
    outer = np.interp(y, side_y, shape.half_width_mm - 6)
    # A quarter ellipse inside the first rib's ring rounds the apex off instead of cutting it.
    cap = np.clip((y - apex) / (side_y[1] - apex), 0, 1)
    bound = 22 + (float(shape.half_width_mm[1]) - 28) * np.sqrt(1 - (1 - cap) ** 2)
    outer = np.where(cap < 1, np.minimum(np.maximum(outer, bound), bound), outer)
    middle = np.interp(y, side_y, shape.centre_z_mm)
    behind = middle - np.interp(y, rise, shape.back_z_mm + 8)
    front = shape.back_z_mm + 2 * shape.half_depth_mm - 6
    tops, depths = [[apex], front_y], [[shape.centre_z_mm[0]], front]
    before = np.maximum(np.interp(y, np.concatenate(tops), np.concatenate(depths)) - middle, 8)
    arrays = (np.asarray(values, dtype=np.float32) for values in (outer, middle, behind, before))
    one, two, three, four = arrays
    return _LungProfile(top_mm=apex, step_mm=0.5, outer=one, middle=two, behind=three, before=four)


def body_chord(geometry: FilmGeometry, shape: ThoraxShape) -> Array:
    """Thickness of neck, trunk, shoulders and arms along each ray, as one smooth union."""
    x, y = geometry.grid(0.0)
    x = np.abs(x)
    s, fat = shape.scale, shape.fat_mm
    side_y = shape.vertebra_y_mm + 6 + shape.slope * shape.half_depth_mm
    wall = 34 + 0.8 * fat
    at = np.concatenate([[20.0, 60.0], side_y[3:], [side_y[-1] + 60]])
    half = np.concatenate([[135 * s, 142 * s], shape.half_width_mm[3:9], [shape.half_width_mm[8]] * 4])
    half = np.interp(y, at, half + wall + np.where(at < side_y[5], 12, 0))
    depth = np.interp(y, at, np.interp(at, side_y, shape.half_depth_mm) + 14 + 0.6 * fat)
    trunk = _superellipse(x, half, depth, 2.4) * _rise(y, 2 - 0.1 * fat, 60)
    neck_half = (56 + 0.35 * fat) * s
    neck = _superellipse(x, np.full_like(x, neck_half), np.full_like(x, 74 + 0.4 * fat), 2.4)
    neck = neck * (1 - _rise(y, 40, 80))
    slope_y = np.interp(x, [45 * s, 75 * s, 120 * s, 165 * s, 196 * s, 222 * s], [-88, -48, -22, -8, 16, 85])
    shoulder_half = (206 + 0.4 * fat) * s
    shoulder = _superellipse(x, np.full_like(x, shoulder_half), np.full_like(x, 72 + 0.5 * fat), 2.8)
    shoulder = shoulder * np.sqrt(_ramp(y - slope_y + 0.25 * fat, 34)) * (1 - _rise(y, 95, 170))
    arm_x = np.interp(y, [40, 330], [186 * s, (216 + 22 * shape.arm_drop) * s])
    arm_half = (48 + 0.55 * fat) * s
    arm = _superellipse(np.abs(x - arm_x), np.full_like(x, arm_half), np.full_like(x, 60 + 0.5 * fat), 2.4)
    arm = arm * _ramp(y - 40, 60)
    joined = (trunk**5 + neck**5 + shoulder**5 + arm**5) ** 0.2
    return np.asarray(joined, dtype=np.float32)


def _superellipse(x: Array, half: Array, depth: Array, power: float) -> Array:
    inside = np.maximum(1 - (x / half) ** power, 0)
    return np.asarray(2 * depth * inside ** (1 / power), dtype=np.float32)


def _ramp(values: Array, length: float) -> Array:
    return np.asarray(np.clip(values / length, 0, 1), dtype=np.float32)


def _rise(y: Array, low: float, high: float) -> Array:
    t = np.clip((y - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
