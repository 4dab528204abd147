"""Breaking a tube: gap, overlap, step-off and angulation near one place, or callus once healed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.film_request import FractureRequest
from etl.synthetic_hospital.projection import Array, Cloud
from etl.synthetic_hospital.thorax_tubes import Tube, TubeSamples

# Step-off across the shaft and gap along it (mm) for each severity: (low, high).
_STEP_MM = {"evident": (10.0, 15.0), "moderate": (6.5, 9.5), "subtle": (2.0, 3.2)}
_GAP_MM = {"evident": (4.0, 9.0), "moderate": (2.5, 5.0), "subtle": (0.8, 1.6)}
_REACH_MM = {"rib_fracture": 17.0, "clavicle_fracture": 25.0}


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
        step, gap, overlaps = 0.35 * step, 0.0, False
    return Break(
        site_mm=site_mm,
        reach_mm=_REACH_MM[request.finding],
        step_mm=(direction * step).astype(np.float32),
        gap_mm=float(-1.2 * gap if overlaps else gap),
        slant_mm=float(slant),
        slant_turn_rad=float(slant_turn),
        callus_mm=float(callus) if request.is_old else 0.0,
    )


def broken(samples: TubeSamples, tube: Tube, breaks: list[Break]) -> TubeSamples:
    """The tube's points after its breaks; points farther than a break's reach do not move."""
    positions = samples.positions_mm.copy()
    volumes = samples.volumes_mm3.copy()
    tangent, _, _ = tube.frames()
    arc = tube.arc_mm
    for one in breaks:
        near = np.flatnonzero(np.abs(samples.arc_mm - one.site_mm) < one.reach_mm)
        offset = samples.arc_mm[near] - one.site_mm
        turn = samples.turn_rad[near] - one.slant_turn_rad
        jag = one.slant_mm * np.cos(turn) + 0.8 * np.sin(5 * turn)
        fragment = np.where(offset > jag, 0.5, -0.5).astype(np.float32)
        fade = np.clip(1 - np.abs(offset) / one.reach_mm, 0, 1)
        fade = fade * fade * (3 - 2 * fade)
        along = np.stack([np.interp(samples.arc_mm[near], arc, tangent[:, i]) for i in range(3)], 1)
        shift = (fragment * fade)[:, None] * one.step_mm
        shift += (fragment * fade * np.float32(one.gap_mm))[:, None] * along
        if one.callus_mm:
            centre = np.stack(
                [np.interp(samples.arc_mm[near], arc, tube.axis_mm[:, i]) for i in range(3)], 1
            )
            swell = np.exp(-((offset / (0.35 * one.reach_mm)) ** 2))
            outwards = positions[near] - centre
            radius = np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-3)
            shift += outwards / radius * (one.callus_mm * swell)[:, None] * np.minimum(radius / 4, 1)
            volumes[near] *= (1 + 0.9 * swell).astype(np.float32)
        positions[near] += shift.astype(np.float32)
    return TubeSamples(
        positions_mm=positions,
        volumes_mm3=volumes,
        arc_mm=samples.arc_mm,
        turn_rad=samples.turn_rad,
    )


def site_points(samples: TubeSamples, site_mm: float, finding: str) -> Array:
    """The points (K, 3) of the (broken) tube that a reader would put a box around."""
    near = np.abs(samples.arc_mm - site_mm) < 0.75 * _REACH_MM[finding]
    return samples.positions_mm[near]


def haematoma(rng: np.random.Generator, one: Break, tube: Tube) -> Cloud:
    """Soft-tissue swelling at a fresh break, as points of water-equivalent volume (mm3)."""
    centre = np.array([np.interp(one.site_mm, tube.arc_mm, tube.axis_mm[:, i]) for i in range(3)])
    points = rng.normal(0, 1, (1500, 3)) * one.reach_mm * 0.32
    size = float(np.linalg.norm(one.step_mm))
    volume = np.full(1500, 550.0 * size / 1500, dtype=np.float32)
    return Cloud(positions_mm=(centre + points).astype(np.float32), volumes_mm3=volume)


def _across(tube: Tube, site_mm: float) -> Array:
    """Unit vector in the frontal film's plane across the bone where it breaks."""
    tangent, _, _ = tube.frames()
    t = np.array([np.interp(site_mm, tube.arc_mm, tangent[:, i]) for i in range(3)])
    across = np.array([t[1], -t[0], 0.0])
    if np.hypot(t[0], t[1]) < 0.3:
        across = np.array([1.0, 0.0, 0.0])
    return np.asarray(across / np.linalg.norm(across), dtype=np.float32)
