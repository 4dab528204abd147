"""Finding and reading published tables, whole or in batches."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import etl.public_datasets.published_tables
from etl.public_datasets.published_tables import Publication, inner_path
from warehouse_schema.errors import InputError

DATA_SET = Publication(title="Data Set 1.0", page="example.org/data")
NOTE = 'FINDINGS:\n\n"No" fracture, of the ribs.\r\n'


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str], Path]:
    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return put


def stream(path: Path, *columns: str) -> tuple[pa.Table, int]:
    n_invalid = [0]

    def count() -> None:
        n_invalid[0] += 1

    batches = list(DATA_SET.stream_batches(path, columns, count))
    return pa.Table.from_batches(batches), n_invalid[0]


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_table_is_found_up_to_three_folders_down(
    put: Callable[..., Path], tmp_path: Path, depth: int, suffix: str
) -> None:
    path = put("/".join([*["a", "b", "c"][:depth], f"hosp/patients.csv{suffix}"]), "x\n")
    assert DATA_SET.find_table(tmp_path, "hosp/patients.csv", part="hosp") == path


def test_of_several_releases_the_last_is_taken(put: Callable[..., Path], tmp_path: Path) -> None:
    for release in ("2.2", "3.1", "3.0"):
        put(f"mimiciv/{release}/hosp/patients.csv.gz", "x\n")
    found = DATA_SET.find_table(tmp_path, "hosp/patients.csv", part="hosp")
    assert found.parts[-3] == "3.1"
    put("1/2/3/4/note.csv", "x\n")
    with pytest.raises(InputError, match=r"note\.csv is missing .* Data Set 1\.0, note \(example"):
        DATA_SET.find_table(tmp_path, "note.csv", part="note")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_both_ways_of_reading_agree(put: Callable[..., Path], name: str) -> None:
    quoted = NOTE.replace('"', '""')
    path = put(name, f'\ufeffid,extra,text\n1,,"{quoted}"\n2,x,\n3,y,"a, b"\n')
    rows = list(DATA_SET.read_rows(path, ("id", "text")))
    assert [row["text"] for row in rows] == [NOTE, "", "a, b"]
    table, n_invalid = stream(path, "id", "text")
    assert table.to_pydict() == {"id": ["1", "2", "3"], "text": [NOTE, None, "a, b"]}
    assert n_invalid == 0


def test_rows_of_another_length_are_counted(put: Callable[..., Path]) -> None:
    path = put("t.csv", "id,text\n1,a\n2\n3,c,d\n4,e\n")
    table, n_invalid = stream(path, "text")
    assert table["text"].to_pylist() == ["a", "e"]
    assert n_invalid == 2
    assert len(list(DATA_SET.read_rows(path, ("id",)))) == 4


def test_a_long_table_comes_in_small_batches(
    put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etl.public_datasets.published_tables, "BLOCK_BYTES", 64 * 2**10)
    numbers = random.Random(0)
    notes = ["line\n" * numbers.randint(1, 2_000) for _ in range(500)]
    path = put("t.csv.gz", "id,text\n" + "".join(f'{n},"{note}"\n' for n, note in enumerate(notes)))
    batches = list(DATA_SET.stream_batches(path, ("text",), pytest.fail))
    assert len(batches) > 20
    assert [text for batch in batches for text in batch.column(0).to_pylist()] == notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "column id is missing. It has: no header"),
        (b"a,b\n", "column id is missing. It has: a, b. Take the table as published in Data Set"),
        (b"id\n\xff\xfe\n", "is unreadable or damaged"),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_table_that_is_none(
    tmp_path: Path, content: bytes, message: str, *, is_streamed: bool
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        if is_streamed:
            stream(path, "id")
        else:
            list(DATA_SET.read_rows(path, ("id",)))


@pytest.mark.parametrize(
    ("names", "inner"),
    [
        (("images", "a.png"), "images/a.png"),
        (("train/p1/a.jpg",), "train/p1/a.jpg"),
        ((" a.png ",), "a.png"),
        (("..", "a.png"), None),
        (("images/../../a.png",), None),
        (("images", "/etc/passwd"), None),
        (("a\0.png",), None),
        (("x" * 300,), None),
        (("",), None),
    ],
)
def test_names_from_files_stay_inside(names: tuple[str, ...], inner: Any) -> None:
    folder = Path("/data")
    assert inner_path(folder, *names) == (None if inner is None else folder / inner)
