"""Renders one synthetic film from a request: the door to the image half of the hospital."""

from __future__ import annotations

import cv2
import numpy as np

from etl.synthetic_hospital.appearance import (
    BONE_PER_MM,
    MAXIMUM_GREY,
    WATER_PER_MM,
    Absorbers,
    expose,
    sample_exposure,
)
from etl.synthetic_hospital.film_request import (
    Film,
    FilmBox,
    FilmRequest,
    FractureRequest,
)
from etl.synthetic_hospital.fracture_geometry import broken
from etl.synthetic_hospital.fracture_site import (
    PlacedFracture,
    broken_tubes,
    place_fractures,
    sample_fractures,
)
from etl.synthetic_hospital.projection import Array, Cloud, FilmGeometry, splat
from etl.synthetic_hospital.thorax_bones import Bones, build_bones
from etl.synthetic_hospital.thorax_organs import LUNG_DENSITY, chest_organs, draw_contents
from etl.synthetic_hospital.thorax_shape import ThoraxShape, sample_shape
from etl.synthetic_hospital.thorax_tubes import sample_tube
from etl.synthetic_hospital.thorax_vessels import grow_vessels

__all__ = ["Film", "FilmBox", "FilmRequest", "FractureRequest", "render_film", "sample_fractures"]

_STREAMS = ("shape", "pose", "bones", "organs", "vessels", "texture", "exposure", "noise", "devices", "fractures")
_SLOW_STEP_PX = 2


def render_film(request: FilmRequest) -> Film:
    """The film of a request; the same request gives the same bits.

    Every part of the film draws from a random stream of its own, so that a fracture changes
    the bone where it is and nothing else.
    """
    rngs = {
        name: np.random.default_rng(np.random.SeedSequence([request.seed, index]))
        for index, name in enumerate(_STREAMS)
    }
    is_portable = request.projection == "AP"
    shape = sample_shape(
        rngs["shape"], sex_code=request.sex_code, age_years=request.age_years, is_supine=is_portable
    )
    geometry = _geometry(rngs["pose"], request, shape)
    bones = build_bones(rngs["bones"], shape, is_posteroanterior=not is_portable)
    placed = place_fractures(request.seed, request.fractures, shape, bones, geometry)
    spacing = geometry.pixel_spacing_mm * 0.95
    clouds = [sample_tube(tube, spacing_mm=spacing).cloud() for tube in bones.others]
    clouds += _breakable_clouds(bones, placed, spacing)
    bone = splat(geometry, Cloud.joined(clouds))
    contents = draw_contents(rngs["organs"], shape)
    organs = chest_organs(geometry, shape, contents, _SLOW_STEP_PX)
    texture = _lung_texture(rngs["texture"], organs.lung_mm.shape)
    water = organs.tissue_mm + organs.lung_mm * LUNG_DENSITY * texture
    sharp = BONE_PER_MM * bone
    for radius, cloud in grow_vessels(rngs["vessels"], shape):
        width = max(0.45 * radius / geometry.pixel_spacing_mm, 0.4)
        sharp += WATER_PER_MM * cv2.GaussianBlur(splat(geometry, cloud), (0, 0), width)
    for one in placed:
        if one.swelling is not None:
            sharp += WATER_PER_MM * cv2.GaussianBlur(splat(geometry, one.swelling), (0, 0), 2.5)
    absorbers = Absorbers(
        slow=(WATER_PER_MM * water).astype(np.float32),
        sharp=sharp.astype(np.float32),
        lung_mask=organs.lung_mm > 60,
    )
    exposure = sample_exposure(rngs["exposure"], is_portable=is_portable)
    grey = expose(rngs["noise"], absorbers, exposure)
    return Film(
        pixels=np.rint(grey * MAXIMUM_GREY).astype(np.uint16),
        boxes=tuple(one.box for one in placed),
        pixel_spacing_mm=geometry.pixel_spacing_mm,
    )


def _geometry(rng: np.random.Generator, request: FilmRequest, shape: ThoraxShape) -> FilmGeometry:
    is_portable = request.projection == "AP"
    field_mm = float(rng.normal(405, 14)) * (0.35 + 0.65 * shape.scale) * (1.05 if is_portable else 1)
    return FilmGeometry(
        rows_px=request.rows_px,
        columns_px=request.columns_px,
        pixel_spacing_mm=field_mm / float(np.sqrt(request.rows_px * request.columns_px)),
        centre_x_mm=float(rng.normal(0, 9 if is_portable else 5)),
        centre_y_mm=float(shape.vertebra_y_mm[5]) + float(rng.normal(14, 10 if is_portable else 7)),
        turn_rad=float(np.deg2rad(rng.normal(0, 5 if is_portable else 2))),
        tilt_rad=float(np.deg2rad(rng.normal(0, 3 if is_portable else 1.2))),
        detector_z_mm=150.0,
        source_distance_mm=float(rng.uniform(1000, 1300)) if is_portable else 1800.0,
        is_source_behind=not is_portable,
    )


def _breakable_clouds(bones: Bones, placed: list[PlacedFracture], spacing: float) -> list[Cloud]:
    """Ribs and clavicles, each with the breaks that were placed on it."""
    breaks = broken_tubes(placed)
    clouds = []
    for tube in (*bones.ribs.values(), *bones.clavicles.values()):
        samples = sample_tube(tube, spacing_mm=spacing)
        clouds.append(broken(samples, tube, breaks.get(id(tube), [])).cloud())
    return clouds


def _lung_texture(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Interstitial texture (H, W) around 1: a sum of noise at several scales."""
    total = np.ones(shape, dtype=np.float32)
    rows, columns = shape
    for step, amount in ((3, 0.035), (8, 0.05), (24, 0.06), (64, 0.08)):
        small = rng.standard_normal((rows // step + 2, columns // step + 2), dtype=np.float32)
        total += np.float32(amount) * cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.maximum(total, 0.3)

