"""One number with its protocol, its interval and what it was computed on.

A protocol reads ``split/images/denominator/network``, for example ``test/R+N/whole/student``;
docs/evaluation.md lists the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import Interval, PatientBootstrap, percentile_interval
from evaluation.operating_points import wilson_interval
from evaluation.scored_run import ScoredImages


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of ``evaluation_reports`` without run and finding."""

    metric: str
    protocol: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_positive: int
    n_negative: int
    n_patients: int
    interval_method: str | None
    n_draws: int | None
    seed: int | None


@dataclass(frozen=True)
class CurvePoint:
    """One row of a table of curve points: x rises along the curve, the band is y's."""

    protocol: str
    point_number: int
    threshold: float | None
    x: float
    y: float
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class Resampling:
    """Number of bootstrap draws and their seed."""

    n_draws: int
    seed: int

    def of(self, images: ScoredImages, strata: NDArray[np.generic]) -> PatientBootstrap:
        """The bootstrap of these images, stratified by a number per image."""
        return PatientBootstrap(
            patient_ids=images.patient_ids,
            strata=np.asarray(strata, dtype=np.int64).tolist(),
            seed=self.seed,
            n_draws=self.n_draws,
        )

    def for_part(self, part: int) -> "Resampling":
        """The same for one of several parts that are drawn independently, such as a fold."""
        seed = int(np.random.SeedSequence([self.seed, part]).generate_state(1)[0])
        return Resampling(self.n_draws, seed)


@dataclass(frozen=True)
class Scope:
    """What the numbers of one protocol on one set of images share."""

    protocol: str
    n_positive: int
    n_negative: int
    n_patients: int
    resampling: Resampling

    @classmethod
    def of_images(cls, images: ScoredImages, *, protocol: str, resampling: Resampling) -> "Scope":
        """The scope of images that are told apart by the finding's label."""
        n_positive = int(images.is_positive.sum())
        return cls(
            protocol,
            n_positive,
            len(images.image_ids) - n_positive,
            images.n_patients,
            resampling,
        )

    def plain(self, metric: str, value: float | None) -> Metric:
        """A number without an interval."""
        return self._row(metric, value, None, None)

    def bootstrapped(self, metric: str, value: float | None, draws: NDArray[np.float64]) -> Metric:
        """A number with the percentile interval of its draws (b,); undefined draws are NaN."""
        return self._row(metric, value, defined_interval(draws), "bootstrap")

    def with_interval(self, metric: str, value: float, interval: Interval, method: str) -> Metric:
        """A number with an interval of DeLong's or Wilson's."""
        return self._row(metric, value, interval, method)

    def share(self, metric: str, successes: int, trials: int) -> Metric:
        """A proportion with Wilson's interval; undefined without trials."""
        if not trials:
            return self.plain(metric, None)
        return self._row(metric, successes / trials, wilson_interval(successes, trials), "Wilson")

    def _row(
        self, metric: str, value: float | None, interval: Interval | None, method: str | None
    ) -> Metric:
        if value is None or interval is None:
            interval = method = None
        is_bootstrap = method == "bootstrap"
        return Metric(
            metric=metric,
            protocol=self.protocol,
            value=value,
            ci_low=None if interval is None else interval.low,
            ci_high=None if interval is None else interval.high,
            n_positive=self.n_positive,
            n_negative=self.n_negative,
            n_patients=self.n_patients,
            interval_method=method,
            n_draws=self.resampling.n_draws if is_bootstrap else None,
            seed=self.resampling.seed if is_bootstrap else None,
        )


def defined_interval(draws: NDArray[np.float64]) -> Interval | None:
    """Percentile interval of the draws in which a number is defined; None where it never is."""
    return percentile_interval(draws) if np.isfinite(draws).any() else None


def band_points(
    *,
    protocol: str,
    thresholds: Sequence[float | None],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> list[CurvePoint]:
    """Points of a curve with the pointwise 95 % band of the draws (b, k) of y.

    Undefined draws are NaN; without a defined one there is no band.
    """
    defined = draws[np.isfinite(draws).all(axis=1)]
    has_band = len(defined) > 0
    low, high = np.quantile(defined if has_band else y[None, :], [0.025, 0.975], axis=0)
    return [
        CurvePoint(
            protocol,
            number,
            threshold,
            float(x[number]),
            float(y[number]),
            float(low[number]) if has_band else None,
            float(high[number]) if has_band else None,
        )
        for number, threshold in enumerate(thresholds)
    ]
