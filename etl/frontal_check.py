"""Whether a film looks like an upright frontal chest film, where its tags do not say.

Two numbers on 16 x 16 grey-level ranks, which exposure and windowing hardly touch: the correlation
with the mean frontal film, and how much brighter the mediastinum is than the brighter lung (on a
lateral film there is no bright middle between two dark lungs). On films of the NIH ChestX-ray14
subset that the mean was not made from, 7 of 10 pass and 1 in 400 passes upside down; the check
prefers to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
MIN_CORRELATION = 0.55
MIN_CONTRAST = 0.25
LUNG_ROWS = slice(3, 10)
# Mean of 400 frontal films by rank, mirrored and averaged; left half, -99 (dark) to 99 (bright).
# Made from NIH ChestX-ray14 (NIH Clinical Center; Wang et al., CVPR 2017).
MEAN_FILM_LEFT_HALF = (
    (-89, -89, -88, -85, -79, -57, -21, 5),
    (-79, -70, -64, -62, -57, -41, -15, 9),
    (-55, -37, -29, -29, -32, -33, -21, 1),
    (-29, -8, -1, -10, -28, -42, -31, -3),
    (-10, 8, 12, -8, -39, -53, -36, -1),
    (-4, 12, 14, -10, -45, -57, -34, 6),
    (-7, 9, 13, -14, -47, -52, -23, 18),
    (-14, 3, 11, -14, -42, -39, -7, 32),
    (-22, -3, 9, -12, -31, -22, 10, 45),
    (-29, -6, 9, -4, -14, -1, 28, 57),
    (-36, -10, 11, 8, 8, 21, 45, 67),
    (-43, -13, 15, 24, 31, 44, 61, 76),
    (-48, -15, 19, 38, 51, 63, 75, 86),
    (-52, -17, 24, 50, 67, 78, 86, 93),
    (-53, -18, 28, 60, 78, 88, 94, 99),
    (-51, -16, 30, 63, 79, 89, 94, 97),
)


@dataclass(frozen=True, kw_only=True)
class FrontalCheck:
    """Outcome of the check.

    Attributes:
        correlation: With the mean frontal film, -1 to 1.
        contrast: Mediastinum minus the brighter lung, in standard deviations of the ranks.
    """

    correlation: float
    contrast: float

    @property
    def is_frontal(self) -> bool:
        """True where both numbers are high enough."""
        return self.correlation >= MIN_CORRELATION and self.contrast >= MIN_CONTRAST


def check_frontal(film: NDArray[np.uint8]) -> FrontalCheck:
    """Check a film, (rows, columns) uint8 without padding, bones bright."""
    small = cv2.resize(np.ascontiguousarray(film), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    ranks = np.argsort(np.argsort(small.ravel(), kind="stable"), kind="stable").astype(np.float64)
    ranks = ((ranks - ranks.mean()) / ranks.std()).reshape(SIDE, SIDE)
    half = np.array(MEAN_FILM_LEFT_HALF, dtype=np.float64)
    mean_film = np.hstack([half, half[:, ::-1]])
    correlation = float((ranks * mean_film).sum() / (SIDE * np.linalg.norm(mean_film)))
    middle = max(float(ranks[LUNG_ROWS, left : left + 2].mean()) for left in (6, 7, 8))
    lungs = [float(ranks[LUNG_ROWS, columns].mean()) for columns in (slice(2, 6), slice(10, 14))]
    return FrontalCheck(correlation=correlation, contrast=middle - max(lungs))
