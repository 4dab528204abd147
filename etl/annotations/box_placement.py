"""A box as drawn on a copy, back in the source image's pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etl.annotations.box_formats.shapes import hull_of_points
from etl.annotations.box_formats.source_box import Box, SourceBox, SourceImage

# A resized copy keeps the sides' ratio but for rounding to whole pixels.
MAX_RATIO_DIFFERENCE = 0.01
# Half a pixel is the rounding of a copy, not a reader's slip.
MAX_OVERHANG_PX = 0.5


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A box in source pixels.

    Attributes:
        box_px: Left, top, width, height.
        is_clipped: True where it reached over the image's edge.
        scale: Source pixels per pixel of the annotated image, along its width; None where the file
            gives no size.
    """

    box_px: Box
    is_clipped: bool
    scale: float | None


def place_box(box: SourceBox, image: Mapping[str, Any]) -> Placement | str:
    """The box in source pixels, cut at the image's edges; or why it has no place there.

    Args:
        box: Box in pixels or fractions of the annotated image.
        image: Row of images.
    """
    left, top, width, height = box.box
    if not all(map(math.isfinite, box.box)):
        return "its coordinates are not numbers"
    if width <= 0 or height <= 0:
        return "it has no area"
    columns_px, rows_px = float(image["columns_px"]), float(image["rows_px"])
    scale = _scale(box.image, columns_px, rows_px)
    if isinstance(scale, str):
        return scale
    shown = (rows_px, columns_px) if box.image.orientation >= 5 else (columns_px, rows_px)
    factor = shown if box.unit == "fraction" else scale or (1.0, 1.0)
    corners = [
        upright_point((x * factor[0], y * factor[1]), box.image.orientation, columns_px, rows_px)
        for x, y in ((left, top), (left + width, top + height))
    ]
    drawn = hull_of_points(corners)
    assert drawn is not None
    return _inside(drawn, columns_px, rows_px, None if scale is None else scale[0])


def upright_point(
    point: tuple[float, float], orientation: int, width_px: float, height_px: float
) -> tuple[float, float]:
    """A point of an image shown in an EXIF orientation, in the image as stored.

    Args:
        point: x and y in the image as shown.
        orientation: 1 to 8 (Exif 2.32, tag 0x0112).
        width_px: Width of the image as stored.
        height_px: Its height.
    """
    x, y = point
    return {
        1: (x, y),
        2: (width_px - x, y),
        3: (width_px - x, height_px - y),
        4: (x, height_px - y),
        5: (y, x),
        6: (y, height_px - x),
        7: (width_px - y, height_px - x),
        8: (width_px - y, x),
    }[orientation]


def _scale(
    named: SourceImage, columns_px: float, rows_px: float
) -> tuple[float, float] | str | None:
    """Source pixels per annotated pixel in x and y; None where the file gives no size."""
    if named.orientation == 0:
        return "its orientation is none of EXIF's 1 to 8"
    if not named.width_px or not named.height_px:
        return None
    if named.width_px < 0 or named.height_px < 0:
        return "the annotated image has a negative size"
    shown = (rows_px, columns_px) if named.orientation >= 5 else (columns_px, rows_px)
    scale_x, scale_y = shown[0] / named.width_px, shown[1] / named.height_px
    if _is_near(scale_x, scale_y):
        return scale_x, scale_y
    if _is_near(shown[1] / named.width_px, shown[0] / named.height_px):
        return "the annotated image is turned on its side, and the file does not say which way"
    return "the annotated image has another shape than the source image"


def _is_near(scale_x: float, scale_y: float) -> bool:
    return abs(scale_x / scale_y - 1) <= MAX_RATIO_DIFFERENCE


def _inside(drawn: Box, columns_px: float, rows_px: float, scale: float | None) -> Placement | str:
    left, top, width, height = drawn
    edges = (left, top, left + width, top + height)
    inside = (
        max(edges[0], 0.0),
        max(edges[1], 0.0),
        min(edges[2], columns_px),
        min(edges[3], rows_px),
    )
    width, height = inside[2] - inside[0], inside[3] - inside[1]
    # Also false where huge coordinates have left infinities behind.
    if not (width >= 1 and height >= 1):
        return "it lies outside its image"
    return Placement(
        box_px=(inside[0], inside[1], width, height),
        is_clipped=any(abs(a - b) > MAX_OVERHANG_PX for a, b in zip(inside, edges, strict=True)),
        scale=scale,
    )
