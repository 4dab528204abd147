"""Verdicts of a chart review to sensitivity, specificity, PPV and NPV in the warehouse."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nlp_labeling.review_sample import SampledLabel, draw_review_sample
from nlp_labeling.review_verdicts import ReviewFile
from nlp_labeling.weighted_share import Unit, weighted_share
from warehouse_schema.errors import InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE, LABEL_QUALITY

_Row = tuple[SampledLabel, str]
_Test = Callable[[SampledLabel], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSummary:
    """Counts of one import; ``n_verdicts`` by verdict, blank rows apart."""

    review_id: str
    n_reviewed: int
    n_blank: int
    n_verdicts: Mapping[str, int]
    n_measures: int


def import_review(*, store: Store, review: ReviewFile) -> ReviewSummary:
    """Measure the labels that were reviewed and add them to ``label_quality``.

    Blank rows are taken for missing at random within their stratum; uncertain verdicts belong to no
    measure.

    Raises:
        InputError: A row was not drawn, or nothing has a verdict.
        WarehouseError: The version that the sample was drawn from is gone.
    """
    sample = {
        one.key: one
        for one in draw_review_sample(
            store=store, n=review.n, seed=review.seed, version=review.version
        )
    }
    strange = sum(key not in sample for key in review.verdicts)
    if strange:
        raise InputError(
            f"FILE: {strange} rows are not in the sample that version {review.version}, --n "
            f"{review.n} and --seed {review.seed} draw, for example line "
            f"{review.first_line(sample)}. Leave image_id, finding and the design's columns as "
            "they are."
        )
    rows = [(sample[key], verdict) for key, verdict in review.verdicts.items() if verdict]
    if not rows:
        raise InputError("FILE: no row has a verdict. Fill in present, absent or uncertain.")
    said = "|".join(sorted(f"{one.key}{verdict}" for one, verdict in rows))
    design = f"{review.version}|{review.n}|{review.seed}|{said}"
    review_id = hashlib.sha256(design.encode()).hexdigest()[:16]
    measures = [
        {"review_id": review_id, "label_version": review.version, **row}
        for finding in sorted({one.label["finding"] for one, _ in rows})
        for row in measure([row for row in rows if row[0].label["finding"] == finding], finding)
    ]
    configuration = {"version": review.version, "n": review.n, "seed": review.seed}
    with store.commit(stage="review-import", configuration=configuration) as commit:
        commit.uses(IMAGE_LABELS, LABEL_EVIDENCE, at=review.version)
        commit.upsert(LABEL_QUALITY, pa.Table.from_pylist(measures, schema=LABEL_QUALITY.schema))
    return ReviewSummary(
        review_id=review_id,
        n_reviewed=len(rows),
        n_blank=len(review.verdicts) - len(rows),
        n_verdicts=dict(sorted(Counter(verdict for _, verdict in rows).items())),
        n_measures=len(measures),
    )


def measure(rows: Sequence[_Row], finding: str) -> Iterator[dict[str, Any]]:
    """Rows of ``label_quality`` for one finding, review_id and version apart.

    Args:
        rows: Labels with a verdict: present, absent or uncertain.
        finding: Their finding.
    """
    for scope, name, test in _tests(rows):
        calls = {test(one) for one, _ in rows}
        # A rule that only affirms, or only denies, has one predictive value and nothing else.
        metrics = ["ppv"] if True in calls else []
        metrics += ["npv"] if False in calls else []
        metrics += ["sensitivity", "specificity"] if scope in ("label", "source") else []
        for metric in metrics:
            share = weighted_share([_unit(one, verdict, test, metric) for one, verdict in rows])
            if share.n_reviewed:
                yield {
                    "finding": finding,
                    "scope": scope,
                    "name": name,
                    "metric": metric,
                    "value": share.value,
                    "ci_low": share.ci_low,
                    "ci_high": share.ci_high,
                    "n_reviewed": share.n_reviewed,
                    "n_represented": share.n_represented,
                }


def _unit(one: SampledLabel, verdict: str, test: _Test, metric: str) -> Unit:
    call, is_present = test(one), verdict == "present"
    is_known = verdict != "uncertain" and call is not None
    domain = {
        "ppv": call is True,
        "npv": call is False,
        "sensitivity": is_present,
        "specificity": not is_present,
    }[metric]
    hit = {
        "ppv": is_present,
        "npv": not is_present,
        "sensitivity": call is True,
        "specificity": call is False,
    }[metric]
    return Unit(
        stratum=one.stratum,
        n_stratum=one.n_stratum,
        is_in_domain=is_known and domain,
        is_hit=is_known and hit,
    )


def _tests(rows: Sequence[_Row]) -> Iterator[tuple[str, str, _Test]]:
    """Each thing that calls a finding present (True), absent (False) or nothing (None)."""
    yield "label", "label", lambda one: _CALLS.get(one.label["label"])
    evidence = [row for one, _ in rows for row in one.evidence if row["polarity"] in _CALLS]
    for kind in sorted({row["evidence_type"] for row in evidence}):
        yield "source", kind, lambda one, kind=kind: _source_call(one, kind)  # type: ignore[misc]
    for reason in sorted({one.label["reason"] for one, _ in rows}):
        yield (
            "combination_row",
            reason,
            lambda one, reason=reason: (  # type: ignore[misc]
                _CALLS.get(one.label["label"]) if one.label["reason"] == reason else None
            ),
        )
    for rule, polarity in sorted({(row["rule_id"], row["polarity"]) for row in evidence}):
        yield (
            "evidence_rule",
            rule,
            lambda one, rule=rule, polarity=polarity: (  # type: ignore[misc]
                _CALLS[polarity] if _has(one, rule, polarity) else None
            ),
        )


_CALLS = {"positive": True, "negative": False}


def _source_call(one: SampledLabel, kind: str) -> bool:
    """A source calls a finding where it speaks for it; silence is its denial."""
    return any(
        row["evidence_type"] == kind and row["polarity"] == "positive" for row in one.evidence
    )


def _has(one: SampledLabel, rule: str, polarity: str) -> bool:
    return any(row["rule_id"] == rule and row["polarity"] == polarity for row in one.evidence)
