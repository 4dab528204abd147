"""Rows of encounters, diagnoses and notes as Arrow tables, while batches of them are read."""

from __future__ import annotations

import pyarrow as pa

from etl.records.records import RecordReader, RowsRead
from etl.records.row_hash import Hashes
from etl.records.site_mapping import TableSection
from etl.records.source_batch import SourceBatch
from warehouse_schema.table import Table
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, NOTES

TABLES = {"encounters": ENCOUNTERS, "diagnoses": DIAGNOSES, "notes": NOTES}


class RecordTables:
    """Collects what a reader makes of each batch.

    Args:
        reader: Reads rows one by one.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._parts: dict[str, list[pa.Table]] = {kind: [] for kind in TABLES}

    def add(self, section: TableSection, batch: SourceBatch, content: Hashes) -> RowsRead:
        """Read a batch of a section; returns what became of its rows.

        Args:
            section: Section of the mapping.
            batch: All columns that the section reads.
            content: Hash of each row's content.
        """
        result = self._reader.read(section, batch, content)
        if section.kind in TABLES:
            kept = [number for number, row in enumerate(result.rows) if row is not None]
            table = pa.Table.from_pylist(
                [result.rows[number] for number in kept], schema=TABLES[section.kind].schema
            )
            # Arrow at once, because a row of Python objects takes ten times the memory.
            self._parts[section.kind].append(
                table.append_column("content_hash", pa.array(content[kept]))
            )
        return result

    def tables(self) -> dict[Table, pa.Table]:
        """All rows by table, those left out that another row has the better right to."""
        return {table: self._rows(kind, table) for kind, table in TABLES.items()}

    def _rows(self, kind: str, table: Table) -> pa.Table:
        schema = table.schema.append(pa.field("content_hash", pa.int64()))
        rows = pa.concat_tables([schema.empty_table(), *self._parts[kind]])
        superseded = self._reader.superseded
        if superseded:
            (key,) = table.primary_key
            pairs = zip(rows[key].to_pylist(), rows["content_hash"].to_pylist(), strict=True)
            rows = rows.filter(pa.array([pair not in superseded for pair in pairs], pa.bool_()))
        return rows.drop_columns("content_hash")
