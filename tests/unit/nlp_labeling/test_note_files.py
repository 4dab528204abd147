"""``label-notes``: formats, encodings, and input that is not a note."""

from __future__ import annotations

import csv
import itertools
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from striprtf.striprtf import rtf_to_text

from nlp_labeling import keyword_pattern, label_notes, pipeline
from nlp_labeling.definition import load_definitions
from nlp_labeling.mentions import labeler
from nlp_labeling.note_source import read_rows
from nlp_labeling.note_text import decode_bytes, fold_note
from nlp_labeling.rtf_text import strip_rtf
from warehouse_schema.errors import ArgumentError, ConfigurationError, InputError

NOTES = [
    ("a", "Acute fractures of the left 4th-6th ribs."),
    ("b", "No rib fracture."),
    ("c", "Lungs clear."),
    ("d", "History of clavicle fracture."),
    ("e", "右側鎖骨骨折"),
]
SUMMARY = [
    ("a", "clavicle_fracture", "not_mentioned", "unknown"),
    ("a", "rib_fracture", "present", "acute"),
    ("b", "clavicle_fracture", "not_mentioned", "unknown"),
    ("b", "rib_fracture", "absent", "unknown"),
    ("c", "clavicle_fracture", "not_mentioned", "unknown"),
    ("c", "rib_fracture", "not_mentioned", "unknown"),
    ("d", "clavicle_fracture", "absent", "old"),
    ("d", "rib_fracture", "not_mentioned", "unknown"),
    ("e", "clavicle_fracture", "present", "unknown"),
    ("e", "rib_fracture", "not_mentioned", "unknown"),
]


def write(path: Path, rows: list[tuple[Any, Any]]) -> Path:
    if path.suffix == ".parquet":
        ids, texts = zip(*rows, strict=True)
        pq.write_table(pa.table({"text": list(texts), "note_id": list(ids)}), path)
    elif path.suffix == ".jsonl":
        lines = (json.dumps({"note_id": i, "text": t}, ensure_ascii=False) for i, t in rows)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as lines_out:
            csv.writer(lines_out).writerows([("note_id", "text"), *rows])
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("source", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("target", [".csv", ".jsonl", ".parquet"])
def test_every_format(tmp_path: Path, source: str, target: str) -> None:
    notes = write(tmp_path / f"in{source}", NOTES)
    out, summary = tmp_path / f"out{target}", tmp_path / f"summary{target}"
    report = label_notes(notes, out, summary)
    assert (report.n_notes, report.n_mentions) == (5, 4)
    assert [tuple(row.values()) for row in read(summary)] == SUMMARY
    mentions = read(out)
    assert [row["note_id"] for row in mentions] == ["a", "b", "d", "e"]
    texts = dict(NOTES)
    first = mentions[0]
    span = texts["a"][int(first["start"]) : int(first["end"])]
    assert span == "fractures of the left 4th-6th ribs"
    assert first["rib_numbers"] == "4,5,6"


def test_two_processes_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp_labeling.note_source.BATCH_ROWS", 2)
    notes = write(tmp_path / "in.csv", NOTES)
    label_notes(notes, tmp_path / "one.csv", tmp_path / "one_summary.csv")
    label_notes(notes, tmp_path / "two.csv", tmp_path / "two_summary.csv", processes=2)
    for name in ("", "_summary"):
        one, two = (tmp_path / f"{who}{name}.csv" for who in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_rows_that_are_no_notes_are_quarantined(tmp_path: Path) -> None:
    notes = tmp_path / "in.jsonl"
    lines = [
        '{"note_id": "a", "text": "rib fracture"}',
        '{"note_id": "b", "text": 7}',
        '{"note_id": "c"}',
        '{"note_id": null, "text": "rib fracture"}',
        '{"note_id": "a", "text": "rib fracture"}',
        "not json",
        "[1, 2]",
        '{"note_id": "z", "text": ["rib fracture"]}',
    ]
    notes.write_text("\n".join(lines), encoding="utf-8")
    report = label_notes(notes, tmp_path / "out.csv")
    assert report.n_notes == 1
    assert sum(report.quarantined.values()) == 7
    assert report.quarantine_path is not None
    reasons = [row["reason"] for row in read(report.quarantine_path)]
    assert "text is int, not text" in reasons
    assert "note_id occurs twice" in reasons
    assert len(reasons) == 7


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_breaks_halfway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, processes: int
) -> None:
    monkeypatch.setattr("nlp_labeling.note_source.BATCH_ROWS", 100)
    rows = [(str(number), "Left rib fracture.") for number in range(1000)]
    notes = write(tmp_path / f"in{suffix}", [("", "no id"), *rows])
    out, summary = tmp_path / f"out{suffix}", tmp_path / f"summary{suffix}"
    out.write_bytes(b"of last week")

    def broken(path: Path) -> Any:
        yield from itertools.islice(read_rows(path), 700)
        raise InputError("IN: it ends here")

    monkeypatch.setattr("nlp_labeling.note_source.read_rows", broken)
    with pytest.raises(InputError, match="ends here"):
        label_notes(notes, out, summary, processes=processes)
    assert sorted(path.name for path in tmp_path.iterdir()) == [notes.name, out.name]
    assert out.read_bytes() == b"of last week"


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    notes = write(
        tmp_path / "in.parquet", [(str(n), f"Left rib fracture {n}.") for n in range(9000)]
    )
    body = bytearray(notes.read_bytes())
    body[2000:6000] = bytes(4000)
    notes.write_bytes(bytes(body))
    with pytest.raises(InputError, match=r"in\.parquet is damaged"):
        label_notes(notes, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    notes = write(tmp_path / "in.csv", NOTES)
    (tmp_path / "out.csv.partial").mkdir()
    with pytest.raises(ArgumentError, match=r"OUT: cannot write out\.csv"):
        label_notes(notes, tmp_path / "out.csv")


def test_ids_met_long_before_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp_labeling.note_source._SeenIds._NEWEST", 3)
    rows = [(f"n{number % 17}", "No rib fracture.") for number in range(40)]
    report = label_notes(write(tmp_path / "in.csv", rows), tmp_path / "out.csv")
    assert report.n_notes == 17
    assert report.quarantined == {"note_id occurs twice": 23}


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty times the notes, the same peak of what Python holds."""
    monkeypatch.setattr("nlp_labeling.note_source.BATCH_ROWS", 200)
    monkeypatch.setattr("nlp_labeling.note_source._SeenIds._NEWEST", 1_000)
    peaks = []
    for n_notes in (1_000, 20_000):
        rows = [(str(number), f"Line {number} is in place.") for number in range(n_notes)]
        notes = write(tmp_path / f"{n_notes}.jsonl", rows)
        del rows
        tracemalloc.start()
        label_notes(notes, tmp_path / "out.parquet", tmp_path / "summary.csv")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_encodings(tmp_path: Path) -> None:
    notes = tmp_path / "in.csv"
    rows = [b"note_id,text", "a,左側肋骨骨折".encode("cp950"), "b,右側鎖骨骨折".encode()]
    rows.append(b"c,rib fracture \x97 left \xff")
    notes.write_bytes(b"\r\n".join(rows) + b"\r\n")
    report = label_notes(notes, tmp_path / "out.csv", tmp_path / "summary.csv")
    assert report.n_notes == 3
    assert report.encodings["cp950"] == 1
    present = [r for r in read(tmp_path / "summary.csv") if r["assertion"] == "present"]
    assert [(r["note_id"], r["finding"]) for r in present] == [
        ("a", "rib_fracture"),
        ("b", "clavicle_fracture"),
        ("c", "rib_fracture"),
    ]


def test_utf16_and_byte_order_mark(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig"):
        notes = tmp_path / "in.csv"
        notes.write_text("note_id,text\na,左側肋骨骨折\n", encoding=encoding)
        assert label_notes(notes, tmp_path / "out.csv").n_mentions == 1


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("in.csv", b"id,text\n1,x\n", "lacks the column note_id"),
        ("in.csv", b"", "lacks the column note_id and text"),
        ("in.jsonl", b'{"note_id": 1}\n', "lacks the column text"),
        ("in.parquet", b"nonsense", "not a Parquet file"),
        ("in.xlsx", b"", "not a known format"),
    ],
)
def test_unusable_input(tmp_path: Path, name: str, body: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(InputError, match=message):
        label_notes(tmp_path / name, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_unusable_arguments(tmp_path: Path) -> None:
    notes = write(tmp_path / "in.csv", NOTES)
    with pytest.raises(InputError, match="no file"):
        label_notes(tmp_path / "absent.csv", tmp_path / "out.csv")
    with pytest.raises(ArgumentError, match="known format"):
        label_notes(notes, tmp_path / "out.txt")
    with pytest.raises(ArgumentError, match="overwrite IN"):
        label_notes(notes, notes)
    with pytest.raises(ArgumentError, match="same file"):
        label_notes(notes, tmp_path / "out.csv", tmp_path / "out.csv")
    with pytest.raises(ConfigurationError, match="hip_fracture has no definition"):
        load_definitions(["hip_fracture"])


def test_ten_megabytes_of_text_in_bounded_time(tmp_path: Path) -> None:
    long = "left rib fracture and " * 2_000 + "x" * 10_000_000 + " no clavicle fracture"
    notes = write(tmp_path / "in.parquet", [("a", long)])
    begin = time.process_time()
    report = label_notes(notes, tmp_path / "out.csv", tmp_path / "summary.csv")
    assert report.n_notes == 1
    assert report.n_mentions > 1000
    assert time.process_time() - begin < 60


def test_decoding() -> None:
    assert decode_bytes("肋骨".encode("cp950")) == ("肋骨", "cp950")
    assert decode_bytes(b"caf\xe9 x")[1] in ("cp1252", "cp950", "big5hkscs")
    assert fold_note("Ｒｉｂ　ﬁx").folded == "rib fix"


def test_spacy_pipeline_marks_the_given_text() -> None:
    nlp = pipeline(findings=["rib_fracture"])
    doc = nlp("INDICATION: fall. rib fx(+),無hemothorax。No right 5th rib fracture.")
    spans = list(doc.spans["mentions"])
    assert [(span.text, span._.assertion) for span in spans] == [
        ("rib fx", "present"),
        ("rib fracture", "absent"),
    ]
    assert spans[1]._.rib_numbers == (5,)
    assert [span.text for span in doc.spans["cues"]] == ["(+)", "No"]
    assert len(doc._.mentions) == 2
    assert doc.spans["sections"][0].label_ == "indication"


def test_keyword_pattern_is_one_expression() -> None:
    assert keyword_pattern() == keyword_pattern(labeler().definitions)


@pytest.mark.parametrize(
    "rtf",
    [
        r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 No effusion.\par Left {\b rib} fracture.\par}",
        r"{\rtf1\ansi\ansicpg1252 Caf\'e9 {\*\generator hidden;}rib\tab fx\line end}",
        r"{\rtf1\ansi\uc1 \u-32360?\u-25432? fx}",
    ],
)
def test_rtf_reads_as_striprtf_does(rtf: str) -> None:
    expected = rtf_to_text(rtf).split()
    assert strip_rtf(rtf)[0].split() == expected
