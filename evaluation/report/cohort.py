"""The report's cohort: its flow from all films to the test result, and who the patients are."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.scored_run import CohortImage, ScoredRun
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import COHORT_FLOW

SPLIT_NAMES = {"train": "Training", "validation": "Validation", "test": "Test"}
_SEX_NAMES = {"F": "women", "M": "men", "O": "other"}
_MOST_LEVELS = 4


@dataclass
class FlowStep:
    """One step of the cohort flow: what is kept, and what was dropped by reason."""

    step: str
    n_kept: int = 0
    dropped: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class SplitBox:
    """One split of the fold with its films of R, P and N."""

    name: str
    n_films: int
    n_patients: int
    subsets: dict[str, int]


@dataclass(frozen=True)
class PatientRow:
    """One characteristic by split; a heading has no values."""

    name: str
    values: list[str]

    @property
    def is_heading(self) -> bool:
        """True for the name of the characteristic above its levels."""
        return not self.values


@dataclass(frozen=True)
class PatientTable:
    """Characteristics of the fold's patients, one column for each split and one for all."""

    columns: list[str]
    rows: list[PatientRow]


def is_synthetic(store: Store, at: int | None) -> bool:
    """True where any image is of the synthetic hospital."""
    rows = store.read(IMAGES, columns=["image_id"], where={"is_synthetic": True}, at=at)
    return bool(rows.num_rows)


def cohort_flow(store: Store, at: int | None) -> list[FlowStep]:
    """Steps of the cohort flow in order."""
    steps: dict[int, FlowStep] = {}
    for row in store.read(COHORT_FLOW, at=at).to_pylist():
        step = steps.setdefault(row["step_number"], FlowStep(row["step"]))
        step.n_kept = max(step.n_kept, row["n_kept"])
        if row["n_dropped"]:
            step.dropped.append((row["reason"], row["n_dropped"]))
    return [steps[number] for number in sorted(steps)]


def split_boxes(run: ScoredRun) -> list[SplitBox]:
    """The fold's splits, as the last branching of the flow before the test."""
    boxes = []
    for split, name in SPLIT_NAMES.items():
        images = [image for image in run.cohort.values() if image.split == split]
        subsets = {part: sum(image.subset == part for image in images) for part in "RPN"}
        boxes.append(SplitBox(name, len(images), _n_patients(images), subsets))
    return boxes


def patient_table(store: Store, run: ScoredRun) -> PatientTable:
    """Characteristics of the fold's patients: number (per cent) or median (quartiles)."""
    details = {row["image_id"]: row for row in store.read(IMAGES, at=run.version).to_pylist()}
    images = list(run.cohort.values())
    groups = [[image for image in images if image.split == split] for split in SPLIT_NAMES]
    groups.append(images)
    shown = [[details.get(image.image_id, {}) for image in group] for group in groups]

    subsets = ("R: positive, boxed", "P: positive, not boxed", "N: negative")
    rows = [
        PatientRow("Patients", [str(_n_patients(group)) for group in groups]),
        PatientRow("Films", [str(len(group)) for group in groups]),
        PatientRow("Age, median (quartiles)", [_quartiles(group) for group in shown]),
        PatientRow("Year of the film", [_range(group, "study_year") for group in shown]),
        PatientRow("Subset of the paper", []),
        *(PatientRow(name, [_subset(group, name[0]) for group in groups]) for name in subsets),
        PatientRow("Positive by record", []),
        *(
            PatientRow(
                finding.replace("_", " ").capitalize(),
                [_positive(run, group, finding) for group in groups],
            )
            for finding in run.findings
        ),
        *_levels("Sex", "sex_code", shown, _SEX_NAMES),
        *_levels("View", "view_position_code", shown, {}),
        *_levels("Modality", "modality_code", shown, {}),
        *_levels("Maker", "manufacturer", shown, {}),
    ]
    return PatientTable([*SPLIT_NAMES.values(), "All"], rows)


def _n_patients(images: Iterable[CohortImage]) -> int:
    return len({image.patient_id for image in images})


def _subset(group: list[CohortImage], subset: str) -> str:
    return _share(sum(image.subset == subset for image in group), len(group))


def _positive(run: ScoredRun, group: list[CohortImage], finding: str) -> str:
    n = sum(run.labels.get((image.image_id, finding)) == "positive" for image in group)
    return _share(n, len(group))


def _share(n: int, n_all: int) -> str:
    return f"{n} ({100 * n / n_all:.0f}\u00a0%)" if n_all else "–"


def _quartiles(rows: list[dict[str, Any]]) -> str:
    ages = [row["age_years"] for row in rows if row.get("age_years") is not None]
    if not ages:
        return "–"
    low, middle, high = np.quantile(ages, [0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f}–{high:.0f})"


def _range(rows: list[dict[str, Any]], name: str) -> str:
    known = [row[name] for row in rows if row.get(name) is not None]
    return f"{min(known)}–{max(known)}" if known else "–"


def _levels(
    title: str, name: str, groups: list[list[dict[str, Any]]], names: dict[str, str]
) -> list[PatientRow]:
    """The most frequent levels, the rest together, and those not recorded."""
    everyone = [row.get(name) for row in groups[-1]]
    known = sorted({value for value in everyone if value is not None})
    known.sort(key=lambda value: -everyone.count(value))
    first, rest = known[:_MOST_LEVELS], set(known[_MOST_LEVELS:])
    rows = [PatientRow(title, [])]
    for level in first:
        counts = [sum(row.get(name) == level for row in group) for group in groups]
        rows.append(_counted(names.get(level, str(level)), counts, groups))
    if rest:
        counts = [sum(row.get(name) in rest for row in group) for group in groups]
        rows.append(_counted("others", counts, groups))
    if None in everyone:
        counts = [sum(row.get(name) is None for row in group) for group in groups]
        rows.append(_counted("not recorded", counts, groups))
    return rows


def _counted(name: str, counts: list[int], groups: list[list[dict[str, Any]]]) -> PatientRow:
    shares = [_share(n, len(group)) for n, group in zip(counts, groups, strict=True)]
    return PatientRow(name, shares)
