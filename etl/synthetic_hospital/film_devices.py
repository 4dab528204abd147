"""What else is on a film: leads, tubes, a pacemaker, side markers, nipples, companion shadows.

None of it may be taken for a fracture; all of it is drawn without looking at the fractures.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.projection import Array, FilmGeometry
from etl.synthetic_hospital.thorax_bones import Bones, smooth_curve
from etl.synthetic_hospital.thorax_shape import ThoraxShape

# Attenuation of each canvas where it is fully drawn.
_LEAD, _METAL, _WIRE, _PLASTIC, _SOFT = 4.5, 1.5, 0.5, 0.16, 0.07
_FINE_BITS = 3


class DeviceLayer:
    """Canvases of one film, one for each material, drawn in world millimetres."""

    def __init__(self, geometry: FilmGeometry) -> None:
        """An empty layer of the film's size."""
        self._geometry = geometry
        self._canvases: dict[float, npt.NDArray[np.uint8]] = {}

    def line(self, material: float, points_mm: Array, width_mm: float) -> None:
        """A smooth line through points (K, 3)."""
        curve = smooth_curve(np.asarray(points_mm, dtype=np.float64), 60)
        at = np.rint(self._fine(curve)).astype(np.int32).reshape(-1, 1, 2)
        width = max(round(width_mm / self._geometry.pixel_spacing_mm), 1)
        cv2.polylines(self._canvas(material), [at], False, 255, width, cv2.LINE_AA, _FINE_BITS)

    def disc(self, material: float, centre_mm: Array, radius_mm: float, grey: int = 255) -> None:
        """A filled disc; a lower grey punches a hole or thins it."""
        column, row = np.rint(self._fine(np.asarray([centre_mm], dtype=np.float32))[0]).astype(int)
        radius = int(radius_mm / self._geometry.pixel_spacing_mm * 2**_FINE_BITS)
        at = (int(column), int(row))
        cv2.circle(self._canvas(material), at, radius, grey, -1, cv2.LINE_AA, _FINE_BITS)

    def letters(self, text: str, column_px: int, row_px: int, size_px: float) -> None:
        """A lead marker's letters with the top-left corner at a pixel."""
        thickness = max(round(size_px / 9), 1)
        at = (column_px, row_px + round(size_px))
        canvas = self._canvas(_LEAD)
        cv2.putText(
            canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size_px / 22, 255, thickness, cv2.LINE_AA
        )

    def attenuation(self) -> Array:
        """All that was drawn, (H, W)."""
        geometry = self._geometry
        total = np.zeros((geometry.rows_px, geometry.columns_px), dtype=np.float32)
        for material, canvas in self._canvases.items():
            layer = canvas.astype(np.float32) * np.float32(material / 255)
            if material == _SOFT:
                layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), 1.2 / geometry.pixel_spacing_mm))
            total += layer
        return total

    def _canvas(self, material: float) -> npt.NDArray[np.uint8]:
        size = (self._geometry.rows_px, self._geometry.columns_px)
        return self._canvases.setdefault(material, np.zeros(size, dtype=np.uint8))

    def _fine(self, points_mm: Array) -> Array:
        column, row, _ = self._geometry.project(points_mm.astype(np.float32))
        return np.clip(np.stack([column, row], axis=-1), -4000, 8000) * np.float32(2**_FINE_BITS)


def chest_devices(
    rng: np.random.Generator,
    geometry: FilmGeometry,
    shape: ThoraxShape,
    bones: Bones,
    *,
    is_portable: bool,
) -> Array:
    """Draws a frontal chest film's devices and shadows, as attenuation (H, W)."""
    layer = DeviceLayer(geometry)
    front = float(shape.centre_z_mm[5] + shape.half_depth_mm[5]) + 12
    if rng.random() < (0.65 if is_portable else 0.12):
        _leads(rng, layer, shape, front)
    if rng.random() < (0.35 if is_portable else 0.05):
        _central_line(rng, layer, shape)
    if is_portable and rng.random() < 0.25:
        _airway_tube(rng, layer, shape)
    if is_portable and rng.random() < 0.25:
        _stomach_tube(rng, layer, shape)
    if rng.random() < 0.05:
        _pacemaker(rng, layer, shape, front)
    if rng.random() < 0.25:
        _nipples(rng, layer, shape, front)
    _companion_shadows(rng, layer, bones)
    _side_marker(rng, layer, geometry, is_portable=is_portable)
    return layer.attenuation()


def _leads(rng: np.random.Generator, layer: DeviceLayer, shape: ThoraxShape, z: float) -> None:
    y = shape.vertebra_y_mm
    spots = [(-95, y[2]), (98, y[2]), (105, y[9] + 10), (-100, y[9] + 10), (20, y[5])]
    for x, row in spots[: int(rng.integers(3, 6))]:
        centre = np.array([x + rng.normal(0, 10), float(row) + rng.normal(0, 10), z])
        layer.disc(_PLASTIC, centre, 8.0)
        layer.disc(_METAL, centre, 3.4)
        way = np.array([np.sign(x) * rng.uniform(10, 60), rng.uniform(40, 110), 0])
        if rng.random() < 0.6:
            way[1] = -way[1]
        bend = centre + 0.5 * way + rng.normal(0, 14, 3) * [1, 1, 0]
        far = centre + 2.6 * way + rng.normal(0, 25, 3) * [1, 1, 0]
        layer.line(_WIRE, np.stack([centre, bend, far]), 0.9)


def _central_line(rng: np.random.Generator, layer: DeviceLayer, shape: ThoraxShape) -> None:
    y = shape.vertebra_y_mm.astype(float)
    side = -1.0 if rng.random() < 0.75 else 1.0
    tip = [-22.0, y[6] + rng.uniform(-15, 12), 5]
    corner = [-18.0 if side < 0 else 10.0, y[2] + 8, 10]
    from_neck = rng.random() < 0.5
    entry = [side * 34, y[0] - 45, 10] if from_neck else [side * 95, y[1] + 18, 20]
    outside = [side * 60, y[0] - 110, 30] if from_neck else [side * 125, y[3] + 30, 60]
    layer.line(_WIRE, np.array([outside, entry, corner, tip]), 1.6)


def _airway_tube(rng: np.random.Generator, layer: DeviceLayer, shape: ThoraxShape) -> None:
    y = shape.vertebra_y_mm.astype(float)
    end = y[2] + rng.uniform(-5, 18)
    for x in (-5.0, 5.0):
        layer.line(
            _PLASTIC, np.array([[x + 4, end - 220, 0], [x, end - 90, -5], [x, end, -8]]), 1.2
        )
    layer.line(_WIRE, np.array([[8.0, end - 220, 0], [4.0, end - 90, -5], [4.0, end, -8]]), 0.9)


def _stomach_tube(rng: np.random.Generator, layer: DeviceLayer, shape: ThoraxShape) -> None:
    y = shape.vertebra_y_mm.astype(float)
    knots = [[3.0, y[0] - 120, -20], [2.0, y[4], -25], [8.0, y[8], -20]]
    knots += [[22.0, y[10], 0], [58 + rng.uniform(0, 30), y[11] + 20, 20]]
    layer.line(_WIRE, np.array(knots), 1.8)


def _pacemaker(rng: np.random.Generator, layer: DeviceLayer, shape: ThoraxShape, z: float) -> None:
    y = shape.vertebra_y_mm.astype(float)
    centre = np.array([104.0 + rng.normal(0, 6), y[2] + 14, z])
    for dx in (-9.0, 9.0):
        layer.disc(_METAL, centre + np.array([dx, 0, 0]), 17.0)
    layer.disc(_METAL, centre + np.array([0, -13, 0]), 11.0)
    for tip in ([18.0, y[8] + 12, 25.0], [-24.0, y[7], 20.0]):
        knots = [centre, [70.0, y[1] + 12, 30], [10.0, y[2] + 10, 10], [-20.0, y[5], 5], tip]
        layer.line(_WIRE, np.array(knots), 1.5)


def _nipples(rng: np.random.Generator, layer: DeviceLayer, shape: ThoraxShape, z: float) -> None:
    row = float(shape.vertebra_y_mm[8]) + rng.normal(0, 8)
    for sign in (-1.0, 1.0):
        if rng.random() < 0.75:
            x = sign * (88 + rng.normal(0, 6)) * shape.scale
            layer.disc(_SOFT, np.array([x, row + rng.normal(0, 4), z]), rng.uniform(4, 6))


def _companion_shadows(rng: np.random.Generator, layer: DeviceLayer, bones: Bones) -> None:
    """Skin over the clavicle and fat under the upper ribs: thin soft lines beside the bone."""
    for clavicle in bones.clavicles.values():
        axis = clavicle.axis_mm[10:62:8] - np.array([0, 11.0, 0], dtype=np.float32)
        if rng.random() < 0.6:
            layer.line(_SOFT, axis, 3.5)
    for (_, number), rib in bones.ribs.items():
        if number in (1, 2) and rng.random() < 0.5:
            layer.line(_SOFT, rib.axis_mm[8:60:8] + np.array([0, 8.0, 0], dtype=np.float32), 2.0)


def _side_marker(
    rng: np.random.Generator, layer: DeviceLayer, geometry: FilmGeometry, *, is_portable: bool
) -> None:
    size = geometry.columns_px * rng.uniform(0.028, 0.045)
    is_left = rng.random() < 0.7
    column = rng.uniform(0.86, 0.93) if is_left else rng.uniform(0.03, 0.09)
    row = rng.uniform(0.03, 0.16)
    layer.letters(
        "L" if is_left else "R",
        int(column * geometry.columns_px),
        int(row * geometry.rows_px),
        size,
    )
    if is_portable and rng.random() < 0.6:
        at = int(rng.uniform(0.08, 0.15) * geometry.columns_px)
        layer.letters("PORTABLE", at, int(0.08 * geometry.rows_px), 0.45 * size)


def plain_marker(rng: np.random.Generator, geometry: FilmGeometry) -> Array:
    """A side marker alone, as attenuation (H, W): for views other than the frontal chest."""
    layer = DeviceLayer(geometry)
    _side_marker(rng, layer, geometry, is_portable=False)
    return layer.attenuation()
