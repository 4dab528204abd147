"""One patient of the hospital: rows of its database, the films to render, and the truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from etl.synthetic_hospital.coding import DiagnosisRow, code_visit
from etl.synthetic_hospital.conditions import load_injuries
from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.imaging import PlannedInstance, plan_instances
from etl.synthetic_hospital.notes import Note, NoteFile
from etl.synthetic_hospital.people import Person, draw_person
from etl.synthetic_hospital.population import PatientTruth, draw_truth
from etl.synthetic_hospital.readings import EpisodeBelief, read_episode
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.visits import Visit, draw_trauma_datetime, plan_visits

_REPORT_EVIDENCE = {
    "CXR": "chest_film_report",
    "CT": "other_imaging_report",
    "XR": "other_imaging_report",
}
_HELD_STATUSES = ("final", "amended")


@dataclass(frozen=True, kw_only=True)
class PatientRecords:
    """Everything the hospital knows about a patient, and what is true."""

    person: Person
    truth: PatientTruth
    visits: list[Visit]
    diagnoses: list[tuple[Visit, DiagnosisRow]] = field(default_factory=list)
    notes: list[tuple[Visit, Note]] = field(default_factory=list)
    instances: list[PlannedInstance] = field(default_factory=list)

    def evidence(self, visit_no: str) -> dict[str, tuple[str, ...]]:
        """By finding, the kinds of evidence for a new fracture in the visit or its trauma."""
        linked = {visit.visit_no for visit in self._linked(visit_no)}
        found: dict[str, set[str]] = {finding: set() for finding in FINDINGS}
        for visit, row in self.diagnoses:
            if visit.visit_no in linked and row.is_acute_code_of is not None:
                found[row.is_acute_code_of].add("code")
        latest = _latest_versions(note for visit, note in self.notes if visit.visit_no in linked)
        for note in latest:
            for statement in note.statements:
                if statement.kind == "present":
                    kind = _REPORT_EVIDENCE.get(note.note_kind, "clinical_text")
                    found[statement.finding].add(kind)
        return {finding: tuple(sorted(kinds)) for finding, kinds in found.items()}

    def _linked(self, visit_no: str) -> list[Visit]:
        own = next(visit for visit in self.visits if visit.visit_no == visit_no)
        if not own.is_trauma:
            return [own]
        return [visit for visit in self.visits if visit.is_trauma]


def make_patient(
    *, seed: int, patient_index: int, group: str, quality: RecordQuality
) -> PatientRecords:
    """A patient by seed and index alone; each part draws from a stream of its own."""
    streams = [np.random.default_rng([seed, patient_index, part]) for part in range(10, 15)]
    truth_rng, person_rng, visit_rng, belief_rng, record_rng = streams
    injuries = load_injuries()
    truth = draw_truth(
        truth_rng,
        patient_index=patient_index,
        group=group,
        injury_weights={name: one.weight for name, one in injuries.items()},
    )
    trauma_start = draw_trauma_datetime(visit_rng)
    person = draw_person(
        person_rng, patient_index=patient_index, seed=seed, trauma_date=trauma_start.date()
    )
    visits = plan_visits(
        visit_rng,
        truth=truth,
        trauma_start=trauma_start,
        quality=quality,
        is_seriously_injured=any(injuries[name].is_admitted for name in truth.injuries),
    )
    records = PatientRecords(person=person, truth=truth, visits=visits)
    _write_down(records, belief_rng, record_rng, quality)
    for visit in visits:
        records.instances.extend(
            plan_instances(
                seed=seed,
                patient_index=patient_index,
                person=person,
                visit=visit,
                quality=quality,
            )
        )
    return records


def _write_down(
    records: PatientRecords,
    belief_rng: np.random.Generator,
    record_rng: np.random.Generator,
    quality: RecordQuality,
) -> None:
    truth, visits = records.truth, records.visits
    trauma_visits = [visit for visit in visits if visit.is_trauma]
    trauma = read_episode(belief_rng, truth=truth, visits=trauma_visits, quality=quality)
    file = NoteFile(rng=record_rng, person=records.person, truth=truth, quality=quality)
    for visit in visits:
        belief = trauma
        if not visit.is_trauma:
            own = read_episode(belief_rng, truth=truth, visits=[visit], quality=quality)
            belief = EpisodeBelief(readings=own.readings, is_known=trauma.is_known)
        rows = code_visit(
            record_rng, visit=visit, truth=truth, is_known=belief.is_known, quality=quality
        )
        records.diagnoses.extend((visit, row) for row in rows)
        records.notes.extend((visit, note) for note in file.notes_of(visit, belief))


def _latest_versions(notes: Iterable[Note]) -> list[Note]:
    latest: dict[str, Note] = {}
    for note in notes:
        known = latest.get(note.document_no)
        if known is None or note.version_no > known.version_no:
            latest[note.document_no] = note
    return [note for note in latest.values() if note.status in _HELD_STATUSES]
