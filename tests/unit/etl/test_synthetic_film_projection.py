"""The projection against closed forms: line integrals, volumes and the grid's inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.synthetic_hospital.projection import FilmGeometry, FilmPoints, splat
from etl.synthetic_hospital.thorax_contents import Ellipsoid
from etl.synthetic_hospital.thorax_tubes import Tube, sample_tube


def _geometry(
    turn: float = 0.0, tilt: float = 0.0, distance: float = 1e6, size: int = 200
) -> FilmGeometry:
    return FilmGeometry(
        rows_px=size,
        columns_px=size,
        pixel_spacing_mm=0.5,
        centre_x_mm=3.0,
        centre_y_mm=-5.0,
        turn_rad=turn,
        tilt_rad=tilt,
        detector_z_mm=100.0,
        source_distance_mm=distance,
        is_source_behind=True,
    )


def _tube(radius: float, cortex: float, spongy: float) -> Tube:
    axis = np.stack([np.linspace(-70, 70, 40), np.full(40, -5.0), np.zeros(40)], axis=1)
    flat = np.full(40, radius, dtype=np.float32)
    return Tube(
        axis_mm=axis.astype(np.float32),
        half_height_mm=flat,
        half_depth_mm=flat,
        cortex_mm=np.full(40, cortex, dtype=np.float32),
        spongy_density=spongy,
    )


def test_a_tube_casts_the_shadow_of_shell_and_core() -> None:
    radius, cortex, spongy = 9.0, 1.5, 0.3
    geometry = _geometry()
    shadow = splat(
        geometry, sample_tube(_tube(radius, cortex, spongy), geometry, spacing_px=0.5).points()
    )
    profile = shadow[:, 60:140].mean(axis=1)
    across = (np.arange(200) - 99.5) * 0.5
    chord = [2 * np.sqrt(np.maximum(r**2 - across**2, 0)) for r in (radius, radius - cortex)]
    expected = chord[0] - chord[1] + spongy * chord[1]
    assert profile.sum() == pytest.approx(expected.sum(), rel=0.02)
    assert profile[99] == pytest.approx(expected[99], rel=0.25)
    assert np.argmax(profile[100:]) == pytest.approx(np.argmax(expected[100:]), abs=2)


@pytest.mark.parametrize("distance", [900.0, 1800.0])
def test_magnification_enlarges_what_is_far_from_the_detector(distance: float) -> None:
    geometry = _geometry(distance=distance)
    near, far = geometry.magnification(90.0), geometry.magnification(-90.0)
    assert 1 < float(near) < float(far)
    assert float(far) == pytest.approx(distance / (distance - 190))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-0.3, 0.3),
    st.floats(700, 2000),
    st.floats(-80, 80),
    st.integers(0, 199),
    st.integers(0, 199),
)
def test_grid_is_the_inverse_of_project(
    tilt: float, distance: float, depth: float, row: int, column: int
) -> None:
    geometry = _geometry(tilt=tilt, distance=distance)
    x, y = geometry.grid(depth)
    point = np.array([[x[row, column], y[row, column], depth]], dtype=np.float32)
    found_column, found_row, _ = geometry.project(point)
    assert found_column[0] == pytest.approx(column, abs=0.02)
    assert found_row[0] == pytest.approx(row, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(8, 190), st.floats(8, 190), st.floats(0, 9)), min_size=1, max_size=30
    )
)
def test_splat_keeps_all_that_falls_on_the_film(points: list[tuple[float, float, float]]) -> None:
    column, row, thickness = np.array(points, dtype=np.float32).T
    image = splat(_geometry(), FilmPoints(column=column, row=row, thickness_mm=thickness))
    assert float(image.sum()) == pytest.approx(float(thickness.sum()), rel=1e-3, abs=1e-3)


def test_splat_puts_a_point_at_its_pixel_and_drops_what_is_off_the_film() -> None:
    column, row = (
        np.array([50.0, -3.0, 300.0], dtype=np.float32),
        np.array([70.0, 20.0, 20.0], dtype=np.float32),
    )
    ones = np.ones(3, dtype=np.float32)
    image = splat(_geometry(), FilmPoints(column=column, row=row, thickness_mm=ones))
    rows, columns = np.indices(image.shape)
    assert float(image.sum()) == pytest.approx(1.0, rel=1e-4)
    assert float((image * rows).sum()) == pytest.approx(70.0, abs=0.26)
    assert float((image * columns).sum()) == pytest.approx(50.0, abs=0.26)


def test_an_ellipsoids_chords_add_up_to_its_volume() -> None:
    geometry = _geometry(tilt=0.2)
    ellipsoid = Ellipsoid(centre_mm=(8.0, -11.0, 4.0), semi_mm=(22.0, 15.0, 30.0), roll_rad=0.6)
    volume = float(ellipsoid.chord(geometry).sum()) * 0.5**2
    assert volume == pytest.approx(4 / 3 * np.pi * 22 * 15 * 30, rel=0.02)
