"""The store: the only code that reads and writes warehouse tables.

Stages write inside ``with store.commit(stage=...) as commit``. Nothing is visible to readers
until the block ends; then one manifest publishes all its tables at once. A block that fails
publishes nothing, and the next writer takes back what it had written to the Delta log.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from warehouse_schema import delta_log, home_format
from warehouse_schema.commit import Commit
from warehouse_schema.data_files import read_rows, sorted_rows
from warehouse_schema.durable_files import file_sha256
from warehouse_schema.errors import AlreadyCommittedError, WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.manifest import (
    Manifest,
    TableVersion,
    complete_publication,
    configuration_hash,
    history_start,
    is_publication_open,
    manifest_at,
)
from warehouse_schema.row_filter import row_condition
from warehouse_schema.run_key import RunKey
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.runs import COMMITTED_RUNS
from warehouse_schema.validation import conform

FULL = (errno.ENOSPC, errno.EDQUOT)


class Store:
    """Reads and writes the tables of one home folder.

    Args:
        home: The home folder; its folders are made where they are missing.
        is_checked: False opens a damaged one, to look at or to repair.

    Raises:
        WarehouseError: The home was written by a newer Ribline, or a manifest or log is damaged.
    """

    def __init__(self, home: Home, *, is_checked: bool = True) -> None:
        # Delta answers with absolute paths.
        self.home = Home(home.root.resolve()).create()
        self._verified: set[Path] = set()
        home_format.refuse_newer(self.home.warehouse)
        self._history_start = history_start(self.home.warehouse)[0]
        if is_checked:
            self._complete_publication()
            self.refuse_damaged_logs()

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
        wanted = sorted({*(columns or table.schema.names), *table.primary_key})
        try:
            rows = read_rows(table, files, wanted, row_condition(where or {}))
        except FileNotFoundError:
            self.refuse_where_erased()
            raise
        rows = sorted_rows(table, rows)
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
        run_key: RunKey | None = None,
    ) -> Iterator[Commit]:
        """Write tables; all of them become visible when the block ends without an error.

        What is visible is on disk: a power cut does not take it back. One writer at a time: others
        wait. A store that was opened before a patient was erased may hold that patient's rows and
        is refused.

        Args:
            stage: Name of the stage, kept in lineage.
            configuration: The stage's arguments, hashed into lineage.
            run_id: Training run, for training and evaluation stages.
            is_recorded: True publishes also where no table changed, so that the stage's next run
                knows what this one has read.
            run_key: A run that must be committed once; it is published even where no table
                changed.

        Raises:
            AlreadyCommittedError: The run key was committed before; the block is not entered.
            WarehouseError: A patient was erased since the store was opened, or the log of a table
                is damaged.
        """
        with self.writing():
            self.refuse_where_erased()
            self.refuse_committed(run_key)
            commit = Commit(
                store=self,
                base=self.manifest(),
                stage=stage,
                configuration_hash=configuration_hash(configuration or {}),
                run_id=run_id,
                is_recorded=is_recorded,
                run_key=run_key,
            )
            try:
                yield commit
                commit.publish()
            except OSError as error:
                commit.discard()
                if error.errno in FULL and not commit.is_published():
                    raise WarehouseError(
                        f"The disk of {self.home.root} is full. Nothing was published; free space "
                        "(`ribline warehouse maintain`, `ribline prune-cache`) and run it again."
                    ) from None
                raise
            except BaseException:
                commit.discard()
                raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer: the home is brought to this code's format, an interrupted
        publication completed."""
        with self.writer_lock():
            complete_publication(self.home.warehouse)
            home_format.bring_up_to_date(self)
            yield

    def writer_lock(self) -> FileLock:
        """The lock that a writer holds; the operating system takes it from one that dies."""
        return FileLock(self.home.warehouse / ".writer.lock", poll_interval=0.02)

    def refuse_committed(self, run_key: RunKey | None) -> None:
        """Refuse a run that has been committed.

        Raises:
            AlreadyCommittedError: It has.
        """
        if run_key is None:
            return
        found = self.read(COMMITTED_RUNS, where={"run_key": run_key.run_key}).to_pylist()
        if found:
            raise AlreadyCommittedError(
                f"{run_key.flow} for {run_key.run_date} was committed as version "
                f"{found[0]['commit_version']} under the same definitions. Nothing is left to do."
            )

    def refuse_damaged_logs(self) -> None:
        """Look at the newest log entry of every table.

        A home may be shared or used without what lies in restricted/: tables there that are not at
        hand at all are looked at when they are used.

        Raises:
            WarehouseError: One is missing, empty, torn or edited.
        """
        for name, version in self.manifest().tables.items():
            if name not in TABLES:
                continue
            folder = self.table_folder(TABLES[name])
            if TABLES[name].area == "restricted" and not folder.is_dir():
                continue
            damage = delta_log.damage_of(folder, version.delta_version, version.log_sha256)
            # A writer may have published, and maintenance removed, the version looked at.
            if damage and self.manifest().tables.get(name) == version:
                raise WarehouseError(f"Table {name}: {damage}. {delta_log.WAY_BACK}")

    def _complete_publication(self) -> None:
        """Publish what a writer that died had written; not where one is at work."""
        if not is_publication_open(self.home.warehouse):
            return
        try:
            with self.writer_lock().acquire(timeout=0):
                complete_publication(self.home.warehouse)
        except (Timeout, OSError):
            return

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

    def trust(self, paths: list[Path]) -> None:
        """Files that this process has written need no look at their hash."""
        self._verified.update(paths)

    def conform(self, table: Table, rows: pa.Table) -> pa.Table:
        """Rows cast, checked and sorted as declared."""
        if TABLES.get(table.name) is not table:
            raise WarehouseError(f"Table {table.name} is not declared in warehouse_schema.")
        return conform(table, rows)
