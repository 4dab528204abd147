"""Hospital database to warehouse: patients, encounters, diagnoses and keyword-matched notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from etl.ages import known_over_89, without_birth
from etl.opt_outs import OptOuts
from etl.pseudonym import Pseudonymizer
from etl.quarantine import QuarantineList
from etl.records import RecordReader, Row
from etl.site_mapping import SiteMapping, load_site_mapping
from etl.source_database import Batch, Section, SourceDatabase
from warehouse_schema.commit import Commit
from warehouse_schema.errors import SourceError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES, NOTES, PATIENTS

STAGE = "extract"


@dataclass(frozen=True, kw_only=True)
class ExtractionSummary:
    """What one extraction read and kept.

    Attributes:
        n_patients: Patients.
        n_encounters: Encounters.
        n_diagnoses: Diagnosis rows.
        n_notes_read: Notes that the keyword pattern was tried on.
        n_notes: Notes kept because it matched.
        n_quarantined: Rows set aside.
        n_opted_out: Patients whom the source still names and who have opted out.
        quarantine_reasons: How many for each reason.
    """

    n_patients: int
    n_encounters: int
    n_diagnoses: int
    n_notes_read: int
    n_notes: int
    n_quarantined: int
    n_opted_out: int = 0
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


def extract_records(
    *,
    store: Store,
    database_url: str,
    site_mapping: SiteMapping | str,
    keyword_pattern: str,
    pseudonym_key: bytes | str,
    progress: Progress = SILENT,
) -> ExtractionSummary:
    """Read a hospital database into the warehouse, replacing what it had of this site.

    Everything is read and checked first and published by one commit: a failure leaves the
    warehouse as it was.

    Args:
        store: The store.
        database_url: SQLAlchemy URL of the hospital database; a read-only user suffices.
        site_mapping: The site, or the name or path of its mapping.
        keyword_pattern: RE2 pattern; only notes in which it is found are kept.
        pseudonym_key: Secret of the pseudonyms, at least 16 bytes.
        progress: Listener.

    Raises:
        SourceError: The database cannot be read, lacks a table or column that the mapping
            names, or has no readable patient.
        ConfigurationError: The mapping, pattern or key is malformed.
    """
    mapping = load_site_mapping(site_mapping) if isinstance(site_mapping, str) else site_mapping
    names = Pseudonymizer(key=pseudonym_key, source=mapping.name)
    quarantine = QuarantineList(stage=STAGE, source=mapping.name)
    opt_outs = OptOuts(store, names)
    reader = RecordReader(
        mapping=mapping, pseudonymizer=names, quarantine=quarantine, opt_outs=opt_outs
    )
    with SourceDatabase(database_url=database_url, mapping=mapping) as database:
        tables, n_notes_read = _read_all(database, mapping, reader, keyword_pattern, progress)
    if not tables[PATIENTS.name].num_rows:
        raise SourceError(
            f"Site mapping {mapping.name}: table {mapping.patients.table} holds no readable "
            f"patient ({len(quarantine)} rows were unreadable). Nothing was written; check that "
            "database_url points at the right database."
        )
    configuration = {"site_mapping": mapping.model_dump(), "keyword_pattern": keyword_pattern}
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        over_89 = known_over_89(commit, mapping.name)
        tables[PATIENTS.name] = without_birth(tables[PATIENTS.name], over_89)
        for table in (PATIENTS, ENCOUNTERS, DIAGNOSES, NOTES):
            commit.replace(table, tables[table.name], where={"source": mapping.name})
        _write_identities(commit, mapping.name, reader)
        opt_outs.write_aliases(commit)
        quarantine.replace_in(commit)
    return ExtractionSummary(
        n_patients=tables[PATIENTS.name].num_rows,
        n_encounters=tables[ENCOUNTERS.name].num_rows,
        n_diagnoses=tables[DIAGNOSES.name].num_rows,
        n_notes_read=n_notes_read,
        n_notes=tables[NOTES.name].num_rows,
        n_quarantined=len(quarantine),
        n_opted_out=opt_outs.n_met,
        quarantine_reasons=quarantine.reasons,
    )


def _read_all(
    database: SourceDatabase,
    mapping: SiteMapping,
    reader: RecordReader,
    keyword_pattern: str,
    progress: Progress,
) -> tuple[dict[str, pa.Table], int]:
    """All rows of the site by table name, and the number of notes read."""
    sections = [(mapping.patients, "patients"), (mapping.encounters, "encounters")]
    sections += [(each, f"diagnoses[{n}]") for n, each in enumerate(mapping.diagnoses)]
    sections += [(each, f"notes[{n}]") for n, each in enumerate(mapping.notes)]
    for section, key in sections:
        database.check(section, key)
    n_notes = sum(database.count_rows(section) for section in mapping.notes)
    n_others = sum(database.count_rows(section) for section, _ in sections) - n_notes
    progress.start(STAGE, n_others + n_notes)

    def batches(section: Section, order_by: str | None) -> Iterator[Batch]:
        for batch in database.stream(section, order_by=order_by):
            yield batch
            progress.advance(len(next(iter(batch.values()))))

    for batch in batches(mapping.patients, mapping.patients.patient):
        reader.read_patients(mapping.patients, batch)
    encounters = _collect(
        ENCOUNTERS,
        batches(mapping.encounters, mapping.encounters.encounter),
        partial(reader.read_encounters, mapping.encounters),
    )
    tables = {
        PATIENTS.name: pa.Table.from_pylist(list(reader.patient_rows()), schema=PATIENTS.schema),
        ENCOUNTERS.name: encounters,
        DIAGNOSES.name: DIAGNOSES.schema.empty_table(),
        NOTES.name: NOTES.schema.empty_table(),
    }
    for diagnosis in mapping.diagnoses:
        rows = _collect(
            DIAGNOSES,
            batches(diagnosis, diagnosis.diagnosis or diagnosis.patient),
            partial(reader.read_diagnoses, diagnosis),
        )
        tables[DIAGNOSES.name] = pa.concat_tables([tables[DIAGNOSES.name], rows])
    for note in mapping.notes:
        rows = _collect(
            NOTES,
            batches(note, note.note),
            partial(reader.read_notes, note, keyword_pattern=keyword_pattern),
        )
        tables[NOTES.name] = pa.concat_tables([tables[NOTES.name], rows])
    progress.finish()
    return tables, n_notes


def _collect(
    table: Table, batches: Iterable[Batch], read: Callable[[Batch], Iterator[Row]]
) -> pa.Table:
    """Rows of all batches, turned into Arrow batch by batch to bound memory."""
    parts = [pa.Table.from_pylist(list(read(batch)), schema=table.schema) for batch in batches]
    return pa.concat_tables([table.schema.empty_table(), *parts])


def _write_identities(commit: Commit, source: str, reader: RecordReader) -> None:
    """Write the id map of this extraction; accessions stay, images may still need them."""

    def rows(kind: str, entries: Iterable[tuple[str, str, int | None]]) -> pa.Table:
        return pa.Table.from_pylist(
            [
                {
                    "kind": kind,
                    "pseudonym": pseudonym,
                    "source": source,
                    "source_identifier": identifier,
                    "date_shift_days": shift,
                }
                for pseudonym, identifier, shift in entries
            ],
            schema=IDENTITIES.schema,
        )

    patients = reader.patients
    by_kind = {
        "patient": ((each.patient_id, name, each.shift_days) for name, each in patients.items()),
        "imaging_patient": (
            (each.patient_id, each.imaging_identifier, each.shift_days)
            for each in patients.values()
            if each.imaging_identifier is not None
        ),
        "encounter": ((each.encounter_id, name, None) for name, each in reader.encounters.items()),
        "note": ((pseudonym, name, None) for pseudonym, name in reader.notes.items()),
    }
    for kind, entries in by_kind.items():
        commit.replace(IDENTITIES, rows(kind, entries), where={"source": source, "kind": kind})
    accessions = ((pseudonym, name, None) for pseudonym, name in reader.accessions.items())
    commit.upsert(IDENTITIES, rows("accession", accessions))
