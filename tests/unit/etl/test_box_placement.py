"""Boxes drawn on resized, turned and mirrored copies come back to the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from etl.annotations.box_formats.shapes import hull_of_rotated
from etl.annotations.box_formats.source_box import SourceBox, SourceImage
from etl.annotations.box_placement import Placement, place_box

EXIF_ORIENTATION = 0x0112
ORIENTATIONS = st.integers(1, 8)


@settings(max_examples=60, deadline=None)
@given(
    orientation=ORIENTATIONS,
    edges=st.tuples(
        st.lists(st.integers(0, 40), min_size=2, max_size=2, unique=True).map(sorted),
        st.lists(st.integers(0, 30), min_size=2, max_size=2, unique=True).map(sorted),
    ),
)
def test_a_box_around_what_pillow_shows_comes_back(
    orientation: int, edges: tuple[list[int], list[int]]
) -> None:
    (left, right), (top, bottom) = edges
    stored = np.zeros((30, 40), np.uint8)
    stored[top:bottom, left:right] = 255
    picture = Image.fromarray(stored)
    picture.getexif()[EXIF_ORIENTATION] = orientation
    shown = np.asarray(ImageOps.exif_transpose(picture)) > 0
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    box = SourceBox(
        key="b",
        image=SourceImage(
            width_px=shown.shape[1], height_px=shown.shape[0], orientation=orientation
        ),
        box=(
            float(columns[0]),
            float(rows[0]),
            float(columns[-1] - columns[0] + 1),
            float(rows[-1] - rows[0] + 1),
        ),
    )
    placed = place_box(box, {"columns_px": 40, "rows_px": 30})
    assert isinstance(placed, Placement)
    assert placed.box_px == (left, top, right - left, bottom - top)
    assert not placed.is_clipped


@settings(max_examples=60, deadline=None)
@given(
    orientation=ORIENTATIONS,
    size=st.tuples(st.integers(500, 4000), st.integers(500, 4000)),
    box=st.tuples(*[st.floats(0.0, 0.4)] * 2, *[st.floats(0.05, 0.5)] * 2),
    shrink=st.floats(0.2, 3.0),
    is_fraction=st.booleans(),
)
def test_scaling_and_turning_back_is_the_inverse_of_showing(
    orientation: int,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    shrink: float,
    is_fraction: bool,
) -> None:
    width, height = size
    left, top = box[0] * width, box[1] * height
    right, bottom = left + box[2] * width, top + box[3] * height

    def show(x: float, y: float) -> tuple[float, float]:
        # The transposition first, then the mirrors, as EXIF's table puts rows and columns.
        mirror_x, mirror_y, is_swapped = {
            1: (0, 0, 0),
            2: (1, 0, 0),
            3: (1, 1, 0),
            4: (0, 1, 0),
            5: (0, 0, 1),
            6: (1, 0, 1),
            7: (1, 1, 1),
            8: (0, 1, 1),
        }[orientation]
        x, y = (y, x) if is_swapped else (x, y)
        shown_width, shown_height = (height, width) if is_swapped else (width, height)
        x, y = (shown_width - x if mirror_x else x), (shown_height - y if mirror_y else y)
        if is_fraction:
            return x / shown_width, y / shown_height
        return x * shrink, y * shrink

    corners = [show(left, top), show(right, bottom)]
    (x1, x2), (y1, y2) = (sorted(values) for values in zip(*corners, strict=True))
    shown_size = (height, width) if orientation >= 5 else (width, height)
    drawn = SourceBox(
        key="b",
        image=SourceImage(
            width_px=None if is_fraction else shown_size[0] * shrink,
            height_px=None if is_fraction else shown_size[1] * shrink,
            orientation=orientation,
        ),
        box=(x1, y1, x2 - x1, y2 - y1),
        unit="fraction" if is_fraction else "px",
    )
    placed = place_box(drawn, {"columns_px": width, "rows_px": height})
    assert isinstance(placed, Placement)
    assert placed.box_px == pytest.approx((left, top, right - left, bottom - top), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.floats(0.5, 2.0).filter(lambda ratio: abs(ratio - 1) > 0.011),
    size=st.integers(400, 3000),
)
def test_a_crop_is_refused(ratio: float, size: int) -> None:
    image = SourceImage(width_px=size * ratio, height_px=size)
    outcome = place_box(
        SourceBox(key="b", image=image, box=(1, 1, 9, 9)), {"columns_px": size, "rows_px": size}
    )
    assert outcome in {
        "the annotated image has another shape than the source image",
        "the annotated image is turned on its side, and the file does not say which way",
    }


@settings(max_examples=60, deadline=None)
@given(
    box=st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(1, 99)] * 2),
    degrees=st.floats(-720, 720),
)
def test_the_hull_of_a_turned_box_holds_its_corners_tightly(
    box: tuple[float, float, float, float], degrees: float
) -> None:
    left, top, width, height = box
    center = complex(left + width / 2, top + height / 2)
    turn = np.exp(1j * np.radians(degrees))
    corners = [
        center + turn * complex(x * width / 2, y * height / 2) for x in (-1, 1) for y in (-1, 1)
    ]
    hull = hull_of_rotated(box, degrees)
    assert hull[0] == pytest.approx(min(each.real for each in corners), abs=1e-6)
    assert hull[1] == pytest.approx(min(each.imag for each in corners), abs=1e-6)
    assert hull[0] + hull[2] == pytest.approx(max(each.real for each in corners), abs=1e-6)
    assert hull[1] + hull[3] == pytest.approx(max(each.imag for each in corners), abs=1e-6)
