"""Puts a frontal film together: pose, bones with their breaks, organs, vessels."""

from __future__ import annotations

import cv2
import numpy as np

from etl.synthetic_hospital.appearance import BONE_PER_MM, WATER_PER_MM, Absorbers
from etl.synthetic_hospital.film_devices import chest_devices
from etl.synthetic_hospital.film_request import FilmBox, FilmRequest
from etl.synthetic_hospital.film_streams import Streams
from etl.synthetic_hospital.fracture_geometry import broken
from etl.synthetic_hospital.fracture_site import PlacedFracture, broken_tubes, place_fractures
from etl.synthetic_hospital.projection import (
    Array,
    Cloud,
    FilmGeometry,
    FilmPoints,
    projected,
    splat,
)
from etl.synthetic_hospital.thorax_bones import Bones, build_bones
from etl.synthetic_hospital.thorax_contents import draw_contents
from etl.synthetic_hospital.thorax_organs import LUNG_DENSITY, chest_organs
from etl.synthetic_hospital.thorax_shape import ThoraxShape, sample_shape
from etl.synthetic_hospital.thorax_tubes import sample_tube
from etl.synthetic_hospital.thorax_vessels import grow_vessels

_SLOW_STEP_PX = 2
_SPACING_PX = 0.95


def frontal_absorbers(
    request: FilmRequest, streams: Streams
) -> tuple[Absorbers, FilmGeometry, tuple[FilmBox, ...]]:
    """Everything that a frontal film's rays cross, the view, and the fractures' boxes."""
    is_portable = request.projection == "AP"
    shape = sample_shape(
        streams["shape"],
        sex_code=request.sex_code,
        age_years=request.age_years,
        is_supine=is_portable,
    )
    geometry = frontal_geometry(streams["pose"], request, shape)
    bones = build_bones(streams["bones"], shape, is_posteroanterior=not is_portable)
    placed = place_fractures(request.seed, request.fractures, shape, bones, geometry)
    slow_geometry = geometry.reduced(_SLOW_STEP_PX)
    sharp = BONE_PER_MM * breakable_bone(bones, placed, geometry)
    sharp += chest_devices(streams["devices"], geometry, shape, bones, is_portable=is_portable)
    sharp += WATER_PER_MM * _swellings(placed, slow_geometry, sharp.shape)
    contents = draw_contents(streams["organs"], shape)
    organs = chest_organs(slow_geometry, shape, contents)
    texture = _lung_texture(streams["texture"], organs.lung_mm.shape)
    aerated = np.clip(organs.lung_mm / 90, 0, 1)
    trees = grow_vessels(streams["vessels"], shape)
    vessels = _lung_vessels(trees, slow_geometry) * aerated
    water = vessels + organs.tissue_mm + organs.lung_mm * LUNG_DENSITY * texture
    slow = WATER_PER_MM * water + BONE_PER_MM * fixed_bone(bones, slow_geometry)
    absorbers = Absorbers(slow=slow.astype(np.float32), sharp=sharp, lung_mask=organs.lung_mm > 60)
    return absorbers, geometry, tuple(one.box for one in placed)


def frontal_geometry(
    rng: np.random.Generator, request: FilmRequest, shape: ThoraxShape
) -> FilmGeometry:
    """Draws how the patient stands or lies before the detector, and the beam."""
    is_portable = request.projection == "AP"
    field_mm = (
        float(rng.normal(390, 20)) * (0.35 + 0.65 * shape.scale) * (1.05 if is_portable else 1)
    )
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


def breakable_bone(bones: Bones, placed: list[PlacedFracture], geometry: FilmGeometry) -> Array:
    """Ribs and clavicles, each with the breaks that were placed on it, (H, W) in mm."""
    breaks = broken_tubes(placed)
    points = [
        broken(
            sample_tube(tube, geometry, spacing_px=_SPACING_PX),
            tube,
            breaks.get(id(tube), []),
            geometry,
        )
        for tube in (*bones.ribs.values(), *bones.clavicles.values())
    ]
    return splat(geometry, FilmPoints.joined(points))


def fixed_bone(bones: Bones, geometry: FilmGeometry) -> Array:
    """Shoulders, spine and sternum, (H, W) in mm."""
    points = [sample_tube(tube, geometry, spacing_px=0.9).points() for tube in bones.others]
    shoulders = cv2.GaussianBlur(splat(geometry, FilmPoints.joined(points)), (0, 0), 0.8)
    return np.asarray(shoulders + spine_bone(bones, geometry))


def spine_bone(bones: Bones, geometry: FilmGeometry) -> Array:
    """The spine, (H, W) in mm, smoothed over the gaps between its points."""
    spine = splat(geometry, projected(geometry, bones.spine))
    return np.asarray(cv2.GaussianBlur(spine, (0, 0), 1.6 / geometry.pixel_spacing_mm))


def _swellings(
    placed: list[PlacedFracture], geometry: FilmGeometry, size: tuple[int, ...]
) -> Array:
    """Soft-tissue swelling around fresh fractures, (H, W) of the full film, in mm of water."""
    clouds = [one.swelling for one in placed if one.swelling is not None]
    if not clouds:
        return np.zeros(size, dtype=np.float32)
    swelling = splat(geometry, projected(geometry, Cloud.joined(clouds)))
    swelling = np.asarray(cv2.GaussianBlur(swelling, (0, 0), 2.4 / geometry.pixel_spacing_mm))
    return np.asarray(cv2.resize(swelling, size[::-1], interpolation=cv2.INTER_CUBIC))


def _lung_vessels(trees: list[tuple[float, Cloud]], geometry: FilmGeometry) -> Array:
    """Vessels of similar radius together, blurred to their width, (H, W) in mm of water."""
    total = np.zeros((geometry.rows_px, geometry.columns_px), dtype=np.float32)
    for radius, cloud in trees:
        width = max(0.45 * radius / geometry.pixel_spacing_mm, 0.4)
        total += cv2.GaussianBlur(splat(geometry, projected(geometry, cloud)), (0, 0), width)
    return total


def _lung_texture(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Interstitial texture (H, W) around 1: a sum of noise at several scales."""
    total = np.ones(size, dtype=np.float32)
    rows, columns = size
    for step, amount in ((3, 0.035), (8, 0.05), (24, 0.06), (64, 0.08)):
        small = rng.standard_normal((rows // step + 2, columns // step + 2), dtype=np.float32)
        total += np.float32(amount) * cv2.resize(
            small, (columns, rows), interpolation=cv2.INTER_CUBIC
        )
    return np.maximum(total, 0.3)
