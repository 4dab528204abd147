"""Hospital database to warehouse: patients, encounters, diagnoses and keyword-matched notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from etl.privacy.opt_outs import OptOuts
from etl.pseudonym import Pseudonymizer
from etl.records.ages import known_over_89, without_birth
from etl.records.changed_records import ChangedRecords, SourceMovedError, read_changed_records
from etl.records.record_collection import STAGE, RecordCollection
from etl.records.site_mapping import SiteMapping, load_site_mapping
from etl.records.source_database import SourceDatabase
from etl.records.source_rows import PRIMARY_KEYS
from warehouse_schema.commit import Commit
from warehouse_schema.errors import SourceError, WarehouseError
from warehouse_schema.manifest import configuration_hash
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.records import (
    DIAGNOSES,
    ENCOUNTERS,
    IDENTITIES,
    NOTES,
    PATIENTS,
    SOURCE_ROWS,
)
from warehouse_schema.tables.runs import QUARANTINE

RECORD_TABLES = {
    "patients": PATIENTS,
    "encounters": ENCOUNTERS,
    "diagnoses": DIAGNOSES,
    "notes": NOTES,
}
# Kinds in the id map that go with their rows, by the sections that give them.
SECTION_KINDS = {
    "patient": "patients",
    "imaging_patient": "patients",
    "encounter": "encounters",
    "note": "notes",
}
# Raised where a change of the code makes other rows of the same source.
READER_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ExtractionSummary:
    """What one extraction read, and what the warehouse holds of the site afterwards.

    Attributes:
        mode: full, or incremental where only what differs from the last extraction was read.
        n_rows_changed: Source rows that came, went or were amended since the last extraction.
        n_patients: Patients.
        n_encounters: Encounters.
        n_diagnoses: Diagnosis rows.
        n_notes_read: Notes that the keyword pattern was tried on this time.
        n_notes: Notes kept because it matched.
        n_quarantined: Rows set aside.
        n_opted_out: Patients whom the source still names and who have opted out.
        quarantine_reasons: How many for each reason.
    """

    mode: str
    n_rows_changed: int
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
    is_full: bool = False,
    progress: Progress = SILENT,
) -> ExtractionSummary:
    """Bring what the warehouse has of a site up to what the hospital database holds now.

    Everything is read and checked first and published by one commit: a failure leaves the
    warehouse as it was. The first extraction, and one with another mapping, pattern or key, reads
    everything; any other only what differs. Both give the same tables.

    Args:
        store: The store.
        database_url: SQLAlchemy URL of the hospital database; a read-only user suffices.
        site_mapping: The site, or the name or path of its mapping.
        keyword_pattern: RE2 pattern; only notes in which it is found are kept.
        pseudonym_key: Secret of the pseudonyms, at least 16 bytes.
        is_full: True reads everything.
        progress: Listener.

    Raises:
        SourceError: The database cannot be read, lacks a table or column that the mapping
            names, or has no readable patient.
        ConfigurationError: The mapping, pattern or key is malformed.
    """
    mapping = load_site_mapping(site_mapping) if isinstance(site_mapping, str) else site_mapping
    configuration = {"site_mapping": mapping.model_dump(), "keyword_pattern": keyword_pattern}
    new_collection = partial(
        RecordCollection,
        mapping=mapping,
        pseudonym_key=pseudonym_key,
        keyword_pattern=keyword_pattern,
        reading_hash=_reading_hash(configuration, mapping, pseudonym_key),
    )
    version = store.manifest().tables.get(SOURCE_ROWS.name)
    known = store.read_version(SOURCE_ROWS, version, where={"source": mapping.name})
    names = Pseudonymizer(key=pseudonym_key, source=mapping.name)
    opt_outs = OptOuts(store, names)
    with SourceDatabase(database_url=database_url, mapping=mapping, opt_outs=opt_outs) as database:
        for name, section in mapping.sections.items():
            database.check(section, name)
        collection, changes = new_collection(), None
        if not is_full and collection.taken.is_alike(known):
            changes = _read_changes(
                store,
                database=database,
                mapping=mapping,
                collection=collection,
                known=known,
                progress=progress,
            )
        if changes is None:
            collection = new_collection()
            _read_all(database, mapping, collection, progress)
    if changes is None or changes.n_rows:
        with store.commit(stage=STAGE, configuration=configuration) as commit:
            if changes is None:
                _write_all(commit, mapping, collection)
            elif store.manifest().tables.get(SOURCE_ROWS.name) == version:
                _write_changes(commit, mapping, collection, changes)
            else:
                raise WarehouseError(
                    f"extract: another extraction of {mapping.name} was published meanwhile. "
                    "Nothing was written; run extract again."
                )
            opt_outs.write_aliases(commit)
    summary = _summary(store, mapping, collection, changes)
    return replace(summary, n_opted_out=opt_outs.n_met)


def _reading_hash(
    configuration: Mapping[str, object], mapping: SiteMapping, pseudonym_key: bytes | str
) -> str:
    """What rows are read with: another mapping, pattern or key makes other rows of them."""
    key_check = Pseudonymizer(key=pseudonym_key, source=mapping.name).pseudonym("row", "key check")
    return configuration_hash(
        {**configuration, "key_check": key_check, "reader_version": READER_VERSION}
    )


def _read_changes(
    store: Store,
    *,
    database: SourceDatabase,
    mapping: SiteMapping,
    collection: RecordCollection,
    known: pa.Table,
    progress: Progress,
) -> ChangedRecords | None:
    """What differs; None where everything has to be read."""
    try:
        return read_changed_records(
            store=store,
            database=database,
            mapping=mapping,
            collection=collection,
            known=known,
            now=datetime.now(UTC),
            progress=progress,
        )
    except SourceMovedError:
        return None


def _read_all(
    database: SourceDatabase,
    mapping: SiteMapping,
    collection: RecordCollection,
    progress: Progress,
) -> None:
    n_rows = sum(database.count_rows(section) for section in mapping.sections.values())
    progress.start(STAGE, n_rows)
    for name, section in mapping.sections.items():
        for batch in database.stream(section):
            collection.add(name, section, batch)
            progress.advance(batch.n_rows)
    progress.finish()


def _write_all(commit: Commit, mapping: SiteMapping, collection: RecordCollection) -> None:
    tables = _aged(commit, mapping, collection.tables())
    _check_patients(mapping, tables[PATIENTS.name].num_rows, collection)
    where: dict[str, object] = {"source": mapping.name}
    for table in RECORD_TABLES.values():
        commit.replace(table, tables[table.name], where=where)
    identities = collection.identities()
    # Accession numbers of notes that are gone stay: images may still need them.
    accessions = identities.pop("accession")
    rows = pa.concat_tables(identities.values())
    commit.replace(IDENTITIES, rows, where={**where, "kind": list(identities)})
    commit.upsert(IDENTITIES, accessions)
    commit.replace(SOURCE_ROWS, collection.taken.table(), where=where)
    collection.quarantine.replace_in(commit)


def _write_changes(
    commit: Commit, mapping: SiteMapping, collection: RecordCollection, changes: ChangedRecords
) -> None:
    read = collection.tables(newest_elsewhere=changes.newest_elsewhere)
    tables = _aged(commit, mapping, read)
    before = commit.read(PATIENTS, columns=["patient_id"], where={"source": mapping.name})
    others = _without(pc.unique(before["patient_id"]), changes.record_ids("patients"))
    n_patients = len(others) + tables[PATIENTS.name].num_rows
    _check_patients(mapping, n_patients, collection)
    for kind, table in RECORD_TABLES.items():
        key = PRIMARY_KEYS[kind]
        vanished = _without(changes.record_ids(kind), tables[table.name][key])
        _change(commit, table, tables[table.name], pa.table({key: vanished}))
    identities = collection.identities()
    gone = []
    for kind, section_kind in SECTION_KINDS.items():
        vanished = _without(changes.record_ids(section_kind), identities[kind]["pseudonym"])
        kinds = pa.repeat(pa.scalar(kind), len(vanished))
        gone.append(pa.table({"kind": kinds, "pseudonym": vanished}))
    _change(commit, IDENTITIES, pa.concat_tables(identities.values()), pa.concat_tables(gone))
    rows = collection.taken.table()
    _change(commit, SOURCE_ROWS, rows, changes.before.select(list(SOURCE_ROWS.primary_key)))
    collection.quarantine.replace_in(commit, seen_keys=changes.quarantine_keys(rows))


def _aged(commit: Commit, mapping: SiteMapping, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The same tables; whoever was over 89 once, by a film too, has no birth date."""
    over_89 = known_over_89(commit, mapping.name)
    return {**tables, PATIENTS.name: without_birth(tables[PATIENTS.name], over_89)}


def _change(commit: Commit, table: Table, rows: pa.Table, vanished: pa.Table) -> None:
    if vanished.num_rows:
        commit.remove(table, vanished)
    if rows.num_rows:
        commit.upsert(table, rows)


def _without(values: pa.Array, others: pa.ChunkedArray) -> pa.Array:
    return values.filter(pc.invert(pc.is_in(values, pc.unique(others))))


def _check_patients(mapping: SiteMapping, n_patients: int, collection: RecordCollection) -> None:
    if not n_patients:
        raise SourceError(
            f"Site mapping {mapping.name}: table {mapping.patients.table} holds no readable "
            f"patient ({len(collection.quarantine)} rows were unreadable). Nothing was written; "
            "check that database_url points at the right database."
        )


def _summary(
    store: Store, mapping: SiteMapping, collection: RecordCollection, changes: ChangedRecords | None
) -> ExtractionSummary:
    where = {"source": mapping.name}
    n_rows = {
        kind: store.read(table, columns=["source"], where=where).num_rows
        for kind, table in RECORD_TABLES.items()
    }
    set_aside = store.read(QUARANTINE, columns=["reason"], where={"stage": STAGE, **where})
    counts = set_aside.group_by("reason").aggregate([("reason", "count")]).to_pylist()
    counts.sort(key=lambda each: (-each["reason_count"], each["reason"]))
    return ExtractionSummary(
        mode="full" if changes is None else "incremental",
        n_rows_changed=collection.taken.n_rows if changes is None else changes.n_rows,
        n_patients=n_rows["patients"],
        n_encounters=n_rows["encounters"],
        n_diagnoses=n_rows["diagnoses"],
        n_notes_read=collection.n_notes_read,
        n_notes=n_rows["notes"],
        n_quarantined=set_aside.num_rows,
        quarantine_reasons={each["reason"]: each["reason_count"] for each in counts},
    )
