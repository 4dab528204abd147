"""The cohort: which images are R, P, N or excluded, in which fold and split, and the attrition.

R is positive for at least one finding and boxed for a positive finding; P is positive without such
a box; N is negative for every finding; all else is excluded with its reason (paper, section 2).
Boxes are those that the image's readers agree on (``etl.annotations.consensus``).
A finding that is uncertain on an image of R or P is masked in training, not a reason to exclude.

A source may be named as an external test set. Its films are then in the test split of every fold:
those of its published test split where it has one, all of them where it has none. They are never
trained on, nor is any other film of their patients.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from etl.annotations.consensus import consensus_boxes
from etl.cohorts.fold_assignment import assign_parts, part_of, split_of
from etl.films.index_films import PUBLIC_SOURCES, choose_index_films
from warehouse_schema.errors import ArgumentError, CohortError
from warehouse_schema.manifest import configuration_hash
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import CONSENSUS_BOXES, IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGE_LINKS, IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import COHORT, COHORT_FLOW, IMAGE_LABELS
from warehouse_schema.tables.runs import LINEAGE, QUARANTINE

STAGE = "build-cohort"
SUBSETS = ("R", "P", "N")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CohortSummary:
    """What one cohort holds.

    Attributes:
        n_images: Images in R, P and N.
        n_patients: Their patients.
        n_r: Images in R.
        n_p: Images in P.
        n_n: Images in N.
        n_excluded: Images excluded.
        exclusion_reasons: How many for each reason.
    """

    n_images: int
    n_patients: int
    n_r: int
    n_p: int
    n_n: int
    n_excluded: int
    exclusion_reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the rules look at."""

    index_films: set[str]
    linked: set[str]
    cached: set[str]
    labels: dict[str, dict[str, str]]
    consensus: list[Row]
    boxed: set[tuple[str, str]]
    findings: tuple[str, ...]
    is_one_film_per_patient: bool


def build_cohort(
    *,
    store: Store,
    findings: Sequence[str],
    seed: int,
    n_folds: int = 5,
    is_one_film_per_patient: bool = True,
    external_test_sources: Sequence[str] = (),
) -> CohortSummary:
    """Build the cohort, its attrition and its readers' consensus boxes, replacing all three tables.

    Patients keep the part they had in the last cohort built with the same arguments, so a
    nightly relabelling moves nobody from test to training.

    Args:
        store: The store.
        findings: Findings to train on.
        seed: Seed of the folds.
        n_folds: Cross-validation folds.
        is_one_film_per_patient: Keep each patient's index film only. Public data sets keep all
            films in either case; all films of a patient share a split.
        external_test_sources: Sources whose films are tested on in every fold.

    Raises:
        ArgumentError: A finding has no labels, or n_folds is below 3.
        CohortError: The cohort is empty, or a finding has no positive, or there is no negative, or
            an external source has no images.
    """
    if n_folds < 3:
        raise ArgumentError(f"n_folds is {n_folds}; give at least 3.")
    facts = _read_facts(store, tuple(findings), is_one_film_per_patient)
    images = store.read(
        IMAGES,
        columns=[
            *("image_id", "patient_id", "source", "published_split"),
            *("selection_reason", "is_frontal_chest"),
        ],
    ).to_pylist()
    external = _external_patients(images, external_test_sources)
    outcomes, flow = _attrition(store, images, facts)
    kept = [
        image
        for image in images
        if outcomes[image["image_id"]] in SUBSETS and image["patient_id"] not in external
    ]
    _check_classes(kept, outcomes, facts)
    configuration = {"findings": list(findings), "seed": seed, "n_folds": n_folds}
    if external_test_sources:
        configuration["external_test_sources"] = sorted(external_test_sources)
    parts = assign_parts(
        _strata(kept, outcomes, facts),
        n_images=Counter(image["patient_id"] for image in kept),
        seed=seed,
        n_folds=n_folds,
        kept=_earlier_parts(store, configuration, n_folds),
    )
    rows = [
        _cohort_row(
            image, outcomes[image["image_id"]], parts.get(image["patient_id"]), fold, n_folds
        )
        for fold in range(n_folds)
        for image in images
    ]
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        commit.uses(IMAGES, IMAGE_LINKS, IMAGE_PIXELS, IMAGE_LABELS)
        commit.uses(ANNOTATIONS, IMAGE_READINGS)
        commit.replace(COHORT, pa.Table.from_pylist(rows, schema=COHORT.schema))
        boxes = pa.Table.from_pylist(facts.consensus, schema=CONSENSUS_BOXES.schema)
        commit.replace(CONSENSUS_BOXES, boxes)
        commit.replace(COHORT_FLOW, pa.Table.from_pylist(flow, schema=COHORT_FLOW.schema))
    return _summary(images, outcomes)


def _read_facts(store: Store, findings: tuple[str, ...], is_one_film_per_patient: bool) -> _Facts:
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for row in store.read(IMAGE_LABELS, columns=["image_id", "finding", "label"]).to_pylist():
        labels[row["image_id"]][row["finding"]] = row["label"]
    present = sorted({finding for by_finding in labels.values() for finding in by_finding})
    unknown = [finding for finding in findings if finding not in present]
    if unknown or not findings:
        raise ArgumentError(
            f"findings: {', '.join(unknown) or 'none given'}; image_labels holds "
            f"{', '.join(present) or 'no finding: run `ribline label` first'}."
        )
    images = store.read(
        IMAGES, columns=["image_id", "patient_id", "acquired_datetime", "is_frontal_chest"]
    )
    links = store.read(IMAGE_LINKS, columns=["image_id"], where={"is_chosen": True})
    linked = set(links["image_id"].to_pylist())
    pixels = store.read(IMAGE_PIXELS, columns=["image_id"])
    consensus = consensus_boxes(
        store.read(ANNOTATIONS).to_pylist(), store.read(IMAGE_READINGS).to_pylist()
    )
    return _Facts(
        index_films=choose_index_films(images.to_pylist(), linked),
        linked=linked,
        cached=set(pixels["image_id"].to_pylist()),
        labels=labels,
        consensus=consensus,
        boxed={(row["image_id"], row["finding"]) for row in consensus},
        findings=findings,
        is_one_film_per_patient=is_one_film_per_patient,
    )


def _attrition(store: Store, images: list[Row], facts: _Facts) -> tuple[dict[str, str], list[Row]]:
    """R, P, N or the exclusion reason of each image, and the rows of cohort_flow."""
    steps: list[tuple[str, Callable[[Row], str | None]]] = [
        ("frontal chest films", _view_fault),
        ("with a cached film", lambda image: _cache_fault(image, facts)),
        ("linked to an encounter", lambda image: _link_fault(image, facts)),
        ("one film a patient", lambda image: _repeat_fault(image, facts)),
        ("with a usable label", lambda image: _label_fault(image, facts)),
    ]
    outcomes: dict[str, str] = {}
    quarantined = Counter(
        store.read(QUARANTINE, columns=["reason"], where={"stage": "ingest-images"})[
            "reason"
        ].to_pylist()
    )
    flow = _flow_rows(1, "readable instances of known patients", len(images), quarantined)
    remaining = images
    for number, (step, find_fault) in enumerate(steps, start=2):
        faults = {image["image_id"]: find_fault(image) for image in remaining}
        dropped = Counter(fault for fault in faults.values() if fault is not None)
        outcomes.update((each, fault) for each, fault in faults.items() if fault is not None)
        remaining = [image for image in remaining if faults[image["image_id"]] is None]
        flow += _flow_rows(number, step, len(remaining), dropped)
    for image in remaining:
        outcomes[image["image_id"]] = _subset(image["image_id"], facts)
    return outcomes, flow


def _flow_rows(number: int, step: str, n_kept: int, dropped: Mapping[str, int]) -> list[Row]:
    counts = {"kept": 0, **dict(sorted(dropped.items()))}
    return [
        {
            "step_number": number,
            "step": step,
            "reason": reason,
            "n_kept": n_kept,
            "n_dropped": n_dropped,
        }
        for reason, n_dropped in counts.items()
    ]


def _view_fault(image: Row) -> str | None:
    if image["is_frontal_chest"]:
        return None
    kind = image["selection_reason"].partition(":")[0].partition(" (")[0]
    return f"not a frontal chest film: {kind}"


def _cache_fault(image: Row, facts: _Facts) -> str | None:
    return None if image["image_id"] in facts.cached else "no cached film"


def _link_fault(image: Row, facts: _Facts) -> str | None:
    is_linked = image["image_id"] in facts.linked or image["source"] in PUBLIC_SOURCES
    return None if is_linked else "no encounter near the film"


def _repeat_fault(image: Row, facts: _Facts) -> str | None:
    if not facts.is_one_film_per_patient or image["source"] in PUBLIC_SOURCES:
        return None
    return None if image["image_id"] in facts.index_films else "a later film of the patient"


def _label_fault(image: Row, facts: _Facts) -> str | None:
    """Why an image is none of R, P and N: its labels that are not negative."""
    labels = [facts.labels.get(image["image_id"], {}).get(each) for each in facts.findings]
    if "positive" in labels or set(labels) == {"negative"}:
        return None
    for label in ("excluded", "uncertain"):
        if label in labels:
            return f"a finding is {label} and none is positive"
    return "a finding has no label"


def _subset(image_id: str, facts: _Facts) -> str:
    positives = _positives(image_id, facts)
    if not positives:
        return "N"
    return "R" if any((image_id, finding) in facts.boxed for finding in positives) else "P"


def _positives(image_id: str, facts: _Facts) -> list[str]:
    labels = facts.labels.get(image_id, {})
    return [finding for finding in facts.findings if labels.get(finding) == "positive"]


def _check_classes(kept: list[Row], outcomes: Mapping[str, str], facts: _Facts) -> None:
    advice = "See the attrition in the table cohort_flow of an earlier build, and image_labels."
    if not kept:
        reasons = Counter(outcomes.values()).most_common(3)
        listed = "; ".join(f"{reason}: {n}" for reason, n in reasons) or "there are no images"
        raise CohortError(f"build-cohort: the cohort is empty ({listed}). {advice}")
    positives = Counter(
        finding for image in kept for finding in _positives(image["image_id"], facts)
    )
    for finding in facts.findings:
        if not positives[finding]:
            raise CohortError(
                f"build-cohort: {finding} has no positive image among {len(kept)}. Leave it out "
                f"of the findings, or extract more patients. {advice}"
            )
    if "N" not in {outcomes[image["image_id"]] for image in kept}:
        raise CohortError(
            f"build-cohort: no image is negative for every finding among {len(kept)}. Extract "
            f"patients without the findings too. {advice}"
        )


def _strata(kept: list[Row], outcomes: Mapping[str, str], facts: _Facts) -> dict[str, str]:
    """Stratum of each patient: the first of R, P, N among the images, and their findings."""
    subsets: dict[str, set[str]] = defaultdict(set)
    findings: dict[str, set[str]] = defaultdict(set)
    for image in kept:
        subsets[image["patient_id"]].add(outcomes[image["image_id"]])
        findings[image["patient_id"]].update(_positives(image["image_id"], facts))
    return {
        patient_id: f"{min(found, key=SUBSETS.index)} {'+'.join(sorted(findings[patient_id]))}"
        for patient_id, found in subsets.items()
    }


def _earlier_parts(
    store: Store, configuration: Mapping[str, object], n_folds: int
) -> dict[str, int]:
    """Parts of the last cohort, where it was built with the same arguments."""
    lineage = store.read(LINEAGE, where={"stage": STAGE}).to_pylist()
    newest = max(lineage, key=lambda row: row["commit_version"], default=None)
    if newest is None or newest["configuration_hash"] != configuration_hash(configuration):
        return {}
    splits: dict[str, dict[int, str]] = defaultdict(dict)
    for row in store.read(COHORT, columns=["fold", "patient_id", "split"]).to_pylist():
        if row["split"] is not None:
            splits[row["patient_id"]][row["fold"]] = row["split"]
    parts = {patient_id: part_of(found, n_folds=n_folds) for patient_id, found in splits.items()}
    return {patient_id: part for patient_id, part in parts.items() if part is not None}


def _external_patients(images: list[Row], sources: Sequence[str]) -> set[str]:
    """Patients who are tested on in every fold."""
    present = {image["source"] for image in images}
    for source in sources:
        if source not in present:
            raise CohortError(
                f"external_test_sources: there are no images of {source!r}; there are images of "
                f"{', '.join(sorted(present)) or 'no source'}. Name one of these, or import it "
                "first."
            )
    divided = {image["source"] for image in images if image["published_split"] == "test"}
    return {
        image["patient_id"]
        for image in images
        if image["source"] in sources
        and (image["published_split"] == "test" or image["source"] not in divided)
    }


def _cohort_row(image: Row, outcome: str, part: int | None, fold: int, n_folds: int) -> Row:
    """A row of the cohort; no part means the external test set."""
    is_kept = outcome in SUBSETS
    split = "test" if part is None else split_of(part, fold=fold, n_folds=n_folds)
    return {
        "fold": fold,
        "image_id": image["image_id"],
        "patient_id": image["patient_id"],
        "subset": outcome if is_kept else "excluded",
        "split": split if is_kept else None,
        "exclusion_reason": None if is_kept else outcome,
        "source": image["source"],
    }


def _summary(images: list[Row], outcomes: Mapping[str, str]) -> CohortSummary:
    counts = Counter(outcomes.values())
    excluded = {reason: n for reason, n in counts.most_common() if reason not in SUBSETS}
    return CohortSummary(
        n_images=sum(counts[subset] for subset in SUBSETS),
        n_patients=len(
            {each["patient_id"] for each in images if outcomes[each["image_id"]] in SUBSETS}
        ),
        n_r=counts["R"],
        n_p=counts["P"],
        n_n=counts["N"],
        n_excluded=sum(excluded.values()),
        exclusion_reasons=excluded,
    )
