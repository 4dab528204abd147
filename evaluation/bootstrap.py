"""Stratified bootstrap over patients, as weights per image.

A draw takes patients with replacement within each stratum; an image counts as often as its patient
was drawn. Draws depend on the seed, the patients and their strata, never on the order of the images
or on how many draws are made at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
_DRAWS_AT_ONCE = 250
# Weights made at once where nobody says how many: a chunk that stays in the processor's cache.
_WEIGHTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of a 95 % interval."""

    low: float
    high: float


class PatientBootstrap:
    """Seeded patient-level resampling of n images.

    ``patient_ids``: the patient of each image. ``strata``: a number per image; a patient with
    images in several strata belongs to the highest.
    """

    def __init__(
        self, *, patient_ids: Sequence[str], strata: Sequence[int], seed: int, n_draws: int = DRAWS
    ) -> None:
        if len(patient_ids) != len(strata) or not len(patient_ids):
            raise ValueError("patient_ids and strata need one entry per image, and one image")
        stratum_of: dict[str, int] = {}
        for patient, stratum in zip(patient_ids, strata, strict=True):
            stratum_of[patient] = max(int(stratum), stratum_of.get(patient, int(stratum)))
        patients = sorted(stratum_of)
        place = {patient: index for index, patient in enumerate(patients)}
        self._patient_of_image = np.array([place[patient] for patient in patient_ids])
        of_patient = np.array([stratum_of[patient] for patient in patients])
        self._members = [np.flatnonzero(of_patient == value) for value in np.unique(of_patient)]
        self._n_patients = len(patients)
        self.seed = seed
        self.n_draws = n_draws

    @property
    def n_patients(self) -> int:
        """Number of patients drawn from."""
        return self._n_patients

    def weights(self, at_once: int | None = None) -> Iterator[NDArray[np.float64]]:
        """Chunks (b, n) of how often each draw contains each image, ``n_draws`` rows in all.

        ``at_once``: rows of a chunk; it has no effect on the draws.
        """
        if at_once is None:
            at_once = _WEIGHTS_AT_ONCE // len(self._patient_of_image)
            at_once = min(max(at_once, 1), _DRAWS_AT_ONCE)
        children = np.random.SeedSequence(self.seed).spawn(len(self._members))
        generators = [np.random.default_rng(child) for child in children]
        for start in range(0, self.n_draws, at_once):
            rows = min(at_once, self.n_draws - start)
            drawn = np.zeros((rows, self._n_patients))
            for members, generator in zip(self._members, generators, strict=True):
                size = len(members)
                picks = generator.integers(0, size, size=(rows, size))
                for row in range(rows):
                    drawn[row, members] = np.bincount(picks[row], minlength=size)
            yield drawn[:, self._patient_of_image]


def percentile_interval(draws: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap draws (b,); undefined ones (NaN) are left out."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws[np.isfinite(draws)], [tail, 1.0 - tail])
    return Interval(low=float(low), high=float(high))


def two_sided_p(differences: NDArray[np.float64]) -> float:
    """Two-sided bootstrap p value of a difference, at least 1 / (draws + 1).

    Undefined draws (NaN) are left out.
    """
    defined = differences[np.isfinite(differences)]
    below = int((defined <= 0).sum())
    above = int((defined >= 0).sum())
    return min(1.0, 2.0 * (min(below, above) + 1) / (len(defined) + 1))
