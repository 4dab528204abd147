"""Rows against a table's declaration, when written and when read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.data_files import is_sorted, nullable_schema
from warehouse_schema.errors import WarehouseError
from warehouse_schema.table import Table


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """Cast rows to the declared schema, check them and sort them by primary key.

    Args:
        table: Declaration.
        rows: Arrow table with the declared columns in any order.

    Returns:
        The same rows, columns and types as declared, sorted by primary key.

    Raises:
        WarehouseError: A column is missing, unknown, of another type, null where that is not
            allowed, outside its closed set, or a primary key stands twice.
    """
    declared = [column.name for column in table.columns]
    missing = sorted(set(declared) - set(rows.column_names))
    unknown = sorted(set(rows.column_names) - set(declared))
    if missing or unknown:
        raise WarehouseError(
            f"Table {table.name}: missing columns {missing}, unknown columns {unknown}. "
            "Write exactly the columns that `ribline tables` lists."
        )
    try:
        cast = rows.select(declared).cast(nullable_schema(table))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        raise WarehouseError(
            f"Table {table.name}: a column has another type than declared: "
            f"{_type_differences(table, rows)}."
        ) from None
    _check_values(table, cast)
    if not is_sorted(table, cast):
        cast = cast.sort_by([(name, "ascending") for name in table.primary_key])
        _check_primary_key(table, cast)
    return pa.table(cast.columns, schema=table.schema)


def _type_differences(table: Table, rows: pa.Table) -> str:
    return ", ".join(
        f"{field.name} is {rows.schema.field(field.name).type}, declared {field.type}"
        for field in table.schema
        if rows.schema.field(field.name).type != field.type
    )


def _check_values(table: Table, rows: pa.Table) -> None:
    for column in table.columns:
        values = rows.column(column.name)
        if column.null_meaning is None and values.null_count:
            raise WarehouseError(
                f"Table {table.name}, column {column.name}: {values.null_count} nulls; "
                "none are allowed."
            )
        if column.allowed:
            known = pc.is_in(values.drop_null(), value_set=pa.array(column.allowed))
            if not pc.all(known, min_count=0).as_py():
                raise WarehouseError(
                    f"Table {table.name}, column {column.name}: a value is not one of "
                    f"{', '.join(column.allowed)}."
                )


def _check_primary_key(table: Table, rows: pa.Table) -> None:
    keys = list(table.primary_key)
    n_unique = rows.group_by(keys).aggregate([]).num_rows
    if n_unique != rows.num_rows:
        raise WarehouseError(
            f"Table {table.name}: {rows.num_rows - n_unique} rows repeat a primary key "
            f"({', '.join(keys)})."
        )
