"""The restricted table ``source_rows``: what the last extraction has read, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.records.records import RowsRead
from etl.records.row_hash import Hashes
from etl.records.site_mapping import TableSection
from etl.records.source_sweep import NO_MOMENT, ROW_VERSION, Keys, RowMarks, group_sums
from warehouse_schema.tables.records import SOURCE_ROWS

PRIMARY_KEYS = {
    "patients": "patient_id",
    "encounters": "encounter_id",
    "diagnoses": "diagnosis_id",
    "notes": "note_id",
}


class KnownRows:
    """Rows of one section, as the last extraction has read them.

    Args:
        rows: Their rows of ``source_rows``.
    """

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows
        self.key_hash: Keys = rows["key_hash"].to_numpy()
        self.content_hash: Hashes = rows["content_hash"].to_numpy()
        self.swept_hash: Hashes = rows["swept_hash"].to_numpy()
        self.changed_us: npt.NDArray[np.int64] = (
            rows["changed_datetime"].cast(pa.int64()).fill_null(ROW_VERSION).to_numpy()
        )

    def of(self, keys: Keys) -> pa.Table:
        """The rows whose key hash is among these."""
        return self.rows.filter(pa.array(np.isin(self.key_hash, keys)))

    def contents(self, keys: Keys) -> tuple[Keys, Hashes]:
        """Content sums of the groups among these keys."""
        is_wanted = np.isin(self.key_hash, keys)
        return group_sums(self.key_hash[is_wanted], self.content_hash[is_wanted])


class RowsTaken:
    """Collects rows of ``source_rows`` while they are read.

    Args:
        source: Name of the site mapping.
        reading_hash: What the rows were read with.
    """

    def __init__(self, *, source: str, reading_hash: str) -> None:
        self._reading_hash = reading_hash
        self._constants = {"source": source, "reading_hash": reading_hash}
        self._parts: list[pa.Table] = []

    def add(
        self,
        name: str,
        section: TableSection,
        marks: RowMarks,
        content: Hashes,
        result: RowsRead,
    ) -> None:
        """Note what became of a batch."""
        key = PRIMARY_KEYS[section.kind]
        has_moment = (marks.changed_us != NO_MOMENT) & (marks.changed_us != ROW_VERSION)
        moments = pa.array(marks.changed_us, mask=~has_moment)
        columns: dict[str, Any] = {
            "section": pa.repeat(pa.scalar(name), len(content)),
            "key_hash": marks.key_hash,
            "swept_hash": marks.swept_hash,
            "content_hash": content,
            "changed_datetime": moments.cast(pa.timestamp("us", "UTC")),
            "patient_id": pa.array(result.patient_ids, pa.string()),
            "record_id": pa.array(
                [None if row is None else row[key] for row in result.rows], pa.string()
            ),
            "quarantine_key": pa.array(result.quarantine_keys, pa.string()),
        }
        self._parts.append(pa.table(columns))

    def is_alike(self, known: pa.Table) -> bool:
        """Whether known rows were read with the same mapping, keywords and key."""
        return bool(pc.unique(known["reading_hash"]).to_pylist() == [self._reading_hash])

    @property
    def n_rows(self) -> int:
        """How many rows were read."""
        return sum(part.num_rows for part in self._parts)

    def table(self) -> pa.Table:
        """All rows; those of one group are numbered by their content."""
        if not self._parts:
            return SOURCE_ROWS.schema.empty_table()
        rows = pa.concat_tables(self._parts).sort_by(
            [(name, "ascending") for name in ("section", "key_hash", "content_hash")]
        )
        sections = rows["section"].combine_chunks().dictionary_encode().indices.to_numpy()
        keys = rows["key_hash"].to_numpy()
        is_first = np.ones(len(keys), bool)
        is_first[1:] = (keys[1:] != keys[:-1]) | (sections[1:] != sections[:-1])
        positions = np.arange(len(keys))
        numbers = positions - np.maximum.accumulate(np.where(is_first, positions, 0))
        rows = rows.append_column("row_number", pa.array(numbers))
        for name, value in self._constants.items():
            rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
        return rows


def by_section(rows: pa.Table, names: Mapping[str, TableSection]) -> dict[str, KnownRows]:
    """Known rows of every section of the mapping."""
    sections = rows["section"].combine_chunks() if rows.num_rows else pa.array([], pa.string())
    encoded = sections.to_numpy(zero_copy_only=False)
    return {name: KnownRows(rows.filter(pa.array(encoded == name))) for name in names}
