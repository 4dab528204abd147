"""Upright hulls (left, top, width, height) of the shapes that annotation tools draw.

Angles are degrees, clockwise as seen on a screen whose y axis points down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from etl.annotations.box_formats.source_box import Box

Point = tuple[float, float]


def from_corners(left: float, top: float, right: float, bottom: float) -> Box:
    """A box from its edges; edges in the wrong order leave a negative side."""
    return left, top, right - left, bottom - top


def hull_of_points(points: Sequence[Point]) -> Box | None:
    """Hull of a polygon; None with fewer than two points."""
    if len(points) < 2:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return from_corners(min(xs), min(ys), max(xs), max(ys))


def hull_of_rotated(box: Box, degrees: float, pivot: Point | None = None) -> Box:
    """Hull of a rectangle turned about a pivot, its centre by default."""
    left, top, width, height = box
    pivot_x, pivot_y = pivot or (left + width / 2, top + height / 2)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    turned = [
        (
            pivot_x + (x - pivot_x) * cosine - (y - pivot_y) * sine,
            pivot_y + (x - pivot_x) * sine + (y - pivot_y) * cosine,
        )
        for x, y in corners
    ]
    hull = hull_of_points(turned)
    assert hull is not None
    return hull


def hull_of_ellipse(center: Point, radii: Point, degrees: float = 0.0) -> Box:
    """Hull of an ellipse whose first radius lies along an axis turned by an angle."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width = math.hypot(radii[0] * cosine, radii[1] * sine)
    half_height = math.hypot(radii[0] * sine, radii[1] * cosine)
    x, y = center
    return from_corners(x - half_width, y - half_height, x + half_width, y + half_height)


def is_upright(points: Sequence[Point]) -> bool:
    """True for the four corners of an upright rectangle, closed or not."""
    corners = set(points)
    return len(corners) == 4 and all(len({each[axis] for each in corners}) == 2 for axis in (0, 1))


def pairs(values: Sequence[float]) -> list[Point]:
    """Points of a flat list x1, y1, x2, y2 ..."""
    return list(zip(values[::2], values[1::2], strict=False))


def hull_of_axes(points: Sequence[Point]) -> Box | None:
    """Hull of a DICOM ellipse: end points of the major, then of the minor axis.

    PS3.3 C.10.5 and C.18.6.
    """
    if len(points) != 4:
        return None
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = points
    major, minor = math.dist(points[0], points[1]), math.dist(points[2], points[3])
    center = ((x1 + x2 + x3 + x4) / 4, (y1 + y2 + y3 + y4) / 4)
    degrees = math.degrees(math.atan2(y2 - y1, x2 - x1))
    return hull_of_ellipse(center, (major / 2, minor / 2), degrees)


def hull_of_circle(points: Sequence[Point]) -> Box | None:
    """Hull of a DICOM circle: its centre, then a point on it."""
    if len(points) != 2:
        return None
    radius = math.dist(points[0], points[1])
    return hull_of_ellipse(points[0], (radius, radius))
