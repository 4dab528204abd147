"""Reads what differs from the last extraction, and every row whose outcome depends on it.

1. A sweep over each section's identifiers (see ``changed`` in etl/records/site_mapping.py) finds
   the groups that came, went or were amended; a deletion shows in no other way. Rows changed so
   recently that an amendment may bear the time that was read before are told by their content
   hash.
2. Patients and encounters that changed are read again, with all encounters of these patients and
   all patients of these encounters: ages and birth dates depend on both.
3. Diagnoses and notes are read again where they changed, or where their patient or encounter has
   come, gone or changed hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.records.newest_encounter import NewestEncounter
from etl.records.record_collection import STAGE, RecordCollection
from etl.records.row_hash import NO_VALUE, row_hash
from etl.records.site_mapping import SiteMapping, TableSection
from etl.records.source_batch import Column, SourceBatch
from etl.records.source_database import SourceDatabase
from etl.records.source_rows import KnownRows, by_section
from etl.records.source_sweep import (
    NO_MOMENT,
    ROW_VERSION,
    Keys,
    Marker,
    RowMarks,
    Sweep,
    differing_keys,
    group_sums,
    swept_names,
)
from etl.records.source_tables import column_names
from warehouse_schema.progress import Progress
from warehouse_schema.store import Store

NONE = np.empty(0, np.int64)
# Beyond this share of a section one pass over it is cheaper than asking for its rows by key.
LARGE_SHARE = 0.2
FEW_KEYS = 2_000
# A clock that is ahead by more says nothing about when a row was read.
MAX_CLOCK_AHEAD = timedelta(days=1)


class SourceMovedError(Exception):
    """The source changed while it was read, and has no snapshots: what was read is of no use."""


@dataclass(frozen=True, kw_only=True)
class ChangedRecords:
    """What an incremental extraction has read again.

    Attributes:
        n_rows: Identifiers whose rows came, went or were amended in the source.
        before: Rows of ``source_rows`` for all groups that were read again or are gone.
        newest_elsewhere: Start of the newest encounter that was not read again.
    """

    n_rows: int
    before: pa.Table
    newest_elsewhere: datetime | None

    def record_ids(self, kind: str) -> pa.Array:
        """Primary keys of the warehouse rows of a kind of sections that these groups had made."""
        rows = self.before.filter(pc.starts_with(self.before["section"], kind))
        return pc.unique(rows["record_id"].drop_null())

    def quarantine_keys(self, after: pa.Table) -> set[str]:
        """Keys of all quarantine rows that these groups had, or have now."""
        keys: set[str] = set()
        for rows in (self.before, after):
            keys.update(rows["quarantine_key"].drop_null().to_pylist())
            patients = rows.filter(pc.field("section") == "patients")["patient_id"]
            keys.update(f"patients/{each}" for each in patients.drop_null().to_pylist())
        return keys


def read_changed_records(
    *,
    store: Store,
    database: SourceDatabase,
    mapping: SiteMapping,
    collection: RecordCollection,
    known: pa.Table,
    now: datetime,
    progress: Progress,
) -> ChangedRecords | None:
    """Read into a collection what differs from the known rows.

    Args:
        store: The store, in the state that the known rows belong to.
        database: The source.
        mapping: The site.
        collection: An empty one.
        known: The site's rows of ``source_rows``.
        now: The clock; only bounds how far changes may lie in the future.
        progress: Listener.

    Returns:
        None where so much differs that reading everything is cheaper.

    Raises:
        SourceMovedError: The source changed meanwhile.
    """
    reader = _ChangeReader(database, mapping, collection, known)
    reader.sweep(progress)
    changed = reader.changed_keys(now)
    n_changed = sum(map(len, changed.values()))
    if not n_changed:
        return ChangedRecords(n_rows=0, before=known.slice(0, 0), newest_elsewhere=None)
    if n_changed > max(FEW_KEYS, LARGE_SHARE * reader.n_rows):
        return None
    progress.start(STAGE, None)
    reader.read_context(changed["patients"], changed["encounters"])
    newest = NewestEncounter(store=store, source=mapping.name)
    reader.read_patients_of(newest.patients_who_turn(reader.before(), reader.newest_read()))
    reader.read_leaves(changed)
    progress.finish()
    before = reader.before()
    return ChangedRecords(
        n_rows=n_changed, before=before, newest_elsewhere=newest.elsewhere(before)
    )


class _ChangeReader:
    def __init__(
        self,
        database: SourceDatabase,
        mapping: SiteMapping,
        collection: RecordCollection,
        known: pa.Table,
    ) -> None:
        self._database = database
        self._mapping = mapping
        self._sections = mapping.sections
        self._collection = collection
        self._marker = Marker(mapping)
        self._known: dict[str, KnownRows] = by_section(known, self._sections)
        self._sweeps: dict[str, Sweep] = {}
        self._read: dict[str, Keys] = dict.fromkeys(self._sections, NONE)

    @property
    def n_rows(self) -> int:
        return sum(sweep.n_rows for sweep in self._sweeps.values())

    def before(self) -> pa.Table:
        """Known rows of all groups that were read again."""
        return pa.concat_tables(self._known[name].of(keys) for name, keys in self._read.items())

    def newest_read(self) -> datetime | None:
        """Start of the newest encounter that was read again."""
        encounters = self._collection.reader.encounters.values()
        return max((each.start for each in encounters), default=None)

    def sweep(self, progress: Progress) -> None:
        """Take the marks of every row."""
        sections = self._sections.values()
        progress.start(STAGE, sum(self._database.count_rows(section) for section in sections))
        for name, section in self._sections.items():

            def parts(section: TableSection = section) -> Iterator[tuple[RowMarks, Column]]:
                for batch in self._database.stream(section, swept_names(section)):
                    progress.advance(batch.n_rows)
                    yield self._marker.marks(section, batch), batch.columns[section.key]

            self._sweeps[name] = Sweep(parts())
        progress.finish()

    def changed_keys(self, now: datetime) -> dict[str, Keys]:
        """Groups that differ, by section; those of one scope differ together."""
        changed = {}
        for name, section in self._sections.items():
            known, marks = self._known[name], self._sweeps[name].marks
            differing = differing_keys(
                group_sums(known.key_hash, known.swept_hash),
                group_sums(marks.key_hash, marks.swept_hash),
            )
            recent = np.setdiff1d(self._recent_keys(name, section, now), differing)
            changed[name] = np.union1d(differing, self._amended(name, section, recent))
        return self._by_scope(changed)

    def _recent_keys(self, name: str, section: TableSection, now: datetime) -> Keys:
        if section.cursor is None:
            return NONE
        marks, times = self._sweeps[name].marks, self._known[name].changed_us
        latest = (now + MAX_CLOCK_AHEAD).timestamp() * 1e6
        times = times[(times != ROW_VERSION) & (times <= latest)]
        limit = NO_MOMENT
        if len(times):
            limit = int(times.max()) - int(self._mapping.changed_lag_hours * 3_600_000_000)
        return np.unique(marks.key_hash[marks.changed_us >= limit])

    def _amended(self, name: str, section: TableSection, keys: Keys) -> Keys:
        """Those of the groups whose content is not what was read before."""
        found, hashes = [NONE], [NONE]
        for batch in self._rows(name, section, keys):
            found.append(self._marker.marks(section, batch).key_hash)
            hashes.append(row_hash(batch, column_names(section)))
        now = group_sums(np.concatenate(found), np.concatenate(hashes))
        return differing_keys(self._known[name].contents(keys), now)

    def _by_scope(self, keys: dict[str, Keys]) -> dict[str, Keys]:
        scopes: dict[tuple[str, str], Keys] = {}
        for name, section in self._sections.items():
            scopes[section.scope] = np.union1d(scopes.get(section.scope, NONE), keys[name])
        return {name: scopes[section.scope] for name, section in self._sections.items()}

    def read_context(self, patients: Keys, encounters: Keys) -> None:
        """Read patients and encounters, and all that depend on one another among them."""
        known = self._known["encounters"]
        former = known.of(encounters)["patient_id"]
        patients = np.union1d(patients, self._patient_keys(former))
        marks = self._sweeps["encounters"].marks
        n_before = -1
        while n_before != len(patients) + len(encounters):
            n_before = len(patients) + len(encounters)
            theirs = marks.key_hash[np.isin(marks.patient_hash, patients)]
            encounters = np.union1d(encounters, theirs)
            named = marks.patient_hash[np.isin(marks.key_hash, encounters)]
            patients = np.union1d(patients, _given(named))
        self._take("patients", patients)
        self._take("encounters", encounters)

    def read_patients_of(self, patient_ids: pa.Array) -> None:
        """Read the patients with these pseudonyms, and their encounters."""
        self.read_context(self._patient_keys(patient_ids), NONE)

    def read_leaves(self, changed: dict[str, Keys]) -> None:
        """Read diagnoses and notes that changed, or whose patient or encounter did."""
        patients, encounters = self._moved("patients"), self._moved("encounters")
        leaves = {}
        for name in self._sections:
            marks = self._sweeps[name].marks
            is_dependent = np.isin(marks.patient_hash, patients)
            is_dependent |= np.isin(marks.encounter_hash, encounters)
            leaves[name] = np.union1d(changed[name], marks.key_hash[is_dependent])
        leaves = {
            name: keys
            for name, keys in self._by_scope(leaves).items()
            if name not in {"patients", "encounters"}
        }
        for name, keys in leaves.items():
            marks = self._sweeps[name].marks
            is_read = np.isin(marks.key_hash, keys)
            named = np.unique(marks.encounter_hash[is_read])
            self.read_context(_given(np.unique(marks.patient_hash[is_read])), _given(named))
        for name, keys in leaves.items():
            self._take(name, keys)

    def _moved(self, name: str) -> Keys:
        """Groups read again that are known now and were not, or the reverse, or changed hands."""
        before = _outcomes(self._known[name].of(self._read[name]))
        rows = self._collection.taken.table()
        after = _outcomes(rows.filter(pc.field("section") == name))
        keys = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        return np.array(sorted(keys), np.int64)

    def _patient_keys(self, patient_ids: pa.Array | pa.ChunkedArray) -> Keys:
        known = self._known["patients"]
        is_among = pc.is_in(known.rows["patient_id"], pc.unique(patient_ids.drop_null()))
        keys: Keys = known.key_hash[is_among.to_numpy().astype(bool)]
        return np.unique(keys)

    def _take(self, name: str, keys: Keys) -> None:
        """Read groups of a section that were not read yet."""
        section, sweep = self._sections[name], self._sweeps[name].marks
        new = np.setdiff1d(keys, self._read[name])
        found, hashes = [NONE], [NONE]
        for batch in self._rows(name, section, new):
            marks = self._collection.add(name, section, batch)
            found.append(marks.key_hash)
            hashes.append(marks.swept_hash)
        is_new = np.isin(sweep.key_hash, new)
        swept = group_sums(sweep.key_hash[is_new], sweep.swept_hash[is_new])
        if len(differing_keys(swept, group_sums(np.concatenate(found), np.concatenate(hashes)))):
            raise SourceMovedError
        self._read[name] = np.union1d(self._read[name], new)

    def _rows(self, name: str, section: TableSection, keys: Keys) -> Iterator[SourceBatch]:
        """Whole rows of groups: by key, or out of one pass where they are many."""
        if not len(keys):
            return
        names = column_names(section)
        if len(keys) > max(FEW_KEYS, LARGE_SHARE * self._sweeps[name].n_rows):
            batches = self._database.stream(section)
        else:
            batches = self._database.fetch(section, names, self._sweeps[name].raw_keys(keys))
        for batch in batches:
            yield batch.filter(np.isin(self._marker.marks(section, batch).key_hash, keys))


def _given(keys: Keys) -> Keys:
    return np.setdiff1d(keys, np.array([NO_VALUE]).view(np.int64))


def _outcomes(rows: pa.Table) -> dict[int, object]:
    """What dependent rows see of each group; never equal for a group of several rows."""
    seen: dict[int, object] = {}
    columns = [rows[name].to_pylist() for name in ("key_hash", "record_id", "patient_id")]
    for key, record_id, patient_id in zip(*columns, strict=True):
        if key in seen:
            seen[key] = object()
        elif record_id is not None:
            seen[key] = (record_id, patient_id)
    return seen
