"""Soft tissue of a frontal view: how much water-equivalent tissue each ray crosses.

Organs are ellipsoids and elliptic cylinders whose chords along the beam are known in closed
form, so a film needs no voxels. Maps are (H, W) in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.projection import Array, FilmGeometry
from etl.synthetic_hospital.thorax_contents import ChestContents
from etl.synthetic_hospital.thorax_shape import ThoraxShape

Floats = npt.NDArray[np.floating]

LUNG_DENSITY = 0.26


@dataclass(frozen=True, kw_only=True)
class Organs:
    """Water-equivalent thickness of a view, and how much of it is lung (before its texture)."""

    tissue_mm: Array
    lung_mm: Array


def chest_organs(geometry: FilmGeometry, shape: ThoraxShape, contents: ChestContents) -> Organs:
    """Line integrals of a frontal chest on every step_px-th pixel."""
    lung = sum(lung_chord(geometry, shape, contents, sign) for sign in (-1.0, 1.0))
    assert isinstance(lung, np.ndarray)
    heart = np.max([one.chord(geometry) for one in contents.heart], axis=0)
    heart = heart * _above_diaphragm(geometry, contents)
    middle = np.max([one.chord(geometry) for one in contents.mediastinum], axis=0)
    solid = heart + middle + np.max([one.chord(geometry) for one in contents.hila], axis=0)
    # Organs' outlines are steps on this coarse grid; on a film they are not.
    lung = np.asarray(cv2.GaussianBlur(np.maximum(lung - solid, 0), (0, 0), 0.8))
    tissue = body_chord(geometry.reduced(2), shape)
    tissue = np.asarray(cv2.resize(tissue, heart.shape[::-1], interpolation=cv2.INTER_LINEAR))
    for breast in contents.breasts:
        tissue = tissue + breast.chord(geometry)
    for gas in contents.air:
        tissue = tissue - gas.chord(geometry)
    lung = np.minimum(lung, np.maximum(tissue - 40, 0))
    for patch in contents.haze:
        lung = np.maximum(lung - patch.chord(geometry), 0.55 * lung)
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
    place = np.clip((y - profile.top_mm) / profile.step_mm, 0, len(profile.outer) - 1).astype(
        np.int32
    )
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
    tops = np.concatenate([[apex], front_y])
    depths = np.concatenate([[shape.centre_z_mm[0]], front])
    before = np.maximum(np.interp(y, tops, depths) - middle, 8)
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
    half = np.concatenate(
        [[135 * s, 142 * s], shape.half_width_mm[3:9], [shape.half_width_mm[8]] * 4]
    )
    half = np.interp(y, at, half + wall + np.where(at < side_y[5], 12, 0))
    depth = np.interp(y, at, np.interp(at, side_y, shape.half_depth_mm) + 14 + 0.6 * fat)
    trunk = _superellipse(x, half, depth, 2.4) * _rise(y, 2 - 0.1 * fat, 60)
    neck_half = (56 + 0.35 * fat) * s
    neck = _superellipse(x, np.full_like(x, neck_half), np.full_like(x, 74 + 0.4 * fat), 2.4)
    neck = neck * (1 - _rise(y, 40, 80))
    slope_y = np.interp(
        x, [45 * s, 75 * s, 120 * s, 165 * s, 196 * s, 222 * s], [-88, -48, -22, -8, 16, 85]
    )
    shoulder_half = (206 + 0.4 * fat) * s
    shoulder = _superellipse(
        x, np.full_like(x, shoulder_half), np.full_like(x, 72 + 0.5 * fat), 2.8
    )
    shoulder = shoulder * np.sqrt(_ramp(y - slope_y + 0.25 * fat, 34)) * (1 - _rise(y, 95, 170))
    arm_x = np.interp(y, [40, 330], [186 * s, (216 + 22 * shape.arm_drop) * s])
    arm_half = (48 + 0.55 * fat) * s
    arm = _superellipse(
        np.abs(x - arm_x), np.full_like(x, arm_half), np.full_like(x, 60 + 0.5 * fat), 2.4
    )
    arm = arm * _ramp(y - 40, 60)
    joined = (trunk**5 + neck**5 + shoulder**5 + arm**5) ** 0.2
    return np.asarray(joined, dtype=np.float32)


def _superellipse(x: Array, half: Floats, depth: Floats, power: float) -> Array:
    inside = np.maximum(1 - (x / half) ** power, 0)
    return np.asarray(2 * depth * inside ** (1 / power), dtype=np.float32)


def _ramp(values: Floats, length: float) -> Array:
    return np.asarray(np.clip(values / length, 0, 1), dtype=np.float32)


def _rise(y: Array, low: float, high: float) -> Array:
    t = np.clip((y - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
