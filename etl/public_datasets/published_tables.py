"""Tables of a published data set: found in the user's copy, checked by column, read row by row.

Small tables are read as rows; the large ones of MIMIC as Arrow batches, so that a whole column is
filtered at once and memory stays that of a few batches.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.csv as pv

from warehouse_schema.errors import InputError

# physionet.org/files/PROJECT/VERSION/hosp lies two folders below physionet.org/files.
MAX_DEPTH = 3
# A row must fit into a block; the longest discharge summaries are about 60 KB.
BLOCK_BYTES = 4 * 2**20
MAX_NAME_LENGTH = 200
Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A release whose file layout a reader knows.

    Attributes:
        title: Name and release.
        page: Where it is published.
    """

    title: str
    page: str

    def find_table(self, folder: Path, *names: str, part: str) -> Path:
        """The first table that exists under the folder, compressed or not.

        Args:
            folder: The folder given, or one up to three levels above the table's own.
            names: Names without ``.gz``, relative to the release's root, for example
                ``hosp/patients.csv``; a ``*`` matches within a name.
            part: The part of the data set's page that holds it.

        Raises:
            InputError: There is none.
        """
        found = self.find_optional(folder, *names)
        if found is None:
            raise InputError(
                f"{names[0]} is missing in the folder given. It belongs to {self.title}, {part} "
                f"({self.page}). Give the folder that holds the files as published."
            )
        return found

    def find_optional(self, folder: Path, *names: str) -> Path | None:
        """Like ``find_table``, but None where there is none. Of several releases the last wins."""
        for depth in range(MAX_DEPTH + 1):
            for name in names:
                for suffix in (".gz", ""):
                    found = sorted(folder.glob("*/" * depth + name + suffix))
                    if found:
                        return found[-1]
        return None

    def read_rows(self, path: Path, columns: Sequence[str]) -> Iterator[Row]:
        """Rows of a table by column name; cells are text, and empty where a row is short.

        Raises:
            InputError: The table is unreadable, or lacks one of the columns.
        """
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file, restval="")
                self._check_columns(path, rows.fieldnames or (), columns)
                for row in rows:
                    row.pop(None, None)
                    yield row
        except (OSError, EOFError, UnicodeDecodeError, csv.Error):
            raise self._unreadable(path) from None

    def stream_batches(
        self,
        path: Path,
        columns: Sequence[str],
        on_invalid: Callable[[], None],
    ) -> Iterator[pa.RecordBatch]:
        """A table's columns as Arrow batches of strings; empty cells are null.

        Args:
            path: Table, compressed or not.
            columns: Columns to read.
            on_invalid: Called for each row with too many or too few cells, which is left out.

        Raises:
            InputError: The table is unreadable, or lacks one of the columns.
        """

        def skip(_: object) -> str:
            on_invalid()
            return "skip"

        try:
            with pa.input_stream(path, compression="detect") as stream:
                header = next(csv.reader([_first_line(stream)]), [])
            self._check_columns(path, header, columns)
            reader = pv.open_csv(
                path,
                read_options=pv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=pv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
                convert_options=pv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
            yield from reader
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, pa.ArrowInvalid):
            raise self._unreadable(path) from None

    def _check_columns(self, path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
        missing = [name for name in columns if name not in header]
        if missing:
            raise InputError(
                f"{path.name}: column {missing[0]} is missing. It has: "
                f"{', '.join(filter(None, header)) or 'no header'}. Take the table as published "
                f"in {self.title}."
            )

    def _unreadable(self, path: Path) -> InputError:
        return InputError(
            f"{path.name} is unreadable or damaged. Take the table again as published in "
            f"{self.title} ({self.page})."
        )


def inner_path(folder: Path, *names: str) -> Path | None:
    """The path of published names under a folder; None where they would lead out of it.

    Names come from files, so they hold no ``..``, no root and no NUL.
    """
    inner = PurePosixPath(*(name.strip() for name in names))
    is_plain = all(part != ".." and len(part) <= MAX_NAME_LENGTH for part in inner.parts)
    is_inside = is_plain and "\0" not in str(inner) and not inner.is_absolute()
    return folder / inner if is_inside and inner.parts else None


def tables_hash(rule: str, *paths: Path) -> str:
    """Hash of a labelling rule and the published tables that it was applied to."""
    digest = hashlib.sha256(rule.encode())
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _first_line(stream: pa.NativeFile) -> str:
    line = stream.read(65_536).split(b"\n", 1)[0]
    return str(line.decode("utf-8-sig")).rstrip("\r")
