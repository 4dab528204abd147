"""Thresholds chosen on the validation split, and what they give on the test split."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from evaluation.auroc import roc_curve
from evaluation.bootstrap import Interval, PatientBootstrap

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

    def shares(self) -> dict[str, tuple[int, int]]:
        """Successes and trials of sensitivity, specificity, PPV and NPV."""
        tp, fn = self.true_positive, self.false_negative
        tn, fp = self.true_negative, self.false_positive
        return {
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, tn + fp),
            "ppv": (tp, tp + fp),
            "npv": (tn, tn + fn),
        }

    def sensitivity_interval(self) -> Interval:
        """Wilson interval of the sensitivity."""
        return wilson_interval(self.true_positive, self.true_positive + self.false_negative)

    def specificity_interval(self) -> Interval:
        """Wilson interval of the specificity."""
        return wilson_interval(self.true_negative, self.true_negative + self.false_positive)


@dataclass(frozen=True)
class OperatingDraws:
    """Bootstrap draws of each share at t thresholds, (b, t); NaN where it is undefined."""

    shares: dict[str, NDArray[np.float64]]


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


def operating_draws(
    scores: NDArray[np.generic],
    is_positive: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    bootstrap: PatientBootstrap,
) -> OperatingDraws:
    """Sensitivity, specificity, PPV and NPV of thresholds (t,) in every draw over images (n,)."""
    called = np.asarray(scores, dtype=np.float64)[:, None] >= thresholds
    positive = np.asarray(is_positive, dtype=bool)
    hits = (called & positive[:, None]).astype(np.float64)
    alarms = (called & ~positive[:, None]).astype(np.float64)
    tp, fp, n_positive, n_images = [], [], [], []
    for weights in bootstrap.weights():
        tp.append(weights @ hits)
        fp.append(weights @ alarms)
        n_positive.append(weights @ positive.astype(np.float64))
        n_images.append(weights.sum(axis=1))
    true, false = np.concatenate(tp), np.concatenate(fp)
    positives = np.concatenate(n_positive)[:, None]
    negatives = np.concatenate(n_images)[:, None] - positives
    return OperatingDraws(
        {
            "sensitivity": _ratio(true, positives),
            "specificity": _ratio(negatives - false, negatives),
            "ppv": _ratio(true, true + false),
            "npv": _ratio(negatives - false, negatives - false + positives - true),
        }
    )


def predictive_values(
    sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], prevalence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PPV and NPV at a prevalence by Bayes' rule, same shape; NaN where nothing is called so."""
    hits, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    misses, passes = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return _ratio(hits, hits + alarms), _ratio(passes, passes + misses)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    part, whole = np.broadcast_arrays(part, whole)
    shares = np.full(part.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


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
