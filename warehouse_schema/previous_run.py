"""What a stage's last run had read, and which rows differ since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.data_files import nullable_schema, read_rows
from warehouse_schema.errors import WarehouseError
from warehouse_schema.manifest import Manifest, TableVersion, configuration_hash, list_versions
from warehouse_schema.row_comparison import common_rows, equal_rows, rows_at
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
    if wanted < 0:
        return None
    for number in reversed(list_versions(store.home.warehouse)):
        entry = store.manifest(number).tables.get(name) if number <= version else None
        if entry is not None and entry.delta_version <= wanted:
            if entry.delta_version == wanted:
                return entry
            break
    raise WarehouseError(f"Table {name}: version {wanted} is not in any manifest.")


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
    chosen = list(dict.fromkeys([*table.primary_key, column, *(columns or table.schema.names)]))
    sides = [_rows(table, paths, chosen) for paths in (old, new)]
    return _values_that_differ(table, column, *sides)


def _values_that_differ(table: Table, column: str, old: pa.Table, new: pa.Table) -> pa.Array:
    left, right = common_rows(table, old, new)
    is_equal = equal_rows(rows_at(old, left), rows_at(new, right))
    values = []
    for rows, numbers in ((old, left), (new, right)):
        is_changed = np.ones(rows.num_rows, bool)
        is_changed[numbers[is_equal]] = False
        values.append(rows.column(column).filter(pa.array(is_changed)))
    kind = table.schema.field(column).type
    found = pc.unique(pa.chunked_array([c for each in values for c in each.chunks], kind))
    return found.drop_null().sort()


def _rows(table: Table, paths: list[Path], columns: list[str]) -> pa.Table:
    if not paths:
        return nullable_schema(table).empty_table().select(columns)
    return read_rows(table, paths, columns)


def _names(version: TableVersion | None) -> frozenset[str]:
    return frozenset() if version is None else frozenset(version.files)


def _paths(
    store: Store, table: Table, version: TableVersion | None, shared: frozenset[str]
) -> list[Path]:
    if version is None:
        return []
    files = {name: sha256 for name, sha256 in version.files.items() if name not in shared}
    part = TableVersion(delta_version=version.delta_version, n_rows=0, files=files)
    return store.data_files(table, part)
