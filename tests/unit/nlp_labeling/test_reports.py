"""Whole radiology reports: the summary of each is written beside it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from nlp_labeling.mentions import labeler
from nlp_labeling.note_summary import summarize_note

TABLES = [
    Path(__file__).with_name("report_cases.txt"),
    *sorted((Path(__file__).parent / "reports").glob("batch_*.txt")),
]
FINDINGS = ("rib_fracture", "clavicle_fracture")
MARK = "=== "


def read_reports() -> list[tuple[str, tuple[str, str]]]:
    """Text and the expected assertion (and acuity) of rib and clavicle."""
    reports = []
    blocks = [
        block
        for table in TABLES
        for block in table.read_text(encoding="utf-8").split(f"\n{MARK}")[1:]
    ]
    for block in blocks:
        head, _, text = block.partition("\n")
        rib, _, clavicle = head.partition("|")
        reports.append((text, (rib.strip(), clavicle.strip())))
    return reports


def told(text: str) -> tuple[str, ...]:
    """The summary in the table's words; acuity only where it was asked for or is known."""
    mentions = [asdict(mention) for mention in labeler().mentions(text)]
    words = []
    for one in summarize_note(mentions, FINDINGS):
        shown = one.assertion == "present" or (one.assertion, one.acuity) == ("absent", "old")
        is_known = shown and one.acuity != "unknown"
        words.append(f"{one.assertion} {one.acuity}" if is_known else one.assertion)
    return tuple(words)


REPORTS = read_reports()


def test_table_is_large() -> None:
    assert len(REPORTS) >= 700


@pytest.mark.parametrize(
    ("text", "expected"), REPORTS, ids=[f"{i}-{text[:30]!r}" for i, (text, _) in enumerate(REPORTS)]
)
def test_report(text: str, expected: tuple[str, str]) -> None:
    assert told(text) == expected
