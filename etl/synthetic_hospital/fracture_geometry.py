"""Breaking a tube: gap, overlap, step-off and angulation near one place, or callus once healed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.film_request import FractureRequest
from etl.synthetic_hospital.projection import Array, Cloud, FilmGeometry, FilmPoints
from etl.synthetic_hospital.thorax_tubes import Tube, TubeSamples

# Step-off across the shaft and gap along it (mm) for each severity: (low, high).
_STEP_MM = {"evident": (12.0, 17.0), "moderate": (8.5, 12.0), "subtle": (2.0, 3.2)}
_GAP_MM = {"evident": (8.0, 14.0), "moderate": (5.0, 9.0), "subtle": (0.8, 1.6)}
# Volume of the swelling (mm3) for each mm of step-off.
_HAEMATOMA_MM2 = 420.0
# Extra density of the crushed ends, as a part of the bone's own.
_CRUSH = {"evident": 2.2, "moderate": 1.7, "subtle": 0.25}
_REACH_MM = {"rib_fracture": 18.0, "clavicle_fracture": 25.0}


@dataclass(frozen=True, kw_only=True)
class Break:
    """One broken place: displacements in mm, directions in the world frame.

    The two fragments part by step_mm across the shaft and gap_mm along it (negative: they
    overlap); the displacement fades within reach_mm of site_mm, so the rest of the bone stays.
    """

    site_mm: float
    reach_mm: float
    step_mm: Array
    gap_mm: float
    slant_mm: float
    slant_turn_rad: float
    callus_mm: float
    crush: float


def draw_break(
    rng: np.random.Generator, request: FractureRequest, tube: Tube, site_mm: float
) -> Break | None:
    """The break that a request stands for at one place of a tube; None when it is occult."""
    step = rng.uniform(*_STEP_MM.get(request.severity, (0.0, 0.0)))
    gap = rng.uniform(*_GAP_MM.get(request.severity, (0.0, 0.0)))
    overlaps = rng.random() < (0.5 if request.finding == "clavicle_fracture" else 0.3)
    downwards = rng.random() < 0.5
    slant, slant_turn = rng.uniform(1.0, 4.0), rng.uniform(0, 2 * np.pi)
    callus = rng.uniform(2.5, 4.0)
    if request.severity == "occult":
        return None
    direction = _across(tube, site_mm)
    if request.finding == "clavicle_fracture":
        # The neck muscle lifts the medial fragment, the arm's weight pulls the lateral one down.
        step, downwards, slant = 1.25 * step, True, 2.2 * slant
    if direction[1] < 0:
        direction = -direction
    if not downwards:
        direction = -direction
    if request.is_old:
        step, gap, overlaps = 0.5 * step, 0.0, False
    return Break(
        site_mm=site_mm,
        reach_mm=_REACH_MM[request.finding],
        step_mm=(direction * step).astype(np.float32),
        gap_mm=float(-1.2 * gap if overlaps else gap),
        slant_mm=float(slant),
        slant_turn_rad=float(slant_turn),
        callus_mm=float(callus) if request.is_old else 0.0,
        crush=0.0 if request.is_old else _CRUSH[request.severity],
    )


def broken(
    samples: TubeSamples, tube: Tube, breaks: list[Break], geometry: FilmGeometry
) -> FilmPoints:
    """The tube's points after its breaks; points farther than a break's reach do not move."""
    points = samples.points()
    if breaks:
        points = FilmPoints.joined([points])
    around = len(samples.turn_rad)
    for one in breaks:
        first, last = np.searchsorted(
            samples.arc_mm, [one.site_mm - one.reach_mm, one.site_mm + one.reach_mm]
        )
        near = slice(int(first), int(last))
        flat = slice(int(first) * around, int(last) * around)
        move_column, move_row = _moved(samples, tube, one, near, geometry)
        points.column[flat] += move_column.ravel()
        points.row[flat] += move_row.ravel()
        crushed = 1 + one.crush * np.exp(-(((samples.arc_mm[near] - one.site_mm) / 4.0) ** 2))
        points.thickness_mm[flat] *= np.repeat(crushed, around).astype(np.float32)
        if one.callus_mm:
            swell = _swelling(samples.arc_mm[near] - one.site_mm, one)
            points.thickness_mm[flat] *= np.repeat(1 + 0.9 * swell, around).astype(np.float32)
    return points


def _moved(
    samples: TubeSamples, tube: Tube, one: Break, near: slice, geometry: FilmGeometry
) -> tuple[Array, Array]:
    """Displacement in pixels, columns and rows (S, A), of the stations within a break's reach."""
    offset = (samples.arc_mm[near] - one.site_mm)[:, None]
    turn = samples.turn_rad[None, :] - one.slant_turn_rad
    jag = one.slant_mm * np.cos(turn) + 0.8 * np.sin(5 * turn)
    fragment = np.where(offset > jag, 0.5, -0.5).astype(np.float32)
    if one.callus_mm:
        # Healed fragments are one bone again: the step has become a bend.
        fragment = 0.5 * np.tanh(offset / 5.0).astype(np.float32)
    fade = np.clip(1 - np.abs(offset) / one.reach_mm, 0, 1)
    fade = fade * fade * (3 - 2 * fade)
    _, heading = tube.at(one.site_mm)
    move = (one.step_mm + np.float32(one.gap_mm) * heading)[None]
    scale = samples.pixels_per_mm[near].mean()
    column, row = geometry.directions(move, np.array([scale * geometry.pixel_spacing_mm]))[0]
    columns, rows = fragment * fade * column, fragment * fade * row
    if one.callus_mm:
        swell = one.callus_mm * _swelling(offset, one) * scale
        across = samples.column[near] - samples.axis_px[near, 0, None]
        down = samples.row[near] - samples.axis_px[near, 1, None]
        widest = np.maximum(np.hypot(across, down).max(axis=1, keepdims=True), 1.0)
        columns, rows = columns + swell * across / widest, rows + swell * down / widest
    return columns.astype(np.float32), rows.astype(np.float32)


def _swelling(offset_mm: Array, one: Break) -> Array:
    """Callus along the bone, 1 at its middle and 0 at the break's reach."""
    bump = np.exp(-((offset_mm / (0.38 * one.reach_mm)) ** 2))
    return np.asarray(np.maximum(bump - np.exp(-6.9), 0), dtype=np.float32)


def site_points(
    samples: TubeSamples,
    tube: Tube,
    geometry: FilmGeometry,
    *,
    site_mm: float,
    site: Break | None,
    finding: str,
) -> tuple[Array, Array]:
    """Columns and rows (K,) of the (broken) bone's points that a reader would box."""
    points = broken(samples, tube, [site] if site else [], geometry)
    near = np.repeat(
        np.abs(samples.arc_mm - site_mm) < 0.75 * _REACH_MM[finding], len(samples.turn_rad)
    )
    return points.column[near], points.row[near]


def haematoma(rng: np.random.Generator, one: Break, tube: Tube) -> Cloud:
    """Soft-tissue swelling at a fresh break, as points of water-equivalent volume (mm3)."""
    centre, _ = tube.at(one.site_mm)
    points = rng.normal(0, 1, (1500, 3)) * one.reach_mm * 0.32
    size = float(np.linalg.norm(one.step_mm))
    volume = np.full(1500, _HAEMATOMA_MM2 * size / 1500, dtype=np.float32)
    return Cloud(positions_mm=(centre + points).astype(np.float32), volumes_mm3=volume)


def _across(tube: Tube, site_mm: float) -> Array:
    """Unit vector in the frontal film's plane across the bone where it breaks."""
    _, t = tube.at(site_mm)
    across = np.array([t[1], -t[0], 0.0])
    if np.hypot(t[0], t[1]) < 0.3:
        across = np.array([1.0, 0.0, 0.0])
    return np.asarray(across / np.linalg.norm(across), dtype=np.float32)
