"""Thresholds chosen on the validation split, and what they give on the test split."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from evaluation.auroc import roc_curve
from evaluation.bootstrap import Interval

OperatingPointName = Literal["youden", "sensitivity_90", "specificity_90"]
OPERATING_POINTS: tuple[OperatingPointName, ...] = ("youden", "sensitivity_90", "specificity_90")


@dataclass(frozen=True)
class OperatingCounts:
    """The four counts of a threshold on a set of images; an image is called when score >= T."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    def sensitivity(self) -> float:
        """Share of positive images that are called."""
        return self.true_positive / (self.true_positive + self.false_negative)

    def specificity(self) -> float:
        """Share of negative images that are not called."""
        return self.true_negative / (self.true_negative + self.false_positive)

    def sensitivity_interval(self) -> Interval:
        """Wilson interval of the sensitivity."""
        return wilson_interval(self.true_positive, self.true_positive + self.false_negative)

    def specificity_interval(self) -> Interval:
        """Wilson interval of the specificity."""
        return wilson_interval(self.true_negative, self.true_negative + self.false_positive)


def choose_threshold(
    name: OperatingPointName,
    validation_scores: NDArray[np.generic],
    validation_is_positive: NDArray[np.bool_],
) -> float:
    """Threshold of a named operating point on validation scores (n,).

    ``youden``: largest sensitivity + specificity. ``sensitivity_90``: the highest threshold with
    sensitivity of at least 0.90. ``specificity_90``: the lowest threshold with specificity of at
    least 0.90. Ties go to the higher threshold. ValueError when a class is missing.
    """
    curve = roc_curve(validation_scores, validation_is_positive, every_point=True)
    tpr, fpr = curve.true_positive_rates, curve.false_positive_rates
    if name == "youden":
        chosen = int(np.argmax(tpr - fpr))
    elif name == "sensitivity_90":
        chosen = int(np.argmax(tpr >= 0.9 - 1e-12))
    else:
        chosen = int(np.flatnonzero(fpr <= 0.1 + 1e-12)[-1])
    return float(curve.thresholds[chosen])


def operating_counts(
    scores: NDArray[np.generic], is_positive: NDArray[np.bool_], threshold: float
) -> OperatingCounts:
    """Counts of a threshold on scores (n,)."""
    called = np.asarray(scores, dtype=np.float64) >= threshold
    return OperatingCounts(
        true_positive=int((called & is_positive).sum()),
        false_negative=int((~called & is_positive).sum()),
        true_negative=int((~called & ~is_positive).sum()),
        false_positive=int((called & ~is_positive).sum()),
    )


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (J Am Stat Assoc 1927); honest at 0 and 1.

    Used for proportions because a bootstrap of twelve hits in twelve has no width.
    """
    if trials <= 0:
        raise ValueError("a proportion needs at least one trial")
    z = float(norm.ppf(0.5 + level / 2))
    share = successes / trials
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    middle, scale = share + z * z / (2 * trials), 1 + z * z / trials
    low = 0.0 if successes == 0 else float((middle - spread) / scale)
    high = 1.0 if successes == trials else float((middle + spread) / scale)
    return Interval(low=low, high=high)
