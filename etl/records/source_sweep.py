"""One pass over a section that keeps no content: whose rows there are, and their hashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.records.record_values import MomentReader, UnreadableValueError
from etl.records.row_hash import Hashes, identifier_hash, row_hash
from etl.records.site_mapping import (
    DiagnosisMapping,
    NoteMapping,
    PatientMapping,
    SiteMapping,
    TableSection,
)
from etl.records.source_batch import Column, SourceBatch
from etl.records.source_tables import column_names

# Instead of the microseconds of a change: none that could be read, and a row version, which no two
# states of a row share.
NO_MOMENT = np.iinfo(np.int64).max
ROW_VERSION = np.iinfo(np.int64).min
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
Keys = npt.NDArray[np.int64]


def swept_names(section: TableSection) -> list[str]:
    """Columns that tell which rows came, went or were amended, and whose they are."""
    if section.cursor is None:
        return column_names(section)
    return sorted(
        {section.key, section.patient, section.cursor, *filter(None, [encounter_of(section)])}
    )


def encounter_of(section: TableSection) -> str | None:
    """The column that names the encounter to which a section's rows belong."""
    return section.encounter if isinstance(section, DiagnosisMapping | NoteMapping) else None


@dataclass(frozen=True, kw_only=True)
class RowMarks:
    """What is kept of rows: an entry a row in each array.

    Attributes:
        key_hash: Of the identifier; rows that share it are one group.
        patient_hash: Of the patient's identifier, as in the patients' ``key_hash``.
        encounter_hash: Of the encounter's identifier, as in the encounters' ``key_hash``.
        swept_hash: Of the swept columns.
        changed_us: Microseconds of the last change since 1970, UTC; NO_MOMENT or ROW_VERSION.
    """

    key_hash: Hashes
    patient_hash: Hashes
    encounter_hash: Hashes
    swept_hash: Hashes
    changed_us: npt.NDArray[np.int64]


class Marker:
    """Takes the marks of batches.

    Args:
        mapping: The site.
    """

    def __init__(self, mapping: SiteMapping) -> None:
        self._encoding = mapping.encoding
        self._zone = mapping.time_zone
        self._moments = MomentReader(mapping)

    def marks(self, section: TableSection, batch: SourceBatch) -> RowMarks:
        """Marks of a batch that has the section's swept columns at least."""
        key = identifier_hash(batch.columns[section.key], self._encoding)
        encounter = encounter_of(section)
        return RowMarks(
            key_hash=key,
            patient_hash=key
            if isinstance(section, PatientMapping)
            else identifier_hash(batch.columns[section.patient], self._encoding),
            encounter_hash=np.zeros_like(key)
            if encounter is None
            else identifier_hash(batch.columns[encounter], self._encoding),
            swept_hash=row_hash(batch, swept_names(section)),
            changed_us=np.full(len(key), ROW_VERSION)
            if section.cursor is None
            else self._changed(batch.columns[section.cursor]),
        )

    def _changed(self, column: Column) -> npt.NDArray[np.int64]:
        if isinstance(column, pa.Array) and pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                column = pc.assume_timezone(
                    column, self._zone, ambiguous="latest", nonexistent="latest"
                )
            micros = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            filled: npt.NDArray[np.int64] = micros.fill_null(NO_MOMENT).to_numpy()
            return filled
        values = column if isinstance(column, list) else column.to_pylist()
        return np.fromiter(map(self._micros, values), np.int64, len(values))

    def _micros(self, value: Any) -> int:
        if isinstance(value, int) or type(value) is bytes:
            return int(ROW_VERSION)
        try:
            moment = self._moments.read([value], "changed")
        except UnreadableValueError:
            moment = None
        return int(NO_MOMENT) if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


class Sweep:
    """The marks and raw keys of all rows of a section."""

    def __init__(self, parts: Iterable[tuple[RowMarks, Column]]) -> None:
        taken = list(parts)
        self._keys = [keys for _, keys in taken]
        self.marks = RowMarks(
            **{
                name: np.concatenate([np.empty(0, np.int64), *(getattr(m, name) for m, _ in taken)])
                for name in RowMarks.__dataclass_fields__
            }
        )

    @property
    def n_rows(self) -> int:
        """How many rows the section has."""
        return len(self.marks.key_hash)

    def raw_keys(self, keys: Keys) -> list[object]:
        """The distinct keys, as the database has them, of the rows in these groups."""
        is_wanted = np.isin(self.marks.key_hash, keys)
        found: dict[object, None] = {}
        start = 0
        for part in self._keys:
            chosen = np.flatnonzero(is_wanted[start : start + len(part)])
            start += len(part)
            for number in chosen:
                value = part[number]
                found[value.as_py() if isinstance(value, pa.Scalar) else value] = None
        return list(found)


def group_sums(keys: Keys, hashes: Hashes) -> tuple[Keys, Hashes]:
    """Distinct keys, rising, and the sum of the hashes of each one's rows."""
    order = np.argsort(keys, kind="stable")
    unique, starts = np.unique(keys[order], return_index=True)
    if not len(unique):
        return unique, np.empty(0, np.int64)
    return unique, np.add.reduceat(hashes[order], starts)


def differing_keys(before: tuple[Keys, Hashes], after: tuple[Keys, Hashes]) -> Keys:
    """Keys that only one side has, or that have another sum."""
    _, at_before, at_after = np.intersect1d(
        before[0], after[0], assume_unique=True, return_indices=True
    )
    same = before[1][at_before] == after[1][at_after]
    unchanged = before[0][at_before[same]]
    return np.setdiff1d(np.union1d(before[0], after[0]), unchanged, assume_unique=True)
