"""The search that proves an erasure: it finds what is there, and no more."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.privacy import trace_search
from etl.privacy.trace_search import TraceSearch

TOKEN = "P-0123456789abcdef0123"


@pytest.mark.parametrize(
    ("token", "text", "is_found"),
    [
        (TOKEN, f"x {TOKEN} y", True),
        (TOKEN, f"/{TOKEN}.dcm", True),
        (TOKEN, f"{TOKEN}4", False),
        (TOKEN, f"A{TOKEN}", False),
        ("1.2.840.77", "uid 1.2.840.77\0", True),
        ("1.2.840.77", "uid 1.2.840.771", False),
        ("1.2.840.77", "uid 9.1.2.840.77", False),
        ("12345678", "patient 12345678 fell", True),
        ("12345678", "0.12345678", False),
        ("病歷一二三四", "的病歷一二三四號", True),
        ("MRN 7/7 (x)", "seen: MRN 7/7 (x), again", True),
        ("a\0b\nc-12345", "<a\0b\nc-12345>", True),
        (".*(?i)[a-z]+$", "anything else", False),
        ("../../etc/passwd", "../../etc/passwd", True),
    ],
)
def test_bytes_of_a_file(tmp_path: Path, token: str, text: str, is_found: bool) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"\xff\0" + text.encode())
    assert TraceSearch([token]).is_in(file) == is_found


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ('{"size": 12345678}', False),
        ('{"offsets": [0,12345678]}', False),
        ('{"time": "2026-01-01T00:00:00.12345678"}', False),
        ('{"id": "12345678"}', True),
        ('{"path": "runs/12345678/x"}', True),
    ],
)
def test_a_number_counts_in_json_within_a_text_alone(
    tmp_path: Path, text: str, is_found: bool
) -> None:
    file = tmp_path / "00000001.json"
    file.write_text(text)
    assert TraceSearch(["12345678"]).is_in(file) == is_found


def test_values_of_parquet_in_lists_structs_and_dictionaries(tmp_path: Path) -> None:
    columns = {
        "plain": pa.array(["x", None]),
        "list": pa.array([["a", f"see {TOKEN}"], None]),
        "struct": pa.array([{"a": 1, "b": TOKEN}, None]),
        "dictionary": pa.array([TOKEN, "x"]).dictionary_encode(),
        "number": pa.array([1, 2]),
    }
    rows = pa.table(columns)
    assert TraceSearch([TOKEN]).columns_with(rows) == ["list", "struct", "dictionary"]
    pq.write_table(rows.select(["list"]), tmp_path / "t.parquet", compression="zstd")
    assert TraceSearch([TOKEN]).is_in(tmp_path / "t.parquet")
    assert TraceSearch([TOKEN]).n_rows_with(pa.table({"a": [TOKEN, None, f"{TOKEN} x"]})) == 2


def test_what_is_too_short_is_counted_and_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("42")
    search = TraceSearch(["42", TOKEN])
    assert search.n_too_short == 1
    assert not search.is_in(tmp_path / "x")


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(n_before=st.integers(0, 3000))
def test_a_trace_across_two_blocks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_before: int
) -> None:
    monkeypatch.setattr(trace_search, "CHUNK_BYTES", 1500)
    file = tmp_path / "big"
    file.write_bytes(b"\xfe" * n_before + TOKEN.encode() + b"\xfe" * 700)
    assert TraceSearch([TOKEN]).is_in(file)


def test_a_file_name_counts_too(tmp_path: Path) -> None:
    assert TraceSearch([TOKEN]).is_named(tmp_path / f"{TOKEN}.part")
    assert not TraceSearch([TOKEN]).is_named(tmp_path / "other.part")


def test_a_thousand_traces(tmp_path: Path) -> None:
    tokens = [f"P-{number:020x}" for number in range(1000)]
    file = tmp_path / "x"
    file.write_text(f"... {tokens[-1]} ...")
    assert TraceSearch(tokens).is_in(file)
    assert not TraceSearch(tokens[:-1]).is_in(file)
