"""Whether a film looks like an upright frontal chest film, where its tags do not say.

A logistic regression on 16 x 16 grey-level ranks, which exposure and windowing hardly touch: on the
ranks averaged with their mirror image, and on how symmetrical they are. Fitted (scikit-learn, L2,
C = 0.3) to 400 frontal films of NIH ChestX-ray14 (NIH Clinical Center; Wang et al., CVPR 2017) and
150 synthetic ones, against 150 synthetic laterals and abdomens and the real films upside down,
turned, as negatives and in parts (a half, a shoulder, the upper third, the lower half).

Held out, in five folds by patient: 94 of 100 real frontal films pass (AP 92, PA 97); of the other
kinds at most 3 in 100 pass, of synthetic laterals and abdomens that the fit has not seen none of
150. Real laterals were not at hand: how many of them pass is not known.
``benchmarks/frontal_check_fit.py`` repeats the recipe with other synthetic films and parts: 91 of
100 held out, at most 1 of 100 of any other kind. It prints what these weights do beside that.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
MIN_SCORE = 0.5
# Thousandths. The left half of the film, which stands for both; rows from the top.
RANK_WEIGHTS = (
    (-757, -1304, -1139, -684, -374, 704, 1111, 28),
    (-131, -487, 58, -389, 286, 191, 355, 667),
    (138, -986, -276, -210, 27, -468, 65, -154),
    (457, 366, -311, 137, -59, -466, -122, 103),
    (689, 604, 403, 722, 168, 69, 152, -788),
    (463, 545, 919, 1013, 591, -351, -40, -587),
    (27, 46, 533, 192, -693, -796, 129, -304),
    (-139, -186, -265, -162, -1096, -910, 605, 504),
    (-139, -245, -515, -424, -225, -153, -297, 638),
    (77, 20, -23, -367, 188, -301, 170, 203),
    (-118, -206, 68, -435, 644, -466, 474, 21),
    (-318, -210, 196, -147, 275, -273, 916, 83),
    (-332, -519, -182, -328, 39, 569, 725, -34),
    (-710, -331, 51, -44, 240, 275, -9, 70),
    (-196, 152, 510, 567, 449, 242, -340, 80),
    (397, 154, 94, 523, 442, 66, -200, 37),
)
SYMMETRY_WEIGHT = -764
INTERCEPT = -9299


@dataclass(frozen=True, kw_only=True)
class FrontalCheck:
    """Outcome of the check.

    Attributes:
        score: Probability of a frontal chest film among the kinds that the check was fitted to.
    """

    score: float

    @property
    def is_frontal(self) -> bool:
        """True where the score is high enough."""
        return self.score >= MIN_SCORE


def check_frontal(film: NDArray[np.uint8]) -> FrontalCheck:
    """Check a film, (rows, columns) uint8 without padding, bones bright."""
    weights = np.append(np.array(RANK_WEIGHTS, dtype=np.float64).ravel(), SYMMETRY_WEIGHT)
    logit = float(frontal_features(film) @ weights) + INTERCEPT
    return FrontalCheck(score=float(1 / (1 + np.exp(-logit / 1000))))


def frontal_features(film: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the regression sees of a film: SIDE * SIDE / 2 ranks, row by row, and the symmetry."""
    small = cv2.resize(np.ascontiguousarray(film), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    ranks = np.argsort(np.argsort(small.ravel(), kind="stable"), kind="stable").astype(np.float64)
    ranks = ((ranks - ranks.mean()) / ranks.std()).reshape(SIDE, SIDE)
    mirrored = ranks[:, ::-1]
    half = ((ranks + mirrored) / 2)[:, : SIDE // 2]
    return np.append(half.ravel(), (ranks * mirrored).mean())
