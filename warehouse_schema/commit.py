"""One commit: writes to several tables, published together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from warehouse_schema import delta_log
from warehouse_schema.code_version import code_version
from warehouse_schema.data_files import write_rows
from warehouse_schema.durable_files import make_folder, remove_files, sync_folder
from warehouse_schema.manifest import (
    Manifest,
    TableVersion,
    copy_path,
    manifest_path,
    publish_manifest,
)
from warehouse_schema.rewriting import Part, Rewriting, add, part_of_keys, part_where, rewrite
from warehouse_schema.run_key import RunKey
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.runs import COMMITTED_RUNS, LINEAGE

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse_schema.store import Store


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
        run_key: RunKey | None = None,
    ) -> None:
        self._store = store
        self._base = base
        self._stage = stage
        self._configuration_hash = configuration_hash
        self._run_id = run_id
        self._is_recorded = is_recorded or run_key is not None
        self._run_key = run_key
        self._new_files: list[Path] = []
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
        self._rewrite(table, part_where(dict(where or {})), self._store.conform(table, rows))

    def append(self, table: Table, rows: pa.Table) -> None:
        """Add rows whose primary keys are new; the caller vouches that they are."""
        if not rows.num_rows:
            return
        rows = self._store.conform(table, rows)
        folder, files, n_rows = self._open(table)
        self._keep(table, add(table=table, folder=folder, files=files, n_rows=n_rows, rows=rows))

    def upsert(self, table: Table, rows: pa.Table) -> None:
        """Add rows, replacing those that have the same primary key."""
        rows = self._store.conform(table, rows)
        self._rewrite(table, part_of_keys(table, rows.select(list(table.primary_key))), rows)

    def remove(self, table: Table, keys: pa.Table) -> None:
        """Take rows away.

        Args:
            table: Declared table.
            keys: The primary keys of the rows, one column each; keys that are not there count
                for nothing.
        """
        nothing = self._store.conform(table, table.schema.empty_table())
        names = list(table.primary_key)
        declared = pa.schema([table.schema.field(name) for name in names])
        self._rewrite(table, part_of_keys(table, keys.select(names).cast(declared)), nothing)

    def rewrite_all(self, table: Table) -> None:
        """Write a table's rows anew as files whose key ranges follow one another."""
        folder, _, n_rows = self._open(table)
        rows = self._store.read_version(table, self._current(table))
        files = {file.name: file.sha256 for file in write_rows(folder, table, rows)}
        self._keep(table, Rewriting(files=files, n_rows=n_rows))

    def publish(self) -> None:
        """Write lineage and publish the manifest; called once, by ``Store.commit``.

        Data files, log entries and manifest are on disk when this returns.
        """
        if not self._written and not self._is_recorded:
            return
        self._write_lineage()
        self._write_run_key()
        self._remove_superseded()
        for name, version in self._written.items():
            self._written[name] = self._log(TABLES[name], version)
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

    def is_published(self) -> bool:
        """True where the manifest is visible, or will be when the next writer comes."""
        warehouse = self._store.home.warehouse
        paths = (manifest_path(warehouse, self.version), copy_path(warehouse, self.version))
        return any(path.exists() for path in paths)

    def discard(self) -> None:
        """Take back what the block wrote, where it can be; the next maintenance takes the rest."""
        if self.is_published():
            return
        with suppress(OSError):
            for name in self._written:
                published = self._base.tables.get(name)
                delta_log.remove_unpublished(
                    self._store.table_folder(TABLES[name]),
                    None if published is None else published.delta_version,
                )
            remove_files(self._new_files)

    def _current(self, table: Table) -> TableVersion | None:
        return self._written.get(table.name) or self._base.tables.get(table.name)

    def _open(self, table: Table) -> tuple[Path, dict[str, str], int]:
        """Folder of a table, its verified files with their hashes, and its number of rows."""
        folder = self._store.table_folder(table)
        make_folder(folder)
        version = self._current(table)
        if version is None:
            return folder, {}, 0
        self._store.data_files(table, version)
        return folder, dict(version.files), version.n_rows

    def _rewrite(self, table: Table, part: Part, rows: pa.Table) -> None:
        folder, files, _ = self._open(table)
        written = rewrite(table=table, folder=folder, files=files, part=part, rows=rows)
        if written is not None:
            self._keep(table, written)

    def _keep(self, table: Table, written: Rewriting) -> None:
        """What a table consists of from here on in this commit."""
        current = self._current(table)
        folder = self._store.table_folder(table)
        known = {} if current is None else current.files
        new = [folder / name for name in written.files if name not in known]
        self._new_files += new
        self._store.trust(new)
        self._written[table.name] = TableVersion(
            delta_version=-1 if current is None else current.delta_version,
            n_rows=written.n_rows,
            files=written.files,
        )

    def _log(self, table: Table, version: TableVersion) -> TableVersion:
        folder = self._store.table_folder(table)
        sync_folder(folder)
        published = self._base.tables.get(table.name)
        number, sha256 = delta_log.advance(
            folder,
            table,
            published=None if published is None else published.delta_version,
            log_sha256="" if published is None else published.log_sha256,
            files=version.files,
        )
        return replace(version, delta_version=number, log_sha256=sha256)

    def _remove_superseded(self) -> None:
        """Files that this block wrote and wrote again."""
        named = {
            self._store.table_folder(TABLES[name]) / file
            for name, version in self._written.items()
            for file in version.files
        }
        old = [path for path in self._new_files if path not in named]
        if old:
            remove_files(old)

    def _write_run_key(self) -> None:
        if self._run_key is not None:
            row = self._run_key.row(commit_version=self.version)
            self.append(COMMITTED_RUNS, pa.Table.from_pylist([row], schema=COMMITTED_RUNS.schema))

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
