"""How far boxes overlap, and which box of one reader is which of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Floats = NDArray[np.float64]


def corners_of(rows: Sequence[Mapping[str, Any]]) -> Floats:
    """Corners (n, 4) as left, top, right, bottom of rows with x_px, y_px, width_px, height_px."""
    corners = [
        (
            row["x_px"],
            row["y_px"],
            row["x_px"] + row["width_px"],
            row["y_px"] + row["height_px"],
        )
        for row in rows
    ]
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union (n, m) of corners a (n, 4) and b (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def match(iou: Floats) -> list[tuple[int, int]]:
    """Pairs (row, column), one to one, with the largest sum of overlaps; none without overlap."""
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return [
        (int(row), int(column))
        for row, column in zip(rows, columns, strict=True)
        if iou[row, column] > 0
    ]
