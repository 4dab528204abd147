"""Where a film's fractures lie, the boxes around them, and what fractures a patient has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.film_request import SIDES, FilmBox, FractureRequest
from etl.synthetic_hospital.fracture_geometry import Break, draw_break, haematoma, site_points
from etl.synthetic_hospital.projection import Array, Cloud, FilmGeometry
from etl.synthetic_hospital.thorax_bones import Bones, rib_angles
from etl.synthetic_hospital.thorax_shape import ThoraxShape
from etl.synthetic_hospital.thorax_tubes import Tube, sample_tube

_SEVERITY_MIX = {"evident": 0.55, "moderate": 0.30, "subtle": 0.10, "occult": 0.05}
_RIB_COUNT_MIX = (0.30, 0.26, 0.20, 0.12, 0.07, 0.05)
# Smallest box side and margin as parts of the film's width.
_SMALLEST_BOX = {"rib_fracture": 0.075, "clavicle_fracture": 0.115}
_BOX_MARGIN = 0.008


@dataclass(frozen=True, kw_only=True)
class PlacedFracture:
    """A fracture with its bone, its break (None when occult), its swelling and its box."""

    request: FractureRequest
    tube: Tube
    site: Break | None
    swelling: Cloud | None
    box: FilmBox


def sample_fractures(
    rng: np.random.Generator, *, finding: str, is_old: bool = False
) -> tuple[FractureRequest, ...]:
    """Draws one patient's fractures: one clavicle, or 1 to 6 ribs, neighbours on one side.

    The severities follow the default mix; one severity holds for most ribs of a patient.
    Raises ValueError for an unknown finding.
    """
    side = str(rng.choice(SIDES))
    severity = _drawn_severity(rng)
    if finding == "clavicle_fracture":
        one = FractureRequest(
            finding=finding, side=side, rib_number=None, severity=severity, is_old=is_old
        )
        return (one,)
    count = int(rng.choice(len(_RIB_COUNT_MIX), p=_RIB_COUNT_MIX)) + 1
    first = int(rng.integers(3, 10 - min(count, 6) + 1))
    return tuple(
        FractureRequest(
            finding=finding,
            side=side,
            rib_number=number,
            severity=severity if rng.random() < 0.7 else _drawn_severity(rng),
            is_old=is_old,
        )
        for number in range(first, first + count)
    )


def place_fractures(
    seed: int,
    requests: tuple[FractureRequest, ...],
    shape: ThoraxShape,
    bones: Bones,
    geometry: FilmGeometry,
) -> list[PlacedFracture]:
    """Gives each requested fracture its place on the bone, drawn from the seed and the bone alone.

    Neighbouring ribs of a side break along one line, as they do under one blow.
    """
    placed = []
    for request in requests:
        side_index = SIDES.index(request.side)
        line = np.random.default_rng(np.random.SeedSequence([seed, 100, side_index]))
        number = request.rib_number or 0
        own = np.random.default_rng(np.random.SeedSequence([seed, 101, side_index, number]))
        if request.finding == "clavicle_fracture":
            tube = bones.clavicles[request.side]
            site_mm = _clavicle_site(own) * float(tube.arc_mm[-1])
        else:
            tube = bones.ribs[request.side, number]
            site_mm = _rib_site(line, own, shape, tube, number)
        placed.append(_placed(own, request, tube, site_mm, geometry))
    return placed


def broken_tubes(placed: list[PlacedFracture]) -> dict[int, list[Break]]:
    """The breaks of each broken tube, by the tube's identity."""
    breaks: dict[int, list[Break]] = {}
    for one in placed:
        if one.site is not None:
            breaks.setdefault(id(one.tube), []).append(one.site)
    return breaks


def _placed(
    rng: np.random.Generator,
    request: FractureRequest,
    tube: Tube,
    site_mm: float,
    geometry: FilmGeometry,
) -> PlacedFracture:
    site = draw_break(rng, request, tube, site_mm)
    swelling = None
    if site is not None and not request.is_old:
        swelling = haematoma(rng, site, tube)
    samples = sample_tube(tube, geometry, spacing_px=2.0)
    outline = site_points(
        samples, tube, geometry, site_mm=site_mm, site=site, finding=request.finding
    )
    box = _box(request, outline, geometry)
    return PlacedFracture(request=request, tube=tube, site=site, swelling=swelling, box=box)


def _box(request: FractureRequest, outline: tuple[Array, Array], geometry: FilmGeometry) -> FilmBox:
    column, row = outline
    margin = _BOX_MARGIN * geometry.columns_px
    smallest = _SMALLEST_BOX[request.finding] * geometry.columns_px
    left, width = _side(column, margin, smallest)
    top, height = _side(row, margin, smallest)
    right, bottom = left + width, top + height
    left, top = max(left, 0.0), max(top, 0.0)
    right, bottom = min(right, float(geometry.columns_px)), min(bottom, float(geometry.rows_px))
    kept = max(right - left, 0.0) * max(bottom - top, 0.0) / (width * height)
    return FilmBox(
        finding=request.finding,
        severity=request.severity,
        is_old=request.is_old,
        is_visible=request.severity != "occult" and kept > 0.5,
        x_px=left,
        y_px=top,
        width_px=max(right - left, 0.0),
        height_px=max(bottom - top, 0.0),
    )


def _side(values: Array, margin: float, smallest: float) -> tuple[float, float]:
    # Pixel i covers i to i + 1 in a box's frame, and its centre is i in the projection's.
    low, high = float(values.min()) + 0.5 - margin, float(values.max()) + 0.5 + margin
    widen = max(smallest - (high - low), 0.0) / 2
    return low - widen, high - low + 2 * widen


def _clavicle_site(rng: np.random.Generator) -> float:
    """Part of the way along the clavicle: middle third in four of five, else lateral or medial."""
    place = rng.random()
    if place < 0.8:
        return float(rng.uniform(0.42, 0.62))
    return float(rng.uniform(0.72, 0.84) if place < 0.95 else rng.uniform(0.22, 0.32))


def _rib_site(
    line: np.random.Generator,
    own: np.random.Generator,
    shape: ThoraxShape,
    tube: Tube,
    number: int,
) -> float:
    """Length along the rib to its fracture: mostly posterolateral and lateral."""
    place = line.random()
    low, high = (32, 60) if place < 0.7 else (60, 90) if place < 0.84 else (104, 126)
    degrees = line.uniform(low, high) + own.normal(0, 5)
    angles = np.rad2deg(rib_angles(shape, number))
    degrees = float(np.clip(degrees, angles[0] + 12, angles[-1] - 14))
    return float(np.interp(degrees, angles, tube.arc_mm))


def _drawn_severity(rng: np.random.Generator) -> str:
    return str(rng.choice(list(_SEVERITY_MIX), p=list(_SEVERITY_MIX.values())))
