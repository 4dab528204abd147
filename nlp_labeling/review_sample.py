"""A stratified sample of labels for chart review, with known weights, drawn blind and repeatably.

Strata are finding, label, where a positive was seen, and the sources that speak of it. The file
holds none of them, so that the reviewer does not know the label; the same version, size and seed
draw the same sample again, which is how the import learns them.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE

LEAST_IN_STRATUM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledLabel:
    """One label drawn.

    Attributes:
        label: Row of ``image_labels``.
        evidence: Its rows of ``label_evidence``.
        stratum: Stratum it was drawn from.
        n_stratum: Labels in the stratum.
        n_sampled: Labels drawn from it; ``n_stratum / n_sampled`` is the weight.
    """

    label: Mapping[str, Any]
    evidence: tuple[Mapping[str, Any], ...]
    stratum: str
    n_stratum: int
    n_sampled: int

    @property
    def weight(self) -> float:
        """Labels of the population that this one stands for."""
        return self.n_stratum / self.n_sampled

    @property
    def key(self) -> tuple[str, str]:
        """Image and finding."""
        return self.label["image_id"], self.label["finding"]


def draw_review_sample(
    *, store: Store, n: int, seed: int, version: int | None = None
) -> list[SampledLabel]:
    """Draw ``n`` labels of a warehouse version, in random order.

    Every stratum gives at least two labels where it has them; the rest is spread by the square root
    of the strata's sizes.

    Raises:
        ArgumentError: There are no labels, or fewer rows are asked for than there are strata.
        WarehouseError: There is no such version.
    """
    labels = store.read(IMAGE_LABELS, at=version).to_pylist()
    if not labels:
        raise ArgumentError("review-sample: there are no labels yet. Run `ribline label` first.")
    evidence: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in store.read(LABEL_EVIDENCE, at=version).to_pylist():
        evidence[row["image_id"], row["finding"]].append(row)
    strata: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for label in labels:
        strata[stratum_of(label, evidence[label["image_id"], label["finding"]])].append(label)
    names = sorted(strata)
    sizes = [len(strata[name]) for name in names]
    generator = np.random.default_rng(seed)
    drawn = []
    for name, n_sampled in zip(names, allocate(sizes, n), strict=True):
        rows = strata[name]
        chosen = generator.choice(len(rows), size=n_sampled, replace=False)
        drawn += [
            SampledLabel(
                label=rows[index],
                evidence=tuple(evidence[rows[index]["image_id"], rows[index]["finding"]]),
                stratum=name,
                n_stratum=len(rows),
                n_sampled=n_sampled,
            )
            for index in sorted(chosen)
        ]
    return [drawn[index] for index in generator.permutation(len(drawn))]


def stratum_of(label: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> str:
    """Finding, label, visibility tier and the sources that are not ignored."""
    kinds = {row["evidence_type"] for row in evidence if row["polarity"] != "ignored"}
    sources = "+".join(sorted(kinds)) or "none"
    return "|".join((label["finding"], label["label"], label["visibility_tier"] or "none", sources))


def allocate(sizes: Sequence[int], n: int) -> list[int]:
    """How many to draw from each stratum: all, or ``n`` in sum.

    Raises:
        ArgumentError: ``n`` is smaller than the number of strata.
    """
    if n < len(sizes):
        raise ArgumentError(
            f"--n: got {n}; the labels fall into {len(sizes)} strata (finding, label, where seen, "
            f"sources), and each needs at least one. Ask for {len(sizes)} or more."
        )
    n = min(n, sum(sizes))
    taken = [1] * len(sizes)
    # Few in a stratum first, then by the square root of its size.
    queue = [_turn(index, size, 1) for index, size in enumerate(sizes) if size > 1]
    heapq.heapify(queue)
    for _ in range(n - len(sizes)):
        *_, index = heapq.heappop(queue)
        taken[index] += 1
        if taken[index] < sizes[index]:
            heapq.heappush(queue, _turn(index, sizes[index], taken[index]))
    return taken


def _turn(index: int, size: int, taken: int) -> tuple[bool, float, int]:
    return taken >= LEAST_IN_STRATUM, -math.sqrt(size) / taken, index
