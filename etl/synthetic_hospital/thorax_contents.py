"""What lies inside one thorax: heart, great vessels, airways, diaphragm, breasts, haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.projection import Array, FilmGeometry
from etl.synthetic_hospital.thorax_shape import ThoraxShape


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
    """The organs that a seed draws inside one thorax; domes are (right, left) diaphragm tops.

    mediastinum holds vessels and soft tissue about the spine, hila what surrounds the hila;
    haze is consolidated lung.
    """

    heart: tuple[Ellipsoid, ...]
    mediastinum: tuple[Ellipsoid, ...]
    hila: tuple[Ellipsoid, ...]
    air: tuple[Ellipsoid, ...]
    breasts: tuple[Ellipsoid, ...]
    haze: tuple[Ellipsoid, ...]
    dome_y_mm: tuple[float, float]
    dome_height_mm: float


def draw_contents(rng: np.random.Generator, shape: ThoraxShape) -> ChestContents:
    """Draws one patient's organs; heights follow the vertebrae, the diaphragm the breath."""
    y = shape.vertebra_y_mm.astype(float)
    dome = float(y[8] + 14 + 22 * shape.inspiration + rng.normal(0, 4))
    domes = (dome, dome + float(rng.uniform(4, 16)))
    mediastinum, hila = _mediastinum(shape, domes[1])
    return ChestContents(
        heart=_heart(rng, shape, domes[1]),
        mediastinum=mediastinum,
        hila=hila,
        air=(*_airways(shape), *_bowel_gas(rng, domes[1])),
        breasts=_breasts(rng, shape),
        haze=_haze(rng, shape),
        dome_y_mm=domes,
        dome_height_mm=float(rng.uniform(38, 56)),
    )


def _heart(rng: np.random.Generator, shape: ThoraxShape, dome_y: float) -> tuple[Ellipsoid, ...]:
    """Left ventricle, right atrium and outflow tract, resting on the diaphragm."""
    width = shape.heart_width_mm
    middle = dome_y - 2 - 0.62 * width
    left = Ellipsoid(
        centre_mm=(0.46 * width, middle + 0.1 * width, 20.0),
        semi_mm=(1.1 * width, 0.7 * width, 1.15 * width),
        fullness=0.5,
        roll_rad=float(np.deg2rad(rng.uniform(28, 46) - 8 * shape.inspiration)),
    )
    right = Ellipsoid(
        centre_mm=(-0.14 * width, middle + 6, 12.0),
        semi_mm=(0.62 * width, 0.9 * width, 1.1 * width),
        fullness=0.5,
    )
    outflow = Ellipsoid(
        centre_mm=(10.0, middle - 0.6 * width, 15.0), semi_mm=(0.58 * width, 0.95 * width, 62.0)
    )
    return left, right, outflow


def _arch_y(shape: ThoraxShape) -> float:
    return float(shape.vertebra_y_mm[3]) + 16


def _mediastinum(
    shape: ThoraxShape, dome_y: float
) -> tuple[tuple[Ellipsoid, ...], tuple[Ellipsoid, ...]]:
    s, arch = shape.scale, _arch_y(shape)
    y = shape.vertebra_y_mm.astype(float)
    knob = (14 + 0.08 * max(shape.age_years - 30, 0)) * s
    middle = (
        Ellipsoid(centre_mm=(18 * s, arch, -8.0), semi_mm=(knob * 1.15, knob, 42.0)),
        Ellipsoid(centre_mm=(-1.0, y[2], -5.0), semi_mm=(34 * s, 105 * s, 75.0), fullness=0.35),
        Ellipsoid(centre_mm=(16 * s, y[8], -45.0), semi_mm=(15 * s, 150.0, 14.0)),
        Ellipsoid(centre_mm=(0.0, y[5], -45.0), semi_mm=(26 * s, 330.0, 42.0), fullness=0.6),
        Ellipsoid(centre_mm=(2.0, dome_y + 22, -15.0), semi_mm=(50 * s, 44.0, 75.0), fullness=0.8),
    )
    hila = (
        Ellipsoid(centre_mm=(22 * s, arch + 30 * s, 8.0), semi_mm=(17 * s, 18 * s, 24.0)),
        Ellipsoid(
            centre_mm=(-34 * s, arch + 36 * s, 0.0),
            semi_mm=(19 * s, 34 * s, 38.0),
            roll_rad=-0.3,
            fullness=1.2,
        ),
        Ellipsoid(
            centre_mm=(36 * s, arch + 30 * s, -4.0),
            semi_mm=(20 * s, 30 * s, 38.0),
            roll_rad=0.4,
            fullness=1.2,
        ),
    )
    return middle, hila


def _airways(shape: ThoraxShape) -> tuple[Ellipsoid, ...]:
    """Trachea and the two main bronchi."""
    s = shape.scale
    carina = _arch_y(shape) + 16 * s
    return (
        Ellipsoid(centre_mm=(-1.0, carina - 90, -8.0), semi_mm=(9.0 * s, 96.0, 11.0)),
        Ellipsoid(
            centre_mm=(-13 * s, carina + 10, -10.0), semi_mm=(6.0 * s, 22.0 * s, 6.0), roll_rad=0.7
        ),
        Ellipsoid(
            centre_mm=(17 * s, carina + 10, -10.0), semi_mm=(5.5 * s, 26.0 * s, 5.5), roll_rad=-0.95
        ),
    )


def _bowel_gas(rng: np.random.Generator, dome_y: float) -> list[Ellipsoid]:
    """The stomach's bubble under the left dome, and a few loops of bowel."""
    gas = []
    if rng.random() < 0.75:
        size = rng.uniform(14, 34)
        gas.append(
            Ellipsoid(
                centre_mm=(float(rng.uniform(50, 85)), dome_y + 10 + 0.7 * size, 10.0),
                semi_mm=(1.3 * size, 0.7 * size, 0.9 * size),
                roll_rad=float(rng.normal(0, 0.2)),
            )
        )
    for _ in range(int(rng.integers(0, 4))):
        size = rng.uniform(7, 15)
        place = (float(rng.uniform(-30, 120)), dome_y + float(rng.uniform(50, 100)), 30.0)
        gas.append(
            Ellipsoid(
                centre_mm=place,
                semi_mm=(1.5 * size, size, size),
                roll_rad=float(rng.normal(0, 0.6)),
            )
        )
    return gas


def _haze(rng: np.random.Generator, shape: ThoraxShape) -> tuple[Ellipsoid, ...]:
    """Patches of consolidation, in one film of six."""
    patches = int(rng.integers(1, 4)) if rng.random() < 0.17 else 0
    y = shape.vertebra_y_mm.astype(float)
    return tuple(
        Ellipsoid(
            centre_mm=(
                float(rng.choice([-1, 1]) * rng.uniform(45, 95)),
                float(rng.uniform(y[3], y[9])),
                float(rng.uniform(-40, 40)),
            ),
            semi_mm=(
                float(rng.uniform(18, 42)),
                float(rng.uniform(18, 42)),
                float(rng.uniform(10, 26)),
            ),
            roll_rad=float(rng.uniform(0, 3)),
            fullness=1.6,
        )
        for _ in range(patches)
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
