"""The table of hard cases: what each text says about ribs and clavicles."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from nlp_labeling.mention import Mention
from nlp_labeling.mentions import labeler
from nlp_labeling.note_summary import decisive_mentions, summarize_note

TABLE = Path(__file__).with_name("hard_cases.tsv")
COLUMNS = ("rib_fracture", "clavicle_fracture")
SIDES = ("left", "right", "bilateral")
ACUITIES = ("acute", "healing", "old", "unknown")
DISPLACEMENTS = ("displaced", "nondisplaced")


def read_cases() -> list[tuple[str, dict[str, str]]]:
    cases = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("# "):
            rib, clavicle, text = line.split("\t", 2)
            expected = dict(zip(COLUMNS, (rib, clavicle), strict=True))
            cases.append((text.replace("\\n", "\n").replace("\\t", "\t"), expected))
    return cases


CASES = read_cases()


def numbers(word: str) -> set[int]:
    low, _, high = word.partition("-")
    if high:
        return set(range(int(low), int(high) + 1))
    return {int(part) for part in word.split(",")}


def check_cell(cell: str, finding: str, mentions: list[Mention]) -> None:
    own = [asdict(mention) for mention in mentions if mention.finding == finding]
    summary = summarize_note(own, [finding])[0]
    verdict, *attributes = cell.split()
    if verdict == "-":
        assert not own
    elif verdict == "silent":
        assert own
        assert summary.assertion == "not_mentioned"
    elif verdict == "history":
        assert own
        assert (summary.assertion, summary.acuity) == ("absent", "old")
    else:
        assert summary.assertion == verdict
    if not attributes:
        return
    chosen = decisive_mentions(own)[1]
    for attribute in attributes:
        if attribute in ACUITIES:
            assert summary.acuity == attribute
        elif attribute in SIDES:
            assert attribute in {mention["laterality"] for mention in chosen}
        elif attribute in DISPLACEMENTS:
            assert attribute in {mention["displacement"] for mention in chosen}
        else:
            told = {number for mention in chosen for number in mention["rib_numbers"]}
            assert told == numbers(attribute)


def test_table_is_large() -> None:
    assert len(CASES) >= 950
    assert sum(not text.isascii() for text, _ in CASES) >= 80


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text[:60] for text, _ in CASES])
def test_hard_case(text: str, expected: dict[str, str]) -> None:
    mentions = labeler().mentions(text)
    for finding, cell in expected.items():
        check_cell(cell, finding, mentions)
