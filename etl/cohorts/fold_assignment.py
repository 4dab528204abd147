"""Patients to cross-validation parts: stratified, seeded, and stable from night to night.

There are two parts a fold. Fold k tests on parts 2k and 2k + 1 and validates on part 2k + 2 (the
first of the next fold's), which with five folds is 70 / 10 / 20 for train / validation / test. So
every patient is tested exactly once, and validated on in one fold or in none.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping


def assign_parts(
    strata: Mapping[str, str],
    *,
    n_images: Mapping[str, int],
    seed: int,
    n_folds: int,
    kept: Mapping[str, int],
) -> dict[str, int]:
    """Give every patient a part, so that each stratum's images spread evenly over the parts.

    Patients are dealt out by falling number of images, each to the part that has least of the
    stratum; with one image a patient the parts differ by at most one.

    Args:
        strata: Stratum of each patient.
        n_images: Images of each patient.
        seed: Decides the order in which patients are dealt out.
        n_folds: Folds; there are twice as many parts.
        kept: Parts of patients who had one before, which they keep: a patient once tested on
            never moves into training because others came or labels changed. Balance within a
            stratum is then restored by the new patients only.

    Returns:
        Part of each patient, 0 to 2 * n_folds - 1.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for patient_id, stratum in strata.items():
        members[stratum].append(patient_id)
    parts = {patient_id: part for patient_id, part in kept.items() if patient_id in strata}
    totals: Counter[int] = Counter()
    for patient_id, part in parts.items():
        totals[part] += n_images[patient_id]
    for stratum in sorted(members):
        counts: Counter[int] = Counter()
        for each in members[stratum]:
            if each in parts:
                counts[parts[each]] += n_images[each]
        newcomers = [each for each in members[stratum] if each not in parts]
        preference = sorted(range(2 * n_folds), key=lambda part: _rank(seed, stratum, str(part)))
        newcomers.sort(key=lambda each: (-n_images[each], _rank(seed, "patient", each)))
        for patient_id in newcomers:
            part = min(
                preference, key=lambda each: (counts[each], totals[each], preference.index(each))
            )
            parts[patient_id] = part
            counts[part] += n_images[patient_id]
            totals[part] += n_images[patient_id]
    return parts


def split_of(part: int, *, fold: int, n_folds: int) -> str:
    """The split that a part belongs to in a fold."""
    if part // 2 == fold:
        return "test"
    return "validation" if part == (2 * fold + 2) % (2 * n_folds) else "train"


def part_of(splits: Mapping[int, str], *, n_folds: int) -> int | None:
    """The part that gives these splits by fold; None where no part does."""
    for part in range(2 * n_folds):
        if all(
            splits.get(fold) == split_of(part, fold=fold, n_folds=n_folds)
            for fold in range(n_folds)
        ):
            return part
    return None


def _rank(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{kind}|{name}".encode()).digest()
