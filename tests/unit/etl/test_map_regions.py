"""Boxes from maps, and their way back to the source film."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from etl.films.film_pixels import square_film
from etl.results.map_regions import (
    MIN_REGION_PX,
    MapGeometry,
    find_regions,
    is_reached,
    threshold_level,
)
from warehouse_schema.film_scores import SCORE_MAX


def random_map(seed: int, size: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((size, size)), 2.5)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.round(smooth * SCORE_MAX).astype(np.uint16)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("min_region_px", [1, MIN_REGION_PX])
def test_regions_equal_those_of_a_plain_labelling(seed: int, min_region_px: int) -> None:
    score_map, threshold = random_map(seed), 0.6
    labels, n_labels = ndimage.label(score_map >= round(0.6 * SCORE_MAX), np.ones((3, 3)))
    expected = set()
    for label in range(1, n_labels + 1):
        rows, columns = np.nonzero(labels == label)
        if len(rows) >= min_region_px:
            peak = score_map[rows, columns].max() / SCORE_MAX
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            expected.add((*map(int, box), len(rows), float(peak)))
    found = find_regions(score_map, threshold=threshold, min_region_px=min_region_px)
    assert {
        (r.x_min_px, r.y_min_px, r.x_max_px, r.y_max_px, r.n_px, r.score) for r in found
    } == expected
    assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)
    for region in found:
        column, row = int(region.peak_x_px), int(region.peak_y_px)
        assert score_map[row, column] / SCORE_MAX == region.score


@pytest.mark.parametrize(
    ("pixels", "threshold", "n_regions"),
    [
        ([(r, c) for r in range(4) for c in range(4)], 0.5, 1),
        ([(r, c) for r in range(4) for c in range(4)][:-1], 0.5, 0),
        # Two squares that touch at a corner are one region.
        ([(r, c) for d in (0, 4) for r in range(d, d + 4) for c in range(d, d + 4)], 0.5, 1),
        ([(r, c) for d in (0, 5) for r in range(d, d + 4) for c in range(d, d + 4)], 0.5, 2),
        ([(r, c) for r in range(4) for c in range(4)], 0.500001, 1),
        ([(r, c) for r in range(4) for c in range(4)], 0.51, 0),
        # A threshold above every score, as evaluation stores it.
        ([(r, c) for r in range(4) for c in range(4)], 65536 / 65535, 0),
    ],
)
def test_the_rule(pixels: list[tuple[int, int]], threshold: float, n_regions: int) -> None:
    score_map = np.zeros((16, 16), dtype=np.uint16)
    for pixel in pixels:
        score_map[pixel] = 32768
    assert len(find_regions(score_map, threshold=threshold)) == n_regions


def test_a_threshold_of_zero_marks_no_padding() -> None:
    assert find_regions(np.zeros((16, 16), dtype=np.uint16), threshold=0.0) == []


@pytest.mark.parametrize("level", [0, 1, 14617, 65535, 65536])
def test_a_stored_threshold_is_its_16_bit_level(level: int) -> None:
    assert threshold_level(level / SCORE_MAX) == level
    assert is_reached(min(level, SCORE_MAX) / SCORE_MAX, level / SCORE_MAX) is (level <= SCORE_MAX)
    assert level == 0 or not is_reached((level - 1) / SCORE_MAX, level / SCORE_MAX)


SHAPES = [(2022, 1531), (1531, 2022), (160, 131), (1841, 1955), (257, 256), (3001, 1001)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size_px", "map_size_px"), [(1024, 1024), (1024, 256), (256, 64)])
def test_a_point_comes_back_from_the_map(
    shape: tuple[int, int], size_px: int, map_size_px: int
) -> None:
    rows, columns = shape
    _, film = square_film(np.zeros(shape, dtype=np.uint8), size_px)
    geometry = MapGeometry(film=film, map_size_px=map_size_px, rows_px=rows, columns_px=columns)
    rng = np.random.default_rng(rows)
    for x, y in rng.random((50, 2)) * (columns, rows):
        assert geometry.to_source(*geometry.to_map(x, y)) == pytest.approx((x, y), abs=1e-9)
    factor = map_size_px / size_px
    # Edges of the film lie on the edges of the unpadded part, to the rounding of its size.
    left, top = geometry.to_map(0, 0)
    right, bottom = geometry.to_map(columns, rows)
    assert (left / factor, top / factor) == (film.pad_left_px, film.pad_top_px)
    assert right / factor == pytest.approx(film.pad_left_px + film.valid_width_px, abs=0.5)
    assert bottom / factor == pytest.approx(film.pad_top_px + film.valid_height_px, abs=0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bright_square_on_the_film_is_boxed_where_it_is(shape: tuple[int, int]) -> None:
    """The pixels themselves go through ingest's transform; the box must lie around the square."""
    rows, columns = shape
    grey = np.zeros(shape, dtype=np.uint8)
    side = max(shape) // 12
    top, left = rows // 3, columns // 5
    grey[top : top + side, left : left + side] = 255
    square, film = square_film(grey, 256)
    geometry = MapGeometry(film=film, map_size_px=256, rows_px=rows, columns_px=columns)
    (region,) = find_regions(square.astype(np.uint16) * 257, threshold=0.5)
    box = geometry.source_region("rib_fracture", region)
    one_pixel = 1.0 / film.scale
    assert box.x_px == pytest.approx(left, abs=one_pixel)
    assert box.y_px == pytest.approx(top, abs=one_pixel)
    assert box.x_px + box.width_px == pytest.approx(left + side, abs=one_pixel)
    assert box.y_px + box.height_px == pytest.approx(top + side, abs=one_pixel)
    assert left - 1 <= box.peak_x_px <= left + side + 1


def test_a_region_on_the_edge_is_clipped_to_the_film() -> None:
    _, film = square_film(np.zeros((300, 201), dtype=np.uint8), 256)
    geometry = MapGeometry(film=film, map_size_px=64, rows_px=300, columns_px=201)
    (region,) = find_regions(np.full((64, 64), SCORE_MAX, dtype=np.uint16), threshold=0.5)
    box = geometry.source_region("rib_fracture", region)
    assert (box.x_px, box.y_px, box.width_px, box.height_px) == (0.0, 0.0, 201.0, 300.0)
