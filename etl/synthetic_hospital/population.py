"""Who the hospital's patients are in truth, before anything is written down about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from etl.synthetic_hospital.film import sample_fractures
from etl.synthetic_hospital.film_request import FINDINGS, FractureRequest

# The paper, section 3.1: 6,792 positive and 59,051 negative films, 808 positives boxed.
PAPER_N_POSITIVE = 6_792
PAPER_N_NEGATIVE = 59_051
PAPER_N_BOXED = 808

_ACUTE_BY_GROUP: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "rib": ("rib_fracture",),
        "clavicle": ("clavicle_fracture",),
        "both": FINDINGS,
    }
)
_OLD_BY_GROUP: Mapping[str, str] = MappingProxyType(
    {"old_rib": "rib_fracture", "old_clavicle": "clavicle_fracture"}
)
GROUPS = ("rib", "clavicle", "both", "old_rib", "old_clavicle", "none")


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Shares of the patients by their trauma's truth; the rest has neither fracture.

    boxed_share is the part of the positives that readers went through and boxed.
    """

    rib: float = 0.16
    clavicle: float = 0.14
    both: float = 0.06
    old_rib: float = 0.03
    old_clavicle: float = 0.015
    boxed_share: float = 0.5

    def group_shares(self) -> dict[str, float]:
        """Share by group, adding up to 1. Raises ValueError where they exceed 1."""
        shares = {name: float(getattr(self, name)) for name in GROUPS[:-1]}
        rest = 1.0 - sum(shares.values())
        if rest < 0 or min(shares.values()) < 0:
            raise ValueError(f"the shares of {', '.join(shares)} are negative or exceed 1")
        return {**shares, "none": rest}


def paper_proportions() -> Proportions:
    """The paper's prevalence; its split between ribs and clavicles is not published.

    We keep the demo's own split of the positives (rib : clavicle : both).
    """
    prevalence = PAPER_N_POSITIVE / (PAPER_N_POSITIVE + PAPER_N_NEGATIVE)
    demo = Proportions()
    total = demo.rib + demo.clavicle + demo.both
    return Proportions(
        rib=prevalence * demo.rib / total,
        clavicle=prevalence * demo.clavicle / total,
        both=prevalence * demo.both / total,
        old_rib=0.02,
        old_clavicle=0.01,
        boxed_share=PAPER_N_BOXED / PAPER_N_POSITIVE,
    )


@dataclass(frozen=True, kw_only=True)
class PatientTruth:
    """One patient's fractures: acute at the trauma, and old ones from before it."""

    patient_index: int
    group: str
    acute: tuple[FractureRequest, ...]
    old: tuple[FractureRequest, ...]
    injuries: tuple[str, ...]

    def acute_of(self, finding: str) -> tuple[FractureRequest, ...]:
        """The acute fractures of one finding."""
        return tuple(one for one in self.acute if one.finding == finding)

    def old_of(self, finding: str) -> tuple[FractureRequest, ...]:
        """The old fractures of one finding."""
        return tuple(one for one in self.old if one.finding == finding)


def assign_groups(proportions: Proportions, n_patients: int, seed: int) -> list[str]:
    """The group of each patient: counts follow the shares exactly, the order is drawn.

    Positives as a whole are rounded first, so that any size has the right prevalence.
    """
    shares = proportions.group_shares()
    positive = {name: shares[name] for name in _ACUTE_BY_GROUP}
    rest = {name: share for name, share in shares.items() if name not in positive}
    n_positive = int(np.floor(n_patients * sum(positive.values()) + 0.5))
    counts = _rounded(positive, n_positive) | _rounded(rest, n_patients - n_positive)
    groups = [name for name in GROUPS for _ in range(counts[name])]
    order = np.random.default_rng([seed, 1]).permutation(n_patients)
    return [groups[int(place)] for place in order]


def draw_truth(
    rng: np.random.Generator,
    *,
    patient_index: int,
    group: str,
    injury_weights: Mapping[str, float],
    additional_old_share: float = 0.02,
) -> PatientTruth:
    """A patient's fractures and other injuries. injury_weights: probability by injury name.

    Whoever came without a fracture came with some other injury.
    """
    acute: list[FractureRequest] = []
    for finding in _ACUTE_BY_GROUP.get(group, ()):
        acute += sample_fractures(rng, finding=finding)
    old: list[FractureRequest] = []
    if group in _OLD_BY_GROUP:
        old += sample_fractures(rng, finding=_OLD_BY_GROUP[group], is_old=True)
    elif rng.random() < additional_old_share and group != "none":
        other = "clavicle_fracture" if group == "rib" else "rib_fracture"
        old += sample_fractures(rng, finding=other, is_old=True)
    injuries = [name for name, weight in injury_weights.items() if rng.random() < weight]
    if not injuries and not acute:
        injuries = [max(injury_weights, key=lambda name: injury_weights[name])]
    broken = {(one.finding, one.side, one.rib_number) for one in acute}
    kept = [one for one in old if (one.finding, one.side, one.rib_number) not in broken]
    return PatientTruth(
        patient_index=patient_index,
        group=group,
        acute=tuple(acute),
        old=tuple(kept),
        injuries=tuple(injuries),
    )


def is_positive_group(group: str) -> bool:
    """True where a patient of this group has an acute rib or clavicle fracture."""
    return group in _ACUTE_BY_GROUP


def _rounded(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Counts adding up to total, by largest remainder."""
    weight = sum(shares.values())
    exact = {name: total * share / weight if weight else 0.0 for name, share in shares.items()}
    counts = {name: int(np.floor(value)) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
