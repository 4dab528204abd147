"""Rows to csv, jsonl or parquet; a file appears under its name when all of it is written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from warehouse_schema.errors import ArgumentError


class RowWriter:
    """Appends rows to PATH.partial, which takes its name at the end of the block.

    ``finish`` closes the file before that, so that several files appear together or not at all.
    With ``path`` None nothing is written; with ``is_lazy`` no file is made before the first row.

    Raises:
        ArgumentError: the file cannot be written.
    """

    def __init__(self, path: Path | None, schema: pa.Schema, *, is_lazy: bool = False) -> None:
        self.path = path
        self.n_rows = 0
        self._schema = schema
        self._is_lazy = is_lazy
        self._sink: Any = None

    def __enter__(self) -> RowWriter:
        if not self._is_lazy:
            self._open()
        return self

    def write(self, rows: pa.Table) -> None:
        """Append rows of the writer's schema."""
        if self.path is None or not rows.num_rows:
            return
        if self._sink is None:
            self._open()
        self.n_rows += rows.num_rows
        with self._told():
            if isinstance(self._sink, io.TextIOBase):
                self._sink.writelines(
                    json.dumps(row, ensure_ascii=False) + "\n" for row in rows.to_pylist()
                )
            else:
                self._sink.write_table(rows)

    def finish(self) -> None:
        """Close the file; it still has its partial name."""
        if self._sink is not None:
            with self._told():
                self._sink.close()

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._sink is None or self.path is None:
            return
        try:
            self.finish()
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    @property
    def _partial(self) -> Path:
        assert self.path is not None
        return self.path.with_name(self.path.name + ".partial")

    def _open(self) -> None:
        if self.path is None:
            return
        with self._told():
            suffix = self.path.suffix.lower()
            if suffix == ".csv":
                self._sink = pa_csv.CSVWriter(str(self._partial), self._schema)
            elif suffix == ".parquet":
                self._sink = pq.ParquetWriter(str(self._partial), self._schema)
            else:
                self._sink = self._partial.open("w", encoding="utf-8")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = "" if self.path is None else self.path.name
            reason = error.strerror or type(error).__name__
            raise ArgumentError(f"OUT: cannot write {name}: {reason}.") from error
