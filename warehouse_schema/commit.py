"""One commit: writes to several tables, published together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from warehouse_schema.code_version import code_version
from warehouse_schema.manifest import Manifest, TableVersion, publish_manifest
from warehouse_schema.row_filter import other_rows
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.runs import LINEAGE

if TYPE_CHECKING:
    from warehouse_schema.store import Store

# Statistics of ids would keep a forgotten patient's pseudonym in the log.
DELTA_CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}


class Commit:
    """Writes tables on top of one published state. Made by ``Store.commit``."""

    def __init__(
        self,
        *,
        store: Store,
        base: Manifest,
        stage: str,
        configuration_hash: str,
        run_id: str | None,
        is_recorded: bool,
    ) -> None:
        self._store = store
        self._base = base
        self._stage = stage
        self._configuration_hash = configuration_hash
        self._run_id = run_id
        self._is_recorded = is_recorded
        self._written: dict[str, TableVersion] = {}
        self._inputs: dict[str, int] = {}

    @property
    def version(self) -> int:
        """Manifest number this commit publishes."""
        return self._base.version + 1

    def read(
        self,
        table: Table,
        *,
        columns: list[str] | None = None,
        where: Mapping[str, object] | None = None,
    ) -> pa.Table:
        """Read a table as this commit sees it, and record it as an input in lineage."""
        version = self._current(table)
        self.uses(table)
        return self._store.read_version(table, version, columns, where)

    def uses(self, *tables: Table, at: int | None = None) -> None:
        """Record tables that the stage has read before the block as inputs in lineage.

        Args:
            tables: Tables read.
            at: Manifest version they were read at; by default the one this commit builds on.
        """
        base = self._base if at is None else self._store.manifest(at)
        for table in tables:
            version = base.tables.get(table.name)
            self._inputs[table.name] = -1 if version is None else version.delta_version

    def replace(
        self, table: Table, rows: pa.Table, *, where: Mapping[str, object] | None = None
    ) -> None:
        """Replace the whole table, or the rows that ``where`` names as in ``Store.read``.

        A replacement by the very rows that are there writes nothing, nor does any other method.
        """
        rows = self._store.conform(table, rows)
        current = self._store.read_version(table, self._current(table))
        if where:
            kept = other_rows(current, where)
            rows = self._store.conform(table, pa.concat_tables([kept, rows]))
        if not rows.equals(current):
            self._write(table, rows, is_append=False)

    def append(self, table: Table, rows: pa.Table) -> None:
        """Add rows whose primary keys are new; the caller vouches that they are."""
        if rows.num_rows:
            self._write(table, self._store.conform(table, rows), is_append=True)

    def upsert(self, table: Table, rows: pa.Table) -> None:
        """Add rows, replacing those that have the same primary key."""
        rows = self._store.conform(table, rows)
        kept = self._keep_others(table, rows.select(list(table.primary_key)))
        self.replace(table, pa.concat_tables([kept, rows]))

    def remove(self, table: Table, keys: pa.Table) -> None:
        """Take rows away.

        Args:
            table: Declared table.
            keys: The primary keys of the rows, one column each; keys that are not there count
                for nothing.
        """
        self.replace(table, self._keep_others(table, keys))

    def rewrite_rest(self) -> None:
        """Write every table that this commit has not written anew, its rows unchanged."""
        for name, version in self._base.tables.items():
            if name not in self._written:
                table = TABLES[name]
                self._write(table, self._store.read_version(table, version), is_append=False)

    def publish(self) -> None:
        """Write lineage and publish the manifest; called once, by ``Store.commit``."""
        if not self._written and not self._is_recorded:
            return
        self._write_lineage()
        publish_manifest(
            self._store.home.warehouse,
            Manifest(
                version=self.version,
                stage=self._stage,
                configuration_hash=self._configuration_hash,
                created_datetime=datetime.now(UTC).isoformat(),
                tables={**self._base.tables, **self._written},
            ),
        )

    def _current(self, table: Table) -> TableVersion | None:
        return self._written.get(table.name) or self._base.tables.get(table.name)

    def _keep_others(self, table: Table, keys: pa.Table) -> pa.Table:
        """Rows of the table whose primary keys are not among ``keys``."""
        current = self._store.read_version(table, self._current(table))
        names = list(table.primary_key)
        # An Arrow join carries no list columns: only keys and row numbers go through it.
        numbers = pa.array(np.arange(current.num_rows, dtype=np.int64))
        numbered = current.select(names).append_column("row", numbers)
        kept = numbered.join(keys.select(names), keys=names, join_type="left anti")
        return current.take(kept.column("row").sort())

    def _write(self, table: Table, rows: pa.Table, *, is_append: bool) -> None:
        folder = self._store.table_folder(table)
        # Delta enforces no nulls by invariants that other engines cannot all read; conform does.
        plain = rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema]))
        if is_append:
            self._return_to_published(table)
            write_deltalake(folder, plain, mode="append", configuration=DELTA_CONFIGURATION)
        else:
            write_deltalake(
                folder,
                plain,
                mode="overwrite",
                schema_mode="overwrite",
                configuration=DELTA_CONFIGURATION,
            )
        published = self._base.tables.get(table.name)
        self._written[table.name] = self._store.describe_version(
            table, DeltaTable(folder), {} if published is None else published.files
        )

    def _return_to_published(self, table: Table) -> None:
        """Take back Delta versions that an interrupted commit left behind its manifest."""
        folder = str(self._store.table_folder(table))
        if not DeltaTable.is_deltatable(folder):
            return
        published = self._current(table)
        delta = DeltaTable(folder)
        if published is None:
            delta.delete()
        elif delta.version() != published.delta_version:
            delta.restore(published.delta_version)

    def _write_lineage(self) -> None:
        rows = [
            {
                "commit_version": self.version,
                "stage": self._stage,
                "run_id": self._run_id,
                "input_table": name,
                "input_version": version,
                "code_version": code_version(),
                "configuration_hash": self._configuration_hash,
            }
            for name, version in sorted(self._inputs.items())
        ]
        if rows:
            self.append(LINEAGE, pa.Table.from_pylist(rows, schema=LINEAGE.schema))
