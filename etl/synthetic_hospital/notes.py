"""The notes of a patient's visits: who writes what when, in which version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from etl.synthetic_hospital.clinical_text import (
    clinic_text,
    discharge_text,
    nurse_text,
    physician_text,
    triage_text,
    unrelated_text,
)
from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.note_writer import NoteWriter, Statement, visit_context
from etl.synthetic_hospital.people import Person
from etl.synthetic_hospital.population import PatientTruth
from etl.synthetic_hospital.readings import EpisodeBelief
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.report_text import (
    addendum_text,
    chest_film_report,
    other_imaging_report,
)
from etl.synthetic_hospital.visits import ImagingOrder, Visit


@dataclass(frozen=True, kw_only=True)
class Note:
    """One version of one note, with what it states."""

    document_no: str
    version_no: int
    visit_no: str
    note_kind: str
    status: str
    accession_no: str | None
    author_code: str
    written_at: datetime
    signed_at: datetime | None
    text: str
    statements: tuple[Statement, ...]

    @property
    def note_no(self) -> str:
        """The row's own number."""
        return f"{self.document_no}-{self.version_no}"


@dataclass(frozen=True)
class _Sheet:
    """Which version of which document, and when."""

    document_no: str
    version_no: int
    status: str
    written_at: datetime
    accession_no: str | None


@dataclass
class NoteFile:
    """Writes all notes of one patient."""

    rng: np.random.Generator
    person: Person
    truth: PatientTruth
    quality: RecordQuality
    n_documents: int = 0

    def notes_of(self, visit: Visit, belief: EpisodeBelief) -> Iterator[Note]:
        """The notes of a visit in the order in which they are begun."""
        context = visit_context(self.rng, person=self.person, truth=self.truth, visit=visit)
        if visit.purpose == "trauma_emergency":
            yield self._clinical(visit, context, "TRIAGE", 0.01, triage_text)
        for order in visit.orders:
            yield from self._reports(visit, context, order, belief)
        yield from self._physician_notes(visit, context, belief)

    def _physician_notes(
        self, visit: Visit, context: Mapping[str, str], belief: EpisodeBelief
    ) -> Iterator[Note]:
        quality, known = self.quality, belief.is_known
        if visit.purpose == "trauma_emergency":
            if self.rng.random() >= quality.physician_note_missing:
                reading = _film_reading(visit, belief)
                yield self._clinical(
                    visit, context, "ER", 0.6, lambda writer: physician_text(writer, reading, known)
                )
        elif visit.purpose == "trauma_inpatient":
            yield self._clinical(visit, context, "NURSE", 0.4, nurse_text)
            if self.rng.random() >= quality.discharge_missing:
                yield self._clinical(
                    visit, context, "DISCH", 1.0, lambda writer: discharge_text(writer, known)
                )
        elif visit.purpose == "follow_up":
            yield self._clinical(
                visit, context, "OPD", 0.8, lambda writer: clinic_text(writer, known)
            )
        else:
            yield self._clinical(
                visit, context, "OPD", 0.8, lambda writer: unrelated_text(writer, known)
            )

    def _clinical(
        self,
        visit: Visit,
        context: Mapping[str, str],
        note_kind: str,
        part_of_visit: float,
        write: Callable[[NoteWriter], str],
    ) -> Note:
        writer = self._writer(visit, context)
        written_at = visit.start + (visit.end - visit.start) * part_of_visit
        sheet = _Sheet(self._next_document(), 1, "final", written_at.replace(microsecond=0), None)
        return self._note(writer, note_kind, write(writer), sheet)

    def _reports(
        self,
        visit: Visit,
        context: Mapping[str, str],
        order: ImagingOrder,
        belief: EpisodeBelief,
    ) -> Iterator[Note]:
        quality, reading = self.quality, belief.readings[order.accession_no]
        is_missing, early, wrong, retracted = (float(one) for one in self.rng.random(4))
        if is_missing < quality.report_missing:
            return
        versions = [*self._early_versions(order, reading, early, wrong)]
        is_amended = any(status == "final" for status, _ in versions)
        versions.append(("amended" if is_amended else "final", reading))
        if retracted < quality.report_retracted:
            versions.append(("retracted", reading))
        document = self._next_document()
        written_at = order.performed_at + timedelta(minutes=int(self.rng.integers(10, 1500)))
        for version, (status, said) in enumerate(versions, 1):
            sheet = _Sheet(document, version, status, written_at, order.accession_no)
            yield self._report(visit, context, order, said, sheet)
            written_at += timedelta(minutes=int(self.rng.integers(30, 900)))
        yield from self._addendum(visit, context, order, belief, written_at)

    def _early_versions(
        self, order: ImagingOrder, reading: Mapping[str, str], early: float, wrong: float
    ) -> Iterator[tuple[str, Mapping[str, str]]]:
        """A version meant for another patient, or a resident's; at most one of them."""
        if not order.is_chest_film:
            return
        if wrong < self.quality.report_wrong_patient:
            yield "final", {finding: _swapped(reading[finding]) for finding in FINDINGS}
        elif early < self.quality.report_preliminary:
            is_missed = self.rng.random() < self.quality.preliminary_missed
            yield (
                "preliminary",
                {
                    finding: "none" if is_missed and one == "present" else one
                    for finding, one in reading.items()
                },
            )

    def _report(
        self,
        visit: Visit,
        context: Mapping[str, str],
        order: ImagingOrder,
        reading: Mapping[str, str],
        sheet: _Sheet,
    ) -> Note:
        writer = self._writer(visit, context)
        if order.is_chest_film:
            text, kind = chest_film_report(writer, order, reading), "CXR"
        else:
            text = other_imaging_report(writer, order, reading)
            kind = "CT" if order.exam_code == "CTCHEST" else "XR"
        if sheet.status == "amended":
            text = f"{writer.line('amendment_opening_en')}\n{text}".strip()
        return self._note(writer, kind, text, sheet)

    def _addendum(
        self,
        visit: Visit,
        context: Mapping[str, str],
        order: ImagingOrder,
        belief: EpisodeBelief,
        reported_at: datetime,
    ) -> Iterator[Note]:
        """After a CT that showed what this film's report had missed."""
        missed = [
            finding
            for finding in FINDINGS
            if visit.states[finding] == "acute"
            and belief.readings[order.accession_no][finding] == "absent"
            and any(one[finding] == "present" for one in belief.readings.values())
        ]
        is_due = order.is_chest_film and bool(missed)
        if not is_due or self.rng.random() >= self.quality.addendum_after_ct:
            return
        writer = self._writer(visit, context)
        written_at = reported_at + timedelta(hours=int(self.rng.integers(2, 30)))
        sheet = _Sheet(self._next_document(), 1, "final", written_at, order.accession_no)
        yield self._note(writer, "ADDEND", addendum_text(writer, missed), sheet)

    def _writer(self, visit: Visit, context: Mapping[str, str]) -> NoteWriter:
        return NoteWriter(
            rng=self.rng,
            person=self.person,
            truth=self.truth,
            visit=visit,
            quality=self.quality,
            context=context,
        )

    def _note(self, writer: NoteWriter, kind: str, text: str, sheet: _Sheet) -> Note:
        is_signed = sheet.status != "preliminary"
        return Note(
            document_no=sheet.document_no,
            version_no=sheet.version_no,
            visit_no=writer.visit.visit_no,
            note_kind=kind,
            status=sheet.status,
            accession_no=sheet.accession_no,
            author_code=f"D{100 + int(self.rng.random() * 80)}",
            written_at=sheet.written_at,
            signed_at=sheet.written_at + timedelta(minutes=5) if is_signed else None,
            text=writer.finish(text),
            statements=tuple(writer.statements),
        )

    def _next_document(self) -> str:
        number = f"N{self.truth.patient_index:07d}{self.n_documents:03d}"
        self.n_documents += 1
        return number


def _film_reading(visit: Visit, belief: EpisodeBelief) -> Mapping[str, str]:
    """The reading of the visit's first chest film."""
    first = next(order for order in visit.orders if order.is_chest_film)
    return belief.readings[first.accession_no]


def _swapped(reading: str) -> str:
    return "present" if reading in ("absent", "none") else "absent"
