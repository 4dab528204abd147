"""What a stage's last run had read, and which rows differ since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.errors import WarehouseError
from warehouse_schema.manifest import Manifest, TableVersion, configuration_hash
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.runs import LINEAGE


@dataclass(frozen=True, kw_only=True)
class PreviousRun:
    """The newest commit of a stage.

    Attributes:
        version: Manifest number that it published.
        inputs: The version that it read of each table; None where a table did not exist.
    """

    version: int
    inputs: Mapping[str, TableVersion | None]


def previous_run(
    store: Store, stage: str, configuration: Mapping[str, object]
) -> PreviousRun | None:
    """The newest commit of a stage, if it had this configuration and its inputs are still known.

    Args:
        store: The store.
        stage: Name of the stage.
        configuration: What it would be run with now.

    Returns:
        None where the stage must read everything.
    """
    lineage = store.read(LINEAGE, where={"stage": stage})
    if not lineage.num_rows:
        return None
    version = pc.max(lineage["commit_version"]).as_py()
    rows = lineage.filter(pc.field("commit_version") == version).to_pylist()
    if rows[0]["configuration_hash"] != configuration_hash(configuration):
        return None
    try:
        inputs = {
            row["input_table"]: _version_read(store, version, row["input_table"], row)
            for row in rows
        }
    except WarehouseError:
        return None
    return PreviousRun(version=version, inputs=inputs)


def _version_read(
    store: Store, version: int, name: str, row: Mapping[str, int]
) -> TableVersion | None:
    """The manifest entry of an input, which another writer may have renewed before the commit."""
    wanted = row["input_version"]
    while wanted >= 0:
        entry = store.manifest(version).tables.get(name)
        if entry is None or entry.delta_version < wanted:
            raise WarehouseError(f"Table {name}: version {wanted} is not in any manifest.")
        if entry.delta_version == wanted:
            return entry
        version -= 1
    return None


def changed_values(
    store: Store,
    table: Table,
    column: str,
    *,
    since: PreviousRun,
    now: Manifest,
    columns: list[str] | None = None,
) -> pa.Array:
    """Values of a column in the rows that came, went or changed since a stage's previous run.

    Args:
        store: The store.
        table: One of the run's inputs.
        column: Column whose values are wanted.
        since: The previous run.
        now: State to compare with.
        columns: Columns whose changes count, all by default.

    Returns:
        Distinct values, nulls left out.

    Raises:
        WarehouseError: The run had not read the table, or its files are gone.
    """
    if table.name not in since.inputs:
        raise WarehouseError(f"Table {table.name} is no input of version {since.version}.")
    before, after = since.inputs[table.name], now.tables.get(table.name)
    # A data file never changes: what both versions name holds the same rows.
    shared = _names(before) & _names(after)
    old, new = (_paths(store, table, version, shared) for version in (before, after))
    if not old and not new:
        return pa.array([], table.schema.field(column).type)
    chosen = ", ".join(f'"{name}"' for name in dict.fromkeys([column, *(columns or _all(table))]))
    sides = [_rows(chosen, paths) for paths in (old, new)]
    sql = (
        f"WITH old AS ({sides[0]}), new AS ({sides[1]}) "  # noqa: S608 - names are declared ones
        f'SELECT DISTINCT "{column}" FROM ((FROM old EXCEPT FROM new) UNION ALL '
        f'(FROM new EXCEPT FROM old)) WHERE "{column}" IS NOT NULL ORDER BY 1'
    )
    with duckdb.connect(":memory:") as connection:
        connection.register("declared", table.schema.empty_table())
        found = connection.execute(sql).to_arrow_table().column(0)
    return found.cast(table.schema.field(column).type).combine_chunks()


def _all(table: Table) -> list[str]:
    return list(table.schema.names)


def _names(version: TableVersion | None) -> frozenset[str]:
    return frozenset() if version is None else frozenset(version.files)


def _paths(
    store: Store, table: Table, version: TableVersion | None, shared: frozenset[str]
) -> list[str]:
    if version is None:
        return []
    files = {name: sha256 for name, sha256 in version.files.items() if name not in shared}
    part = TableVersion(delta_version=version.delta_version, n_rows=0, files=files)
    return [str(path) for path in store.data_files(table, part)]


def _rows(chosen: str, paths: list[str]) -> str:
    if not paths:
        return f"SELECT {chosen} FROM declared"  # noqa: S608
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"SELECT {chosen} FROM read_parquet([{listed}])"  # noqa: S608
