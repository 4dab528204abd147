"""Everything by which a home knows a patient: pseudonyms, source identifiers, files, rows.

All data files on disk are read, those of older versions included: a film that has left the table
images may still stand in predictions. What the newest version gives to another patient, such as a
film that was filed under the wrong name once, or an accession number used twice, is that patient's.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.pseudonym import Pseudonymizer
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.records import IDENTITIES
from warehouse_schema.tables.runs import QUARANTINE

JOURNAL = "forgetting.json"
PATIENT_KINDS = ("patient", "imaging_patient")
# Whose row it is: the first of these columns that a table has decides.
OWNER_COLUMNS = (
    *("patient_id", "image_id", "note_id", "encounter_id", "diagnosis_id", "mention_id"),
    *("annotation_id", "evidence_id", "study_id", "series_id", "accession_id"),
)
# Columns that name what belongs to a patient or an image, and are traces of it themselves.
TRACE_COLUMNS = (*OWNER_COLUMNS, "note_series_id", "source_sha256", "quarantine_key")
SOURCE_COLUMNS = ("sop_instance_uid", "file_path")
N_KEY_DIGITS = 16


@dataclass(kw_only=True)
class PatientTraces:
    """What is known of the patients to forget.

    Attributes:
        ids: Pseudonyms and hashes by column name, such as ``image_id``.
        identifiers: Identifiers of the source: chart numbers, UIDs, paths.
        opt_out_ids: Keyed hashes for the opt-out list, by source.
        quarantine_keys: Keys of rows in the quarantine table.
        ambiguous: Identifiers that stand for something of another patient too, such as a visit
            with the number of the patient; not searched for.
    """

    ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    identifiers: set[str] = field(default_factory=set)
    opt_out_ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    quarantine_keys: set[str] = field(default_factory=set)
    ambiguous: set[str] = field(default_factory=set)

    def tokens(self) -> set[str]:
        """Every text that must not be found afterwards."""
        return self.pseudonyms() | (self.identifiers - self.ambiguous)

    def pseudonyms(self) -> set[str]:
        """Pseudonyms and hashes of these patients and of nobody else."""
        return {each for values in self.ids.values() for each in values}

    def of_others(self, table: Table, rows: pa.Table) -> pa.Table:
        """The rows of a table that are not of these patients."""
        if table is IDENTITIES:
            is_theirs = pc.is_in(rows["pseudonym"], value_set=_texts(self.pseudonyms()))
        elif table is QUARANTINE:
            keys = [_bare_key(key) for key in rows["key"].to_pylist()]
            is_theirs = pa.array([key in self.quarantine_keys for key in keys], pa.bool_())
        elif (column := owner_column(table)) is not None:
            is_theirs = pc.is_in(rows[column], value_set=_texts(self.ids[column]))
        else:
            return rows
        return rows.filter(pc.invert(is_theirs))

    def write_journal(self, folder: Path) -> None:
        """Note what is under way, durably, so that a killed process's work can be finished."""
        path = folder / JOURNAL
        draft = path.with_name(f".{JOURNAL}.draft-{os.getpid()}")
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            json.dump(vars(self), file, default=sorted)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def add(self, other: PatientTraces) -> None:
        """Take up the traces that another has found."""
        self.identifiers |= other.identifiers
        self.quarantine_keys |= other.quarantine_keys
        self.ambiguous |= other.ambiguous
        for mine, theirs in ((self.ids, other.ids), (self.opt_out_ids, other.opt_out_ids)):
            for name, values in theirs.items():
                mine[name] |= values


def read_journal(folder: Path) -> PatientTraces | None:
    """Traces that an interrupted call was about to remove; None where there was none."""
    path = folder / JOURNAL
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    traces = PatientTraces()
    for name in ("identifiers", "quarantine_keys", "ambiguous"):
        getattr(traces, name).update(content[name])
    for name in ("ids", "opt_out_ids"):
        for key, values in content[name].items():
            getattr(traces, name)[key] |= set(values)
    return traces


def owner_column(table: Table) -> str | None:
    """The column that says whose row it is; None for tables without persons."""
    names = {column.name for column in table.columns}
    return next((name for name in OWNER_COLUMNS if name in names), None)


def find_traces(
    *,
    store: Store,
    names: Pseudonymizer,
    identifiers: Collection[str],
    patient_ids: Collection[str] = (),
) -> PatientTraces:
    """Find what the home knows of patients.

    Args:
        store: The store.
        names: Pseudonyms of the source that the identifiers are of.
        identifiers: Patient identifiers of the source: its own, or those of its films.
        patient_ids: Pseudonyms, of any source.
    """
    traces = PatientTraces()
    traces.ids["patient_id"] |= {names.pseudonym("patient", each) for each in identifiers}
    traces.ids["patient_id"] |= set(patient_ids)
    for row in _identities(store, "source_identifier", identifiers):
        if row["kind"] in PATIENT_KINDS and row["source"] == names.source:
            traces.ids["patient_id"].add(row["pseudonym"])
    for owner in ("patient_id", "image_id"):
        for table in TABLES.values():
            if owner_column(table) == owner:
                _collect(store, table, owner, traces)
        _leave_to_others(store, owner, traces)
    for row in _identities(store, "pseudonym", traces.tokens()):
        traces.identifiers.add(row["source_identifier"])
        if row["kind"] in PATIENT_KINDS:
            _opt_out(traces, names, row["source"], row["source_identifier"])
    for identifier in identifiers:
        traces.identifiers.add(identifier)
        _opt_out(traces, names, names.source, identifier)
    traces.quarantine_keys |= _quarantine_keys(traces, names)
    others = traces.of_others(IDENTITIES, store.read(IDENTITIES))
    traces.ambiguous |= traces.identifiers & set(others["source_identifier"].to_pylist())
    return traces


def _opt_out(traces: PatientTraces, names: Pseudonymizer, source: str, identifier: str) -> None:
    traces.opt_out_ids[source].add(names.of_source(source).pseudonym("opt_out", identifier))


def _collect(store: Store, table: Table, owner: str, traces: PatientTraces) -> None:
    """Take up what the rows of one table name, in every data file of it."""
    columns = [c.name for c in table.columns if c.name in (*TRACE_COLUMNS, *SOURCE_COLUMNS)]
    for rows in _files(store, table, columns, owner, traces.ids[owner]):
        for name in columns:
            found = {each for each in rows[name].to_pylist() if each is not None}
            (traces.identifiers if name in SOURCE_COLUMNS else traces.ids[name]).update(found)


def _leave_to_others(store: Store, owner: str, traces: PatientTraces) -> None:
    """Take out what rows of others name in the newest version."""
    for table in TABLES.values():
        if owner_column(table) != owner:
            continue
        columns = [c.name for c in table.columns if c.name in (*TRACE_COLUMNS, *SOURCE_COLUMNS)]
        rows = store.read(table, columns=columns)
        others = rows.filter(pc.invert(pc.is_in(rows[owner], value_set=_texts(traces.ids[owner]))))
        for name in columns:
            if name in SOURCE_COLUMNS:
                traces.ambiguous |= traces.identifiers & set(others[name].to_pylist())
            elif name not in ("patient_id", owner):
                traces.ids[name] -= set(others[name].to_pylist())


def _quarantine_keys(traces: PatientTraces, names: Pseudonymizer) -> set[str]:
    keys = set(traces.ids["patient_id"])
    keys |= {each[:N_KEY_DIGITS] for each in traces.ids["source_sha256"]}
    keys |= {_bare_key(each) for each in traces.ids["quarantine_key"]}
    for identifier in traces.identifiers:
        # Notes are kept as TABLE:NUMBER.
        for form in {identifier, identifier.rpartition(":")[2]} - {""}:
            keys.add(names.pseudonym("row", form))
    return keys


def _bare_key(key: str) -> str:
    return key.rpartition("/")[2].partition("#")[0]


def _identities(store: Store, column: str, values: Collection[str]) -> Iterator[Mapping[str, Any]]:
    if values:
        for rows in _files(store, IDENTITIES, IDENTITIES.schema.names, column, values):
            yield from rows.to_pylist()


def _files(
    store: Store, table: Table, columns: list[str], where: str, values: Iterable[str]
) -> Iterator[pa.Table]:
    """Rows that have one of the values, in each data file on disk that can be read."""
    condition = pc.field(where).isin(_texts(values))
    for path in sorted(store.table_folder(table).glob("*.parquet")):
        try:
            present = pq.read_schema(path).names
            if where not in present:
                continue
            rows = pq.read_table(path, columns=[c for c in columns if c in present])
        except pa.ArrowInvalid:
            # Torn by a process that died; no version names it, and it is removed with the rest.
            continue
        for name in set(columns) - set(present):
            rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
        yield rows.filter(condition)


def _texts(values: Iterable[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
