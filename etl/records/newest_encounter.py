"""The newest encounter of a site, at which patients without any encounter have their age."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.store import Store
from warehouse_schema.tables.records import ENCOUNTERS, IDENTITIES, PATIENTS

YEARS_OF_AGE = 90


class NewestEncounter:
    """Starts of the encounters in the warehouse, as they stood in the source.

    Args:
        store: The store.
        source: Site mapping.
    """

    def __init__(self, *, store: Store, source: str) -> None:
        self._store = store
        self._source = source
        where = {"source": source}
        encounters = store.read(
            ENCOUNTERS, columns=["encounter_id", "patient_id", "start_datetime"], where=where
        )
        patients = store.read(
            IDENTITIES, columns=["pseudonym", "date_shift_days"], where={**where, "kind": "patient"}
        )
        joined = encounters.join(patients, keys="patient_id", right_keys="pseudonym")
        shift = pc.multiply(joined["date_shift_days"], 86_400_000_000).cast(pa.duration("us"))
        self._starts = pa.table(
            {
                "encounter_id": joined["encounter_id"],
                "patient_id": joined["patient_id"],
                "start": pc.subtract(joined["start_datetime"], shift),
            }
        )

    def elsewhere(self, before: pa.Table) -> datetime | None:
        """Start of the newest encounter that none of these rows of ``source_rows`` has made."""
        found: datetime | None = pc.max(self._others(before)["start"]).as_py()
        return found

    def patients_who_turn(self, before: pa.Table, newest_read: datetime | None) -> pa.Array:
        """Patients without encounters whose age passes 89 because the newest encounter changed.

        Args:
            before: Rows of ``source_rows`` that were read again.
            newest_read: Start of the newest encounter among what was read.

        Returns:
            Pseudonyms, some of whom may turn out to stay as they are.
        """
        former = pc.max(self._starts["start"]).as_py()
        candidates = [each for each in (self.elsewhere(before), newest_read) if each is not None]
        newest = max(candidates, default=None)
        if newest == former:
            return pa.array([], pa.string())
        patients = self._store.read(
            PATIENTS,
            columns=["patient_id", "birth_datetime", "is_over_89"],
            where={"source": self._source},
        )
        has_encounter = pc.is_in(
            patients["patient_id"], self._starts["patient_id"].combine_chunks()
        )
        can_turn = patients["is_over_89"]
        if newest is not None:
            # A birth date is shifted backwards, never forwards.
            latest = newest - timedelta(days=365 * YEARS_OF_AGE)
            is_old = pc.less_equal(patients["birth_datetime"], pa.scalar(latest))
            can_turn = pc.or_(can_turn, is_old.fill_null(False))
        chosen = patients.filter(pc.and_not(can_turn, has_encounter))
        return chosen["patient_id"].combine_chunks()

    def _others(self, before: pa.Table) -> pa.Table:
        made = before.filter(pc.field("section") == "encounters")["record_id"].drop_null()
        is_made = pc.is_in(self._starts["encounter_id"], made.combine_chunks())
        return self._starts.filter(pc.invert(is_made))
