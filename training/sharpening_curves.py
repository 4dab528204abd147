"""The sharpening that training applies, as curves: the paper's Figure 2, from the code itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from training.aals import sharpen

STRENGTHS = (1.0, 4.0, 8.0, 16.0)
T = 0.4
N_POINTS = 981
# The curve of a fixed strength needs a film whose maximum, and with it a, is known.
_MAXIMUM = 0.99


@dataclass(frozen=True)
class SharpenedCurve:
    """Probabilities before and after :func:`training.aals.sharpen`, (n,) float64 each.

    ``formula``: S of eq. 6 in double precision, without the maximum that training takes with y'.
    """

    strength: float
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    formula: NDArray[np.float64]

    @property
    def largest_error(self) -> float:
        """Largest distance of the code from max(S(y'), y') in double precision."""
        return float(np.abs(self.after - np.maximum(self.formula, self.before)).max())


def fixed_strength(strength: float, t: float = T) -> SharpenedCurve:
    """One film that holds every probability up to 0.99, sharpened at strength a.

    Eq. 7 gives such a film a = a0 - (a0 - 1) 0.99, so a0 is chosen to make that the strength.
    """
    before = np.linspace(0.01, _MAXIMUM, N_POINTS)
    a0 = 1.0 + (strength - 1.0) / (1.0 - _MAXIMUM)
    after = _sharpened(before[None, None, None, :], a0=a0, t=t)[0, 0, 0]
    return SharpenedCurve(strength, before, after, _formula(before, strength, t))


def peak_rise(a0: float, t: float = T) -> SharpenedCurve:
    """Films of one pixel each, so that each is its own maximum, sharpened with eq. 7."""
    before = np.linspace(0.01, _MAXIMUM, N_POINTS)
    after = _sharpened(before[:, None, None, None], a0=a0, t=t)[:, 0, 0, 0]
    return SharpenedCurve(a0, before, after, _formula(before, a0 - (a0 - 1.0) * before, t))


def _sharpened(probabilities: NDArray[np.float64], *, a0: float, t: float) -> NDArray[np.float64]:
    logits = torch.from_numpy(logit(probabilities)).float()
    valid = torch.ones_like(logits, dtype=torch.bool)
    sharpened: NDArray[np.float64] = torch.sigmoid(
        sharpen(logits, valid, a0=a0, t=t).logits.double()
    ).numpy()
    return sharpened


def _formula(
    before: NDArray[np.float64], strength: NDArray[np.float64] | float, t: float
) -> NDArray[np.float64]:
    values: NDArray[np.float64] = expit(strength * logit(before) + (1.0 - strength) * logit(t))
    return values
