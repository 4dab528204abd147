"""A lateral chest and a frontal abdomen: films that a frontal-chest cohort must leave out."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from etl.synthetic_hospital.appearance import BONE_PER_MM, WATER_PER_MM, Absorbers
from etl.synthetic_hospital.film_anatomy import (
    breakable_bone,
    fixed_bone,
    frontal_geometry,
    spine_bone,
)
from etl.synthetic_hospital.film_devices import plain_marker
from etl.synthetic_hospital.film_request import FilmRequest
from etl.synthetic_hospital.film_streams import Streams
from etl.synthetic_hospital.projection import Array, FilmGeometry, FilmPoints, splat
from etl.synthetic_hospital.thorax_bones import build_bones, plain_tube
from etl.synthetic_hospital.thorax_contents import Ellipsoid, draw_contents
from etl.synthetic_hospital.thorax_organs import LUNG_DENSITY
from etl.synthetic_hospital.thorax_shape import ThoraxShape, sample_shape
from etl.synthetic_hospital.thorax_tubes import Tube, sample_tube

_SLOW_STEP_PX = 2


def lateral_absorbers(request: FilmRequest, streams: Streams) -> tuple[Absorbers, FilmGeometry]:
    """A lateral chest, arms raised, front to the film's right."""
    shape = _shape(request, streams)
    frontal = frontal_geometry(streams["pose"], request, shape)
    geometry = replace(frontal, turn_rad=np.pi / 2 + frontal.turn_rad, detector_z_mm=220.0)
    bones = build_bones(streams["bones"], shape, is_posteroanterior=True)
    # The raised arms are out of the beam; the blades stay.
    bones = replace(
        bones, others=tuple(tube for tube in bones.others if not _is_arm(tube, shape)), clavicles={}
    )
    slow_geometry = geometry.reduced(_SLOW_STEP_PX)
    lung, tissue = _lateral_organs(streams, shape, replace(slow_geometry, turn_rad=0.0))
    bone = fixed_bone(bones, slow_geometry)
    slow = WATER_PER_MM * 0.8 * (tissue + LUNG_DENSITY * lung) + BONE_PER_MM * bone
    sharp = BONE_PER_MM * breakable_bone(bones, [], geometry)
    sharp += plain_marker(streams["marker"], geometry)
    return Absorbers(slow=slow.astype(np.float32), sharp=sharp, lung_mask=lung > 90), geometry


def abdomen_absorbers(request: FilmRequest, streams: Streams) -> tuple[Absorbers, FilmGeometry]:
    """A frontal abdomen with lumbar spine, pelvis, hips and bowel gas."""
    shape = _shape(request, streams)
    frontal = frontal_geometry(streams["pose"], request, shape)
    pelvis_y = float(shape.vertebra_y_mm[-1]) + 150 * shape.scale
    geometry = replace(frontal, centre_y_mm=pelvis_y - 10)
    bones = build_bones(streams["bones"], shape, is_posteroanterior=True)
    slow_geometry = geometry.reduced(_SLOW_STEP_PX)
    pelvis = [
        sample_tube(tube, slow_geometry, spacing_px=0.8).points()
        for tube in _pelvis(shape, pelvis_y)
    ]
    bone = splat(slow_geometry, FilmPoints.joined(pelvis)) + spine_bone(bones, slow_geometry)
    tissue = _abdomen_tissue(streams, shape, slow_geometry, pelvis_y)
    slow = WATER_PER_MM * tissue + BONE_PER_MM * bone
    sharp = BONE_PER_MM * breakable_bone(bones, [], geometry)
    sharp += plain_marker(streams["marker"], geometry)
    nothing = np.zeros(slow.shape, dtype=bool)
    return Absorbers(slow=slow.astype(np.float32), sharp=sharp, lung_mask=nothing), geometry


def _shape(request: FilmRequest, streams: Streams) -> ThoraxShape:
    return sample_shape(
        streams["shape"], sex_code=request.sex_code, age_years=request.age_years, is_supine=False
    )


def _is_arm(tube: Tube, shape: ThoraxShape) -> bool:
    return bool(np.abs(tube.axis_mm[:, 0]).min() > 176 * shape.scale)


def _lateral_organs(
    streams: Streams, shape: ThoraxShape, geometry: FilmGeometry
) -> tuple[Array, Array]:
    """Lung and other tissue (H, W) in mm; the grid's x is the patient's z."""
    z, y = geometry.grid(0.0)
    contents = draw_contents(streams["organs"], shape)
    rise = shape.vertebra_y_mm + 6
    front_y = rise + shape.slope * 2 * shape.half_depth_mm
    front = np.interp(y, front_y, shape.back_z_mm + 2 * shape.half_depth_mm - 6)
    front = front - np.clip(float(front_y[0]) - y, 0, 80) * 1.1
    back = np.interp(y, rise, shape.back_z_mm + 6)
    middle, depth = (front + back) / 2, np.maximum((front - back) / 2, 1)
    half = np.interp(y, rise, shape.half_width_mm) * np.clip((y + 4) / 60, 0, 1) ** 0.5
    ratio = np.clip(1 - ((z - middle) / depth) ** 2, 0, 1) ** 0.5
    lung = np.maximum(2 * half * ratio - 50, 0)
    for dome in contents.dome_y_mm:
        edge = dome + contents.dome_height_mm * ((z - 14) / 82) ** 2
        lung = lung * (0.5 + 0.5 * np.clip((edge - y) / 4, 0, 1))
    lowest = np.maximum(*contents.dome_y_mm) + contents.dome_height_mm * ((z - 14) / 82) ** 2
    lung = lung * np.clip((lowest - y) / 4, 0, 1)
    heart_y = contents.heart[0].centre_mm[1]
    width = shape.heart_width_mm
    heart = Ellipsoid(
        centre_mm=(28.0, heart_y, 0.0),
        semi_mm=(0.85 * width, 0.9 * width, 0.9 * width),
        roll_rad=-0.5,
    ).chord(geometry)
    wall = 22 + 0.7 * shape.fat_mm
    outline = np.clip(1 - (np.abs(z - middle - 2) / (depth + wall)) ** 2.6, 0, 1) ** 0.4
    body = (2 * half + 60 + shape.fat_mm) * outline
    neck = np.clip(1 - (np.abs(z + 45) / 60) ** 2, 0, 1) ** 0.5 * 120 * np.clip((40 - y) / 40, 0, 1)
    body = np.maximum(body * np.clip((y + 45) / 50, 0, 1), neck)
    lung = np.maximum(np.minimum(lung - heart, body - 30), 0)
    return lung.astype(np.float32), np.maximum(body - lung, 0).astype(np.float32)


def _abdomen_tissue(
    streams: Streams, shape: ThoraxShape, geometry: FilmGeometry, pelvis_y: float
) -> Array:
    x, y = geometry.grid(0.0)
    rng = streams["organs"]
    waist = 1 - 0.08 * np.exp(-(((y - pelvis_y + 90) / 70) ** 2))
    half = (158 * shape.scale + 0.9 * shape.fat_mm) * waist
    inside = np.clip(1 - (np.abs(x) / half) ** 2.4, 0, 1) ** (1 / 2.4)
    tissue = 2 * (96 + 0.8 * shape.fat_mm) * inside
    for _ in range(int(rng.integers(9, 20))):
        size = rng.uniform(7, 19)
        place = (float(rng.normal(0, 85)), pelvis_y + float(rng.uniform(-170, 40)), 30.0)
        gas = Ellipsoid(
            centre_mm=place,
            semi_mm=(1.4 * size, size, 0.9 * size),
            roll_rad=float(rng.normal(0, 0.7)),
        )
        tissue = tissue - gas.chord(geometry)
    grain = rng.standard_normal((geometry.rows_px // 12 + 2, geometry.columns_px // 12 + 2))
    grain = np.asarray(
        cv2.resize(grain.astype(np.float32), (geometry.columns_px, geometry.rows_px))
    )
    return np.asarray(np.maximum(tissue * (1 + 0.008 * grain), 0), dtype=np.float32)


def _pelvis(shape: ThoraxShape, y: float) -> list[Tube]:
    s = shape.scale
    tubes = []
    for sign in (-1.0, 1.0):

        def at(*knots: tuple[float, float], sign: float = sign) -> Array:
            return np.array([(sign * a * s, y + b * s, -30.0) for a, b in knots], dtype=np.float32)

        tubes += [
            plain_tube(
                at((42, 0), (92, -38), (140, -8), (132, 42)),
                [7, 8, 8, 7],
                [9, 9, 9, 8],
                1.8,
                spongy=0.2,
            ),
            plain_tube(
                at((80, 5), (108, 20), (100, 70)), [28, 24, 16], [4, 4, 10], 1.0, spongy=0.15
            ),
            plain_tube(at((40, 18), (62, 60), (92, 92)), [9, 10, 12], [9, 10, 12], 1.8, spongy=0.2),
            plain_tube(at((98, 92), (50, 108), (6, 124)), [10, 7, 10], [10, 7, 8], 1.4, spongy=0.2),
            plain_tube(at((88, 120), (62, 150), (10, 132)), [10, 7, 6], [9, 7, 6], 1.4, spongy=0.2),
            plain_tube(
                at((98, 78), (102, 98), (108, 116)), [18, 23, 18], [18, 23, 18], 1.2, spongy=0.16
            ),
            plain_tube(
                at((105, 98), (134, 122), (146, 240)), [18, 17, 14], [18, 17, 14], 3.0, spongy=0.2
            ),
            plain_tube(
                at((152, 92), (148, 124), (146, 160)), [9, 13, 13], [9, 13, 12], 1.5, spongy=0.2
            ),
        ]
    sacrum = np.array([(0, y - 12 * s, -70), (0, y + 30 * s, -95), (0, y + 95 * s, -80)])
    tubes.append(plain_tube(sacrum, [46 * s, 34 * s, 10], [14, 12, 6], 1.2, spongy=0.2))
    return tubes
