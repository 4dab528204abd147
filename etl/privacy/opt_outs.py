"""Who has opted out: keyed hashes of the source's patient identifiers.

The list holds no identifier and no pseudonym of a patient, and without the key nobody can ask it.
It is asked wherever an identifier of the source comes in, so that the next night does not bring
a forgotten patient back.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from etl.pseudonym import Pseudonymizer
from etl.records.record_values import UnreadableValueError, read_identifier
from etl.records.site_mapping import PatientMapping, TableSection
from etl.records.source_batch import SourceBatch
from warehouse_schema.commit import Commit
from warehouse_schema.store import Store
from warehouse_schema.tables.records import OPT_OUTS


class OptOuts:
    """The opt-outs of one source.

    Args:
        store: Gives the list.
        names: Pseudonyms of the source.
    """

    def __init__(self, store: Store, names: Pseudonymizer) -> None:
        self._names = names
        rows = store.read(OPT_OUTS, columns=["opt_out_id"], where={"source": names.source})
        self._known = frozenset(rows["opt_out_id"].to_pylist())
        self._also: set[str] = set()
        self._met: set[str] = set()

    def holds(self, identifier: str | None) -> bool:
        """True where the patient of this identifier has opted out; counted as met."""
        if identifier is None or not self._known:
            return False
        opt_out_id = self._names.pseudonym("opt_out", identifier)
        is_held = opt_out_id in self._known or opt_out_id in self._also
        if is_held:
            self._met.add(opt_out_id)
        return is_held

    def add_alias(self, identifier: str | None) -> None:
        """Take up another identifier of a patient who has opted out, such as a chart number."""
        if identifier is not None:
            self._also.add(self._names.pseudonym("opt_out", identifier))

    def without(self, section: TableSection, batch: SourceBatch, encoding: str) -> SourceBatch:
        """The rows of everybody else: those of the opted-out leave no trace of any kind.

        Args:
            section: Section of the mapping that the rows are of.
            batch: Rows as the source gave them.
            encoding: Encoding of its identifiers.
        """
        if not self._known:
            return batch
        is_out = [self.holds(_read(raw, encoding)) for raw in batch.values(section.patient)]
        alias = section.imaging_patient if isinstance(section, PatientMapping) else None
        if alias is not None and alias in batch.columns:
            for raw, is_theirs in zip(batch.values(alias), is_out, strict=True):
                if is_theirs:
                    self.add_alias(_read(raw, encoding))
        return batch.filter(~np.array(is_out, dtype=np.bool_))

    @property
    def n_met(self) -> int:
        """How many opted-out identifiers the source still named."""
        return len(self._met)

    def write_aliases(self, commit: Commit) -> None:
        """Keep the identifiers taken up, so that films under them are found."""
        write_opt_outs(commit, self._also, self._names.source)


def _read(raw: object, encoding: str) -> str | None:
    try:
        return read_identifier(raw, encoding)
    except UnreadableValueError:
        return None


def write_opt_outs(commit: Commit, opt_out_ids: Collection[str], source: str) -> None:
    """Add to the table opt_outs, as of now, whoever does not stand in it yet."""
    known = set(commit.read(OPT_OUTS, columns=["opt_out_id"])["opt_out_id"].to_pylist())
    moment = datetime.now(UTC)
    rows = [
        {"opt_out_id": each, "source": source, "opted_out_datetime": moment}
        for each in sorted(set(opt_out_ids) - known)
    ]
    if rows:
        commit.upsert(OPT_OUTS, pa.Table.from_pylist(rows, schema=OPT_OUTS.schema))
