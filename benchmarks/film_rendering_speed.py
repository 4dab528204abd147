"""How fast synthetic films are rendered, against a plain ray-sum through a voxel grid.

The baseline fills the same ribs, clavicles, lungs and trunk into slices of a voxel grid, enlarges
each slice by its own magnification and adds them up: the textbook way to the same line integrals.
Both make line integrals of one 512 x 512 film in one thread; the renderer's time also holds
vessels, devices, scatter, noise and the display curve, the baseline's does not.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from etl.synthetic_hospital.film import FilmRequest, render_film, sample_fractures
from etl.synthetic_hospital.film_anatomy import breakable_bone, frontal_geometry
from etl.synthetic_hospital.projection import FilmGeometry
from etl.synthetic_hospital.thorax_bones import Bones, build_bones
from etl.synthetic_hospital.thorax_contents import draw_contents
from etl.synthetic_hospital.thorax_organs import body_chord, lung_chord
from etl.synthetic_hospital.thorax_shape import sample_shape
from etl.synthetic_hospital.thorax_tubes import Tube

_SIZE_PX = 512
_SLICES = 160
_SLICE_MM = 1.6


def main() -> None:
    """Measures and prints; --json prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--films", type=int, default=24, help="films to render (default 24)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    figures = measure(arguments.films)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:44} {value}")


def measure(films: int) -> dict[str, float]:
    """Processor seconds a film (median) of the renderer and of the voxel baseline."""
    _rendered(0)
    seconds = [_timed(lambda seed=seed: _rendered(seed)) for seed in range(films)]
    whole = float(np.median(seconds))
    geometry, bones, tissue = _scene(1)
    ours = float(np.median([_timed(lambda: breakable_bone(bones, [], geometry)) for _ in range(5)]))
    voxel = _timed(lambda: _voxel_ray_sum(geometry, bones, tissue))
    exact, baseline = breakable_bone(bones, [], geometry), _voxel_ray_sum(geometry, bones, [])
    smooth = [cv2.GaussianBlur(image, (0, 0), 2.0).ravel() for image in (exact, baseline)]
    return {
        "films": films,
        "size_px": _SIZE_PX,
        "seconds_per_film": round(whole, 4),
        "films_per_second_and_core": round(1 / whole, 2),
        "rib_line_integral_seconds": round(ours, 4),
        "voxel_line_integral_seconds": round(voxel, 4),
        "whole_film_speedup_over_voxel_line_integrals": round(voxel / whole, 1),
        "rib_line_integral_speedup": round(voxel / ours, 1),
        "rib_line_integral_correlation": round(float(np.corrcoef(smooth[0], smooth[1])[0, 1]), 4),
    }


def _timed(work: object) -> float:
    assert callable(work)
    start = time.process_time()
    work()
    return time.process_time() - start


def _rendered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    render_film(
        FilmRequest(
            seed=seed,
            sex_code="FM"[seed % 2],
            age_years=25 + 3 * (seed % 20),
            projection=("PA", "AP")[seed % 2],
            rows_px=_SIZE_PX,
            columns_px=_SIZE_PX,
            fractures=sample_fractures(rng, finding="rib_fracture") if seed % 3 == 0 else (),
        )
    )


def _scene(seed: int) -> tuple[FilmGeometry, Bones, list[npt.NDArray[np.float32]]]:
    rng = np.random.default_rng(seed)
    request = FilmRequest(
        seed=seed,
        sex_code="M",
        age_years=45,
        projection="PA",
        rows_px=_SIZE_PX,
        columns_px=_SIZE_PX,
    )
    shape = sample_shape(rng, sex_code="M", age_years=45, is_supine=False)
    # The voxel grid is upright and faces the film.
    geometry = replace(frontal_geometry(rng, request, shape), turn_rad=0.0, tilt_rad=0.0)
    contents = draw_contents(rng, shape)
    lungs = [lung_chord(geometry, shape, contents, sign) for sign in (-1.0, 1.0)]
    return (
        geometry,
        build_bones(rng, shape, is_posteroanterior=True),
        [
            body_chord(geometry, shape),
            lungs[0] + lungs[1],
        ],
    )


def _voxel_ray_sum(
    geometry: FilmGeometry, bones: Bones, tissue: list[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """Line integrals (H, W) slice by slice; each slice is a grid of voxels as wide as a pixel."""
    volume = np.zeros((_SLICES, _SIZE_PX, _SIZE_PX), dtype=np.float32)
    for tube in (*bones.ribs.values(), *bones.clavicles.values()):
        _fill(volume, tube, geometry)
    total = np.zeros((_SIZE_PX, _SIZE_PX), dtype=np.float32)
    for index in range(_SLICES):
        depth = (index - _SLICES / 2) * _SLICE_MM
        layer = volume[index]
        for thickness, weight in zip(tissue, (0.4, -0.3), strict=False):
            layer = layer + np.float32(weight) * (np.abs(depth) < thickness / 2)
        scale = float(geometry.magnification(depth))
        middle = (_SIZE_PX - 1) / 2 * (1 - scale)
        matrix = np.array([[scale, 0, middle], [0, scale, middle]])
        total += cv2.warpAffine(layer, matrix, (_SIZE_PX, _SIZE_PX)) * np.float32(_SLICE_MM)
    return total


def _fill(volume: npt.NDArray[np.float32], tube: Tube, geometry: FilmGeometry) -> None:
    """Sets every voxel inside a tube to shell or core density, station by station."""
    pitch = geometry.pixel_spacing_mm
    _, height, depth = tube.frames()
    arc = tube.arc_mm
    stations = np.linspace(0, float(arc[-1]), int(float(arc[-1]) / (0.7 * pitch)))
    reach = (
        int(np.ceil(float(max(tube.half_height_mm.max(), tube.half_depth_mm.max())) / pitch)) + 1
    )
    deep = int(np.ceil(reach * pitch / _SLICE_MM)) + 1
    offsets = np.stack(
        np.meshgrid(
            np.arange(-deep, deep + 1),
            np.arange(-reach, reach + 1),
            np.arange(-reach, reach + 1),
            indexing="ij",
        ),
        axis=-1,
    ).reshape(-1, 3)
    millimetres = offsets[:, ::-1] * np.array([pitch, pitch, _SLICE_MM])
    for at in stations:
        i = min(int(np.searchsorted(arc, at)), len(arc) - 1)
        centre = np.array([np.interp(at, arc, tube.axis_mm[:, k]) for k in range(3)])
        a = millimetres @ height[i] / tube.half_height_mm[i]
        b = millimetres @ depth[i] / tube.half_depth_mm[i]
        along = np.abs(millimetres @ np.cross(height[i], depth[i])) < pitch
        ratio = np.sqrt(a * a + b * b)
        inner = 1 - tube.cortex_mm[i] / min(tube.half_height_mm[i], tube.half_depth_mm[i])
        inside = (ratio <= 1) & along
        column = (centre[0] - geometry.centre_x_mm) / pitch + (_SIZE_PX - 1) / 2
        row = (centre[1] - geometry.centre_y_mm) / pitch + (_SIZE_PX - 1) / 2
        place = np.rint([centre[2] / _SLICE_MM + _SLICES / 2, row, column]).astype(int) + offsets
        kept = inside & (place >= 0).all(axis=1) & (place < volume.shape).all(axis=1)
        z, y, x = place[kept].T
        value = np.where(ratio[kept] > inner, 1.0, tube.spongy_density)
        volume[z, y, x] = np.maximum(volume[z, y, x], value)


if __name__ == "__main__":
    main()
