"""Readings of films as warehouse rows: patients found, pseudonyms given, conflicts set aside."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl.films.dicom_header import HeaderFacts
from etl.films.film_copies import StoredFilm, find_copies
from etl.films.film_reading import FilmReading
from etl.privacy.opt_outs import OptOuts
from etl.pseudonym import Pseudonymizer, shift_datetime
from etl.quarantine import QuarantineList
from etl.records.patient_rows import MAX_AGE_YEARS
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import IDENTITIES, NOTES, PATIENTS

DAYS_PER_YEAR = 365.25
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class KnownPatient:
    """What an image needs to know of its patient; the birth date is shifted."""

    patient_id: str
    shift_days: int
    sex_code: str | None
    birth: datetime | None
    is_over_89: bool
    is_synthetic: bool


class ImageRows:
    """Collects the rows of one ingest.

    Args:
        store: Gives patients, notes' accession numbers and the images there are.
        names: Pseudonyms and shifts of the source.
        quarantine: Takes the files that cannot be used.
        is_patient_required: False makes patients from headers where the warehouse has none.
    """

    def __init__(
        self,
        *,
        store: Store,
        names: Pseudonymizer,
        quarantine: QuarantineList,
        is_patient_required: bool,
    ) -> None:
        self._names = names
        self._quarantine = quarantine
        self._is_patient_required = is_patient_required
        self._known = _known_patients(store, names.source)
        self._owners = _accession_owners(store, names.source)
        self._earlier = _earlier_accessions(store, names.source)
        self._films: dict[str, StoredFilm] = {}
        self._opt_outs = OptOuts(store, names)
        self.n_opted_out = 0
        self.over_89: set[str] = set()
        self.images: dict[str, Row] = {}
        self.sources: dict[str, Row] = {}
        self.new_patients: dict[str, Row] = {}
        self.identities: dict[tuple[str, str], Row] = {}
        self.seen_images: set[str] = set()
        self.seen_keys: set[str] = set()

    def add(self, reading: FilmReading) -> str | None:
        """Take up one reading; the image's id, or None where it was set aside."""
        key = self._key(reading)
        self.seen_keys.add(key)
        facts, fault = reading.facts, reading.fault
        if facts is None or fault is not None:
            self._quarantine.add(key, fault or "no header")
            return None
        if self._opt_outs.holds(facts.patient_identifier):
            self.n_opted_out += 1
            return None
        image_id = self._names.pseudonym("image", facts.sop_instance_uid)
        self.seen_images.add(image_id)
        if image_id in self.images:
            is_same = self.images[image_id]["source_sha256"] == reading.source_sha256
            reason = "the same file again" if is_same else "a second file with the same UID"
            self._quarantine.add(key, reason)
            return None
        patient = self._patient(facts)
        if patient is None:
            missing = facts.patient_identifier is None
            self._quarantine.add(
                key, "no Patient ID" if missing else "the patient is not in the patients table"
            )
            return None
        self._add_image(image_id, reading, facts, patient)
        return image_id

    def settle_accessions(self) -> None:
        """Set aside images whose accession number belongs to more than one patient.

        A report with that number decides whose it is; without one, images of earlier ingests
        do; without either, nobody can tell, and all of the number's images are set aside.
        """
        by_accession: dict[str, set[str]] = defaultdict(set)
        for image in self.images.values():
            if image["accession_id"] is not None:
                by_accession[image["accession_id"]].add(image["patient_id"])
        for image_id, image in list(self.images.items()):
            accession_id = image["accession_id"]
            if accession_id is None:
                continue
            owners = (
                self._owners.get(accession_id)
                or self._earlier_owners(accession_id)
                or by_accession[accession_id]
            )
            if owners != {image["patient_id"]}:
                self._quarantine.add(
                    image["source_sha256"][:16], "two patients with one accession number"
                )
                del self.images[image_id], self.sources[image_id]

    def settle_copies(self) -> None:
        """Leave one frontal film of every exposure; the others keep their rows and say why."""
        films = (self._films[image_id] for image_id in self.images if image_id in self._films)
        for image_id, (kept, evidence) in find_copies(films).items():
            image = self.images[image_id]
            image["is_frontal_chest"] = False
            image["copy_of_image_id"] = kept
            image["selection_reason"] = (
                f"copy: the same exposure as another film, by {evidence}; "
                f"{image['selection_reason']}"
            )

    def _earlier_owners(self, accession_id: str) -> set[str]:
        """Patients of the number's images that this ingest has not read again."""
        entries = self._earlier.get(accession_id, ())
        return {patient for image_id, patient in entries if image_id not in self.seen_images}

    def _add_image(
        self, image_id: str, reading: FilmReading, facts: HeaderFacts, patient: KnownPatient
    ) -> None:
        assert reading.selection is not None
        acquired = shift_datetime(facts.acquired, patient.shift_days)
        age_years = _age(patient, facts, acquired)
        if age_years is not None and age_years >= MAX_AGE_YEARS + 1:
            self.over_89.add(patient.patient_id)
        self.images[image_id] = {
            "image_id": image_id,
            "patient_id": patient.patient_id,
            "source": self._names.source,
            "study_id": self._identify("study", facts.study_uid),
            "series_id": self._identify("series", facts.series_uid),
            "accession_id": self._identify("accession", facts.accession_number),
            "acquired_datetime": acquired,
            "study_year": facts.study_year,
            "age_years": age_years,
            "sex_code": patient.sex_code or facts.sex_code,
            "modality_code": facts.modality or "NONE",
            "view_position_code": reading.selection.view_position or facts.view_position or None,
            "body_part": facts.body_part or None,
            "manufacturer": facts.manufacturer,
            "rows_px": facts.rows_px,
            "columns_px": facts.columns_px,
            "pixel_spacing_mm": facts.pixel_spacing_mm,
            "is_frontal_chest": bool(reading.selection.is_frontal_chest),
            "selection_reason": reading.selection.reason,
            "frontal_check_score": reading.selection.frontal_check_score,
            "copy_of_image_id": None,
            "source_sha256": reading.source_sha256,
            "is_synthetic": facts.is_synthetic or patient.is_synthetic,
        }
        if reading.selection.is_frontal_chest:
            self._films[image_id] = StoredFilm(
                image_id=image_id,
                patient_id=patient.patient_id,
                study_id=self.images[image_id]["study_id"],
                accession_id=self.images[image_id]["accession_id"],
                view=reading.selection.view_position,
                facts=facts,
            )
        self._identify("image", facts.sop_instance_uid)
        self.sources[image_id] = {
            "image_id": image_id,
            "sop_instance_uid": facts.sop_instance_uid,
            "file_path": str(reading.path),
            "source_sha256": reading.source_sha256,
        }

    def _identify(self, kind: str, identifier: str | None) -> str | None:
        if identifier is None:
            return None
        pseudonym = self._names.pseudonym(kind, identifier)
        self.identities[kind, pseudonym] = self._identity(kind, pseudonym, identifier, None)
        return pseudonym

    def _identity(self, kind: str, pseudonym: str, identifier: str, shift: int | None) -> Row:
        return {
            "kind": kind,
            "pseudonym": pseudonym,
            "source": self._names.source,
            "source_identifier": identifier,
            "date_shift_days": shift,
        }

    def _key(self, reading: FilmReading) -> str:
        if reading.source_sha256:
            return reading.source_sha256[:16]
        return self._names.pseudonym("row", str(reading.path))

    def _patient(self, facts: HeaderFacts) -> KnownPatient | None:
        identifier = facts.patient_identifier
        if identifier is None:
            return None
        if identifier not in self._known and not self._is_patient_required:
            self._known[identifier] = self._make_patient(identifier, facts)
        return self._known.get(identifier)

    def _make_patient(self, identifier: str, facts: HeaderFacts) -> KnownPatient:
        patient_id = self._names.pseudonym("patient", identifier)
        shift_days = self._names.date_shift_days(identifier)
        is_over = (
            facts.birth is not None
            and facts.acquired is not None
            and (facts.acquired - facts.birth).days / DAYS_PER_YEAR > MAX_AGE_YEARS + 1
        ) or (facts.age_years or 0) > MAX_AGE_YEARS
        patient = KnownPatient(
            patient_id=patient_id,
            shift_days=shift_days,
            sex_code=facts.sex_code,
            birth=None if is_over else shift_datetime(facts.birth, shift_days),
            is_over_89=is_over,
            is_synthetic=facts.is_synthetic,
        )
        self.new_patients[patient_id] = {
            "patient_id": patient_id,
            "source": self._names.source,
            "sex_code": patient.sex_code,
            "birth_datetime": patient.birth,
            "is_over_89": patient.is_over_89,
            "is_synthetic": patient.is_synthetic,
        }
        self.identities["patient", patient_id] = self._identity(
            "patient", patient_id, identifier, shift_days
        )
        return patient


def _known_patients(store: Store, source: str) -> dict[str, KnownPatient]:
    """Patients of the source by the Patient ID that DICOM headers carry."""
    rows = {
        row["patient_id"]: row for row in store.read(PATIENTS, where={"source": source}).to_pylist()
    }
    identities = store.read(IDENTITIES, where={"source": source}).to_pylist()
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for identity in identities:
        by_kind[identity["kind"]].append(identity)
    known = {}
    # A source with chart numbers of its own for imaging is found by those alone.
    for identity in by_kind["imaging_patient"] or by_kind["patient"]:
        row = rows.get(identity["pseudonym"])
        if row is not None:
            known[identity["source_identifier"]] = KnownPatient(
                patient_id=row["patient_id"],
                shift_days=identity["date_shift_days"],
                sex_code=row["sex_code"],
                birth=row["birth_datetime"],
                is_over_89=row["is_over_89"],
                is_synthetic=row["is_synthetic"],
            )
    return known


def _accession_owners(store: Store, source: str) -> dict[str, set[str]]:
    notes = store.read(NOTES, columns=["accession_id", "patient_id"], where={"source": source})
    owners: dict[str, set[str]] = defaultdict(set)
    for row in notes.to_pylist():
        if row["accession_id"] is not None:
            owners[row["accession_id"]].add(row["patient_id"])
    return owners


def _earlier_accessions(store: Store, source: str) -> dict[str, list[tuple[str, str]]]:
    images = store.read(
        IMAGES, columns=["image_id", "accession_id", "patient_id"], where={"source": source}
    )
    entries: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in images.to_pylist():
        if row["accession_id"] is not None:
            entries[row["accession_id"]].append((row["image_id"], row["patient_id"]))
    return entries


def _age(patient: KnownPatient, facts: HeaderFacts, acquired: datetime | None) -> float | None:
    if patient.is_over_89:
        return 90.0
    if patient.birth is not None and acquired is not None and acquired >= patient.birth:
        years = (acquired - patient.birth).days / DAYS_PER_YEAR
    elif facts.age_years is not None:
        years = facts.age_years
    else:
        return None
    # Over 89 is 90 and more; rounding must not name an age of its own between them.
    return 90.0 if years >= MAX_AGE_YEARS + 1 else min(round(years, 1), 89.9)
