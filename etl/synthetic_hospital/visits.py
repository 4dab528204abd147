"""When a patient comes to the hospital, why, and what is imaged there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from etl.synthetic_hospital.film import FractureRequest
from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.population import PatientTruth
from etl.synthetic_hospital.record_quality import RecordQuality

FIRST_DAY = datetime(2008, 1, 1)  # noqa: DTZ001 - the hospital's wall clock, as in its tables
LAST_DAY = datetime(2016, 12, 31, 23, 59)  # noqa: DTZ001
_N_TRAUMA_DAYS = (LAST_DAY - FIRST_DAY).days

_ADMITTED = {"rib": 0.5, "clavicle": 0.35, "both": 0.75}
_EXAM_NAMES = {
    "CXR": "Chest X-ray",
    "CXRP": "Chest X-ray, portable",
    "KUB": "Abdomen, plain film",
    "CTCHEST": "CT chest without contrast",
}


@dataclass(frozen=True, kw_only=True)
class ImagingOrder:
    """One radiology order: a study. projections are its films, none for a CT."""

    accession_no: str
    exam_code: str
    ordered_at: datetime
    performed_at: datetime
    projections: tuple[str, ...]
    shown: tuple[FractureRequest, ...]
    has_images: bool

    @property
    def exam_name(self) -> str:
        """The exam in words."""
        return _EXAM_NAMES[self.exam_code]

    @property
    def is_chest_film(self) -> bool:
        """True for a plain film of the chest."""
        return self.exam_code in ("CXR", "CXRP")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One visit. purpose: trauma_emergency, trauma_inpatient, follow_up, earlier or later.

    states gives each finding's truth at the visit: acute, healing, old or none.
    """

    visit_no: str
    purpose: str
    visit_type: str
    department: str
    start: datetime
    end: datetime
    orders: tuple[ImagingOrder, ...]
    states: dict[str, str]

    @property
    def is_trauma(self) -> bool:
        """True for the visits of the trauma itself."""
        return self.purpose in ("trauma_emergency", "trauma_inpatient")


@dataclass
class _Planner:
    rng: np.random.Generator
    truth: PatientTruth
    quality: RecordQuality
    n_visits: int = 0
    n_orders: int = 0

    def visit(
        self, purpose: str, visit_type: str, department: str, start: datetime, end: datetime
    ) -> Visit:
        number = f"{visit_type}{self.truth.patient_index:07d}{self.n_visits:02d}"
        self.n_visits += 1
        return Visit(
            visit_no=number,
            purpose=purpose,
            visit_type=visit_type,
            department=department,
            start=start,
            end=end,
            orders=tuple(self.orders(purpose, start, end)),
            states={finding: _state(self.truth, finding, purpose) for finding in FINDINGS},
        )

    def orders(self, purpose: str, start: datetime, end: datetime) -> list[ImagingOrder]:
        rng, quality, orders = self.rng, self.quality, []
        first = start + timedelta(minutes=int(rng.integers(8, 60)))
        if purpose == "trauma_emergency":
            orders.append(self.chest_film(purpose, first))
            ct_rate = quality.ct_if_positive if self.truth.acute else quality.ct_if_negative
            if rng.random() < ct_rate:
                delay = timedelta(minutes=int(rng.integers(25, 180)))
                orders.append(self.order("CTCHEST", first + delay, (), purpose))
            if rng.random() < quality.image_abdomen:
                orders.append(self.order("KUB", first, ("ABDOMEN",), purpose))
        second = {
            "trauma_inpatient": quality.image_second * 2,
            "follow_up": quality.image_follow_up,
            "trauma_emergency": 0.0,
        }.get(purpose, quality.image_unrelated)
        if rng.random() < second:
            into = (end - start) * float(rng.uniform(0.05, 0.9))
            orders.append(self.chest_film(purpose, start + into))
        return orders

    def chest_film(self, purpose: str, ordered_at: datetime) -> ImagingOrder:
        is_portable = self.rng.random() < (0.5 if purpose.startswith("trauma") else 0.08)
        projections: tuple[str, ...] = ("AP",) if is_portable else ("PA",)
        if not is_portable and self.rng.random() < 2 * self.quality.image_lateral:
            projections = ("PA", "LATERAL")
        return self.order("CXRP" if is_portable else "CXR", ordered_at, projections, purpose)

    def order(
        self, exam_code: str, ordered_at: datetime, projections: tuple[str, ...], purpose: str
    ) -> ImagingOrder:
        rng = self.rng
        number = f"R{self.truth.patient_index:07d}{self.n_orders:02d}"
        self.n_orders += 1
        performed_at = ordered_at + timedelta(seconds=int(rng.integers(240, 2400)))
        return ImagingOrder(
            accession_no=number,
            exam_code=exam_code,
            ordered_at=ordered_at.replace(second=0, microsecond=0),
            performed_at=performed_at.replace(microsecond=0),
            projections=projections,
            shown=_shown(self.truth, purpose),
            has_images=bool(projections) and rng.random() >= self.quality.image_missing,
        )


def draw_trauma_datetime(rng: np.random.Generator) -> datetime:
    """Start of the trauma visit: any day from 2008 to 2016, rarely in the small hours."""
    day = FIRST_DAY + timedelta(days=int(rng.integers(_N_TRAUMA_DAYS)))
    hour = float(np.clip(rng.normal(15.0, 5.0), 0.1, 23.8))
    return day + timedelta(minutes=int(hour * 60))


def plan_visits(
    rng: np.random.Generator,
    *,
    truth: PatientTruth,
    trauma_start: datetime,
    quality: RecordQuality,
    is_seriously_injured: bool,
) -> list[Visit]:
    """All visits of a patient in order of time, with their imaging."""
    planner = _Planner(rng, truth, quality)
    visits = _earlier_visits(planner, trauma_start)
    trauma_end = trauma_start + timedelta(minutes=int(rng.integers(120, 1200)))
    visits.append(planner.visit("trauma_emergency", "E", "ER", trauma_start, trauma_end))
    leaving = trauma_end
    if rng.random() < _admission_rate(truth, is_seriously_injured):
        leaving = trauma_end + timedelta(hours=int(rng.integers(36, 290)))
        visits.append(planner.visit("trauma_inpatient", "I", "TRAUMA", trauma_end, leaving))
    if rng.random() < (0.6 if truth.acute else 0.25):
        visits.append(_clinic_visit(planner, "follow_up", leaving, int(rng.integers(7, 61))))
    if rng.random() < 0.15:
        visits.append(_clinic_visit(planner, "later", leaving, int(rng.integers(180, 1600))))
    return [visit for visit in visits if visit.start <= LAST_DAY]


def _earlier_visits(planner: _Planner, trauma_start: datetime) -> list[Visit]:
    if planner.rng.random() >= 0.22:
        return []
    days_before = int(planner.rng.integers(60, 1800))
    if trauma_start - timedelta(days=days_before) < FIRST_DAY + timedelta(days=1):
        return []
    return [_clinic_visit(planner, "earlier", trauma_start, -days_before)]


def _clinic_visit(planner: _Planner, purpose: str, anchor: datetime, days: int) -> Visit:
    hour = int(planner.rng.integers(9, 17))
    start = (anchor + timedelta(days=days)).replace(hour=hour, minute=int(planner.rng.integers(60)))
    department = "TRAUMA" if purpose == "follow_up" else "MED"
    return planner.visit(purpose, "O", department, start, start + timedelta(minutes=90))


def _admission_rate(truth: PatientTruth, is_seriously_injured: bool) -> float:
    return max(_ADMITTED.get(truth.group, 0.07), 0.85 if is_seriously_injured else 0.0)


def _state(truth: PatientTruth, finding: str, purpose: str) -> str:
    if truth.acute_of(finding) and purpose != "earlier":
        if purpose.startswith("trauma"):
            return "acute"
        return "healing" if purpose == "follow_up" else "old"
    return "old" if truth.old_of(finding) else "none"


def _shown(truth: PatientTruth, purpose: str) -> tuple[FractureRequest, ...]:
    """What a film of a visit shows: new fractures in the trauma, healed ones after it."""
    if purpose == "earlier":
        return truth.old
    if purpose.startswith("trauma"):
        return truth.acute + truth.old
    healed = tuple(
        FractureRequest(
            finding=one.finding,
            side=one.side,
            rib_number=one.rib_number,
            severity=one.severity,
            is_old=True,
        )
        for one in truth.acute
    )
    return healed + truth.old
