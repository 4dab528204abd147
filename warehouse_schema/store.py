"""The store: the only code that reads and writes warehouse tables.

Stages write inside ``with store.commit(stage=...) as commit``. Nothing is visible to readers
until the block ends; then one manifest publishes all its tables at once. A block that fails
publishes nothing, and the next writer takes back what it had written to the Delta log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from filelock import FileLock

from warehouse_schema.commit import Commit
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.manifest import (
    Manifest,
    TableVersion,
    configuration_hash,
    file_sha256,
    history_start,
    manifest_at,
)
from warehouse_schema.row_filter import row_condition
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.validation import conform


class Store:
    """Reads and writes the tables of one home folder.

    Args:
        home: The home folder; its folders are made where they are missing.
    """

    def __init__(self, home: Home) -> None:
        # Delta answers with absolute paths.
        self.home = Home(home.root.resolve()).create()
        self._verified: set[Path] = set()
        self._history_start = history_start(self.home.warehouse)[0]

    def table_folder(self, table: Table) -> Path:
        """Folder of the table's Delta log and data files."""
        base = self.home.restricted if table.area == "restricted" else self.home.warehouse
        return base / table.name

    def manifest(self, at: str | int | None = None) -> Manifest:
        """The manifest named by a version or a time; the newest by default."""
        return manifest_at(self.home.warehouse, at)

    def read(
        self,
        table: Table,
        *,
        columns: list[str] | None = None,
        where: Mapping[str, object] | None = None,
        at: str | int | None = None,
    ) -> pa.Table:
        """Read a table as published; empty where nothing was written yet.

        Args:
            table: Declared table.
            columns: Columns to return, all by default.
            where: Column values that rows must equal (a list: be one of).
            at: Manifest version or time, the newest by default.

        Returns:
            Rows with the declared types, sorted by primary key.

        Raises:
            WarehouseError: No such version, or a data file is missing or altered.
        """
        return self.read_version(table, self.manifest(at).tables.get(table.name), columns, where)

    def read_version(
        self,
        table: Table,
        version: TableVersion | None,
        columns: list[str] | None = None,
        where: Mapping[str, object] | None = None,
    ) -> pa.Table:
        """Read one version of a table, given its manifest entry (None is the empty table)."""
        files = [] if version is None else self.data_files(table, version)
        if not files:
            return table.schema.empty_table().select(columns or table.schema.names)
        nullable = pa.schema([field.with_nullable(True) for field in table.schema])
        condition = row_condition(where or {})
        wanted = sorted({*(columns or table.schema.names), *table.primary_key})
        rows = ds.dataset([str(file) for file in files], schema=nullable, format="parquet")
        try:
            rows = rows.to_table(columns=wanted, filter=condition)
        except FileNotFoundError:
            self.refuse_where_erased()
            raise
        rows = rows.sort_by([(name, "ascending") for name in table.primary_key])
        chosen = [name for name in table.schema.names if name in (columns or table.schema.names)]
        return rows.select(chosen).cast(pa.schema([table.schema.field(name) for name in chosen]))

    def data_files(self, table: Table, version: TableVersion) -> list[Path]:
        """Data files of a table version, verified against the manifest on first use.

        Raises:
            WarehouseError: A file is missing, or its SHA-256 is not the manifest's.
        """
        folder = self.table_folder(table)
        files = []
        for name, sha256 in version.files.items():
            path = folder / name
            if path not in self._verified:
                if not path.is_file() or file_sha256(path) != sha256:
                    self.refuse_where_erased()
                    state = "altered" if path.is_file() else "missing"
                    raise WarehouseError(
                        f"Table {table.name}: data file {name} is {state}. Restore it from a "
                        "backup, or run the stage that writes the table again."
                    )
                self._verified.add(path)
            files.append(path)
        return files

    @contextmanager
    def commit(
        self,
        *,
        stage: str,
        configuration: Mapping[str, object] | None = None,
        run_id: str | None = None,
        is_recorded: bool = False,
    ) -> Iterator[Commit]:
        """Write tables; all of them become visible when the block ends without an error.

        One writer at a time: others wait for the lock, which the operating system takes from a
        process that dies. A store that was opened before a patient was erased may hold that
        patient's rows and is refused.

        Args:
            stage: Name of the stage, kept in lineage.
            configuration: The stage's arguments, hashed into lineage.
            run_id: Training run, for training and evaluation stages.
            is_recorded: True publishes also where no table changed, so that the stage's next run
                knows what this one has read.

        Raises:
            WarehouseError: A patient was erased since the store was opened.
        """
        with self.writer_lock():
            self.refuse_where_erased()
            commit = Commit(
                store=self,
                base=self.manifest(),
                stage=stage,
                configuration_hash=configuration_hash(configuration or {}),
                run_id=run_id,
                is_recorded=is_recorded,
            )
            yield commit
            commit.publish()

    def writer_lock(self) -> FileLock:
        """The lock that a writer holds; the operating system takes it from one that dies."""
        return FileLock(self.home.warehouse / ".writer.lock")

    def renew(self) -> None:
        """Accept the history as it begins now; for the writer that has just ended the old one."""
        self._history_start = history_start(self.home.warehouse)[0]

    def refuse_where_erased(self) -> None:
        """Tell a reader or writer whose files an erasure has removed under it.

        Raises:
            WarehouseError: A patient was erased since the store was opened.
        """
        start, moment = history_start(self.home.warehouse)
        if start != self._history_start:
            raise WarehouseError(
                f"A patient was erased on {moment[:19]} UTC, after this had begun to read. "
                "Nothing was written; run it again."
            )

    def describe_version(
        self, table: Table, delta: DeltaTable, known: Mapping[str, str]
    ) -> TableVersion:
        """The manifest entry of a table's current Delta version.

        Args:
            table: Declaration.
            delta: The Delta table at the version to describe.
            known: SHA-256 of files already published; data files never change.
        """
        folder = self.table_folder(table)
        paths = sorted(Path(uri) for uri in delta.file_uris())
        names = {path: str(path.relative_to(folder)) for path in paths}
        self._verified.update(path for path in paths if names[path] not in known)
        return TableVersion(
            delta_version=delta.version(),
            n_rows=sum(pq.read_metadata(path).num_rows for path in paths),
            files={names[path]: known.get(names[path]) or file_sha256(path) for path in paths},
        )

    def conform(self, table: Table, rows: pa.Table) -> pa.Table:
        """Rows cast, checked and sorted as declared."""
        if TABLES.get(table.name) is not table:
            raise WarehouseError(f"Table {table.name} is not declared in warehouse_schema.")
        return conform(table, rows)
