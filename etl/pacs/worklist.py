"""What to ask the PACS: identifiers of known patients, out of the restricted id map alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.pacs import PACS_QUERIES
from warehouse_schema.tables.records import IDENTITIES, NOTES, PATIENTS

PullBy = Literal["patients", "accessions", "cohort"]
KEYS = {"patient": "PatientID", "accession": "AccessionNumber", "study": "StudyInstanceUID"}
NEVER = datetime.min.replace(tzinfo=UTC)
# In a query these match other identifiers too, or part it in two (PS3.4, C.2.2.2.4).
WILDCARDS = frozenset("*?\\")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question to the PACS. Identifiers are the hospital's: never log this object.

    Attributes:
        kind: patient, accession or study.
        pseudonym: Pseudonym of the identifier.
        identifier: What is asked for.
        patient_id: Pseudonym of the patient whose studies are wanted.
        patient_identifiers: Patient IDs under which the PACS may keep the patient.
    """

    kind: str
    pseudonym: str
    identifier: str
    patient_id: str
    patient_identifiers: frozenset[str]

    @property
    def keys(self) -> dict[str, str]:
        """The matching key of the question."""
        return {KEYS[self.kind]: self.identifier}

    @property
    def is_unsafe(self) -> bool:
        """True where the identifier would match others too."""
        return bool(WILDCARDS & set(self.identifier))


def plan_queries(*, store: Store, source: str, pull_by: PullBy) -> list[Query]:
    """The questions, those not asked for the longest time first.

    Args:
        store: The store.
        source: Site mapping whose patients these are.
        pull_by: ``patients`` asks for all studies of every patient of the source, ``accessions``
            for those that a matched note reports on, ``cohort`` for the studies of the cohort's
            films by Study Instance UID (where their cache was lost, or has another size).

    Raises:
        ArgumentError: pull_by is another word.
    """
    if pull_by not in get_args(PullBy):
        raise ArgumentError(
            f"pacs_pull_by is {pull_by!r}; allowed are {', '.join(get_args(PullBy))}."
        )
    identities = _identities(store, source)
    wanted = {
        "patients": lambda: _patients(store, source),
        "accessions": lambda: _accessions(store, source),
        "cohort": lambda: _cohort_studies(store, source),
    }[pull_by]()
    by_patient = _patient_identifiers(identities)
    queries = [
        Query(
            kind=kind,
            pseudonym=pseudonym,
            identifier=identifier,
            patient_id=patient_id,
            patient_identifiers=frozenset(by_patient[patient_id]),
        )
        for kind, pseudonym, patient_id in wanted
        for identifier in (
            by_patient[patient_id] if kind == "patient" else identities[kind].get(pseudonym, ())
        )
        if patient_id in by_patient
    ]
    asked = _last_asked(store, source)
    return sorted(
        queries, key=lambda each: (asked.get((each.kind, each.pseudonym), NEVER), each.pseudonym)
    )


def _identities(store: Store, source: str) -> Mapping[str, Mapping[str, list[str]]]:
    """Source identifiers by kind and pseudonym."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in store.read(IDENTITIES, where={"source": source}).to_pylist():
        found[row["kind"]][row["pseudonym"]].append(row["source_identifier"])
    return found


def _patient_identifiers(
    identities: Mapping[str, Mapping[str, list[str]]],
) -> Mapping[str, list[str]]:
    """A source with chart numbers of its own for imaging is asked by those alone."""
    return identities["imaging_patient"] or identities["patient"]


def _patients(store: Store, source: str) -> list[tuple[str, str, str]]:
    rows = store.read(PATIENTS, columns=["patient_id"], where={"source": source}).to_pylist()
    return [("patient", row["patient_id"], row["patient_id"]) for row in rows]


def _accessions(store: Store, source: str) -> list[tuple[str, str, str]]:
    notes = store.read(NOTES, columns=["accession_id", "patient_id"], where={"source": source})
    pairs = {(row["accession_id"], row["patient_id"]) for row in notes.to_pylist()}
    return sorted(("accession", *pair) for pair in pairs if pair[0] is not None)


def _cohort_studies(store: Store, source: str) -> list[tuple[str, str, str]]:
    columns = ["image_id", "patient_id", "study_id"]
    images = store.read(IMAGES, columns=columns, where={"source": source})
    cohort = set(store.read(COHORT, columns=["image_id"])["image_id"].to_pylist())
    chosen = [row for row in images.to_pylist() if row["image_id"] in cohort]
    return sorted({("study", row["study_id"], row["patient_id"]) for row in chosen})


def _last_asked(store: Store, source: str) -> dict[tuple[str, str], datetime]:
    rows = store.read(PACS_QUERIES, where={"source": source}).to_pylist()
    return {(row["kind"], row["pseudonym"]): row["asked_datetime"] for row in rows}
