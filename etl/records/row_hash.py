"""64-bit hashes of identifiers and of whole rows, the same for either lane of a source.

They tell a row from its former self, under a key that stays the same: SipHash-2-4 as pandas has it.
Two different values share one with a chance of 2^-64.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.records.record_values import UnreadableValueError, read_identifier, read_text
from etl.records.source_batch import Column, SourceBatch

Hashes = npt.NDArray[np.int64]
NO_VALUE = np.uint64(0x9E3779B97F4A7C15)
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock times have no zone


def row_hash(batch: SourceBatch, names: Sequence[str]) -> Hashes:
    """Hash of each row's values in the columns named, in that order."""
    combined = np.zeros(batch.n_rows, np.uint64)
    for name in names:
        combined = _mix(combined * _FACTOR + _hashed(_texts(batch.columns[name])))
    return combined.view(np.int64)


def identifier_hash(column: Column, encoding: str) -> Hashes:
    """Hash of each identifier as ``read_identifier`` reads it; nulls and blanks share one."""
    if isinstance(column, pa.Array) and pa.types.is_integer(column.type):
        return _hashed(_texts(column)).view(np.int64)
    if isinstance(column, pa.Array) and pa.types.is_string(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        return _hashed(_objects(pc.if_else(pc.equal(trimmed, ""), None, trimmed))).view(np.int64)
    values = column if isinstance(column, list) else column.to_pylist()
    return _hashed(_array([_identifier(value, encoding) for value in values])).view(np.int64)


def _identifier(value: object, encoding: str) -> str | bytes | None:
    try:
        return read_identifier(value, encoding)
    except UnreadableValueError:
        return bytes(value)  # type: ignore[call-overload, no-any-return]


def _hashed(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.uint64]:
    hashes = pd.util.hash_array(texts, categorize=False)
    # A null is hashed as the text "None".
    return np.where(pd.isna(texts), NO_VALUE, hashes)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(32))) * _FACTOR
    return values ^ (values >> np.uint64(29))


def _texts(column: Column) -> npt.NDArray[np.object_]:
    if isinstance(column, list):
        return _array([_text(value) for value in column])
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _objects(column)
    if pa.types.is_integer(kind):
        return _objects(column.cast(pa.string()))
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return _objects(
            pc.binary_join_element_wise("t", column.cast(pa.int64()).cast(pa.string()), "")
        )
    return _array([_text(value) for value in column.to_pylist()])


def _text(value: Any) -> str | bytes | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, datetime):
        wall = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        since = wall - _EPOCH
        return f"t{(since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds}"
    if isinstance(value, date):
        return value.isoformat()
    return read_text(value, "utf-8")


def _objects(column: pa.Array) -> npt.NDArray[np.object_]:
    objects: npt.NDArray[np.object_] = column.to_numpy(zero_copy_only=False)
    return objects


def _array(values: list[Any]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array
