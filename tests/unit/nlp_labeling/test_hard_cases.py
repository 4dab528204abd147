"""The table of hard cases: what each text says about ribs and clavicles."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

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


def told(cell: str, finding: str, mentions: list[Mention]) -> str:
    """The cell as the mentions fill it: the verdict, and the attributes that the cell asks for."""
    own = [asdict(mention) for mention in mentions if mention.finding == finding]
    summary = summarize_note(own, [finding])[0]
    verdict, *attributes = cell.split()
    chosen = decisive_mentions(own)[1]
    words = [
        verdict_told(own, summary.assertion, summary.acuity, asks_history=verdict == "history")
    ]
    for attribute in attributes:
        if attribute in ACUITIES:
            words.append(summary.acuity)
        elif attribute in (*SIDES, *DISPLACEMENTS):
            column = "laterality" if attribute in SIDES else "displacement"
            values = {mention[column] for mention in chosen}
            words.append(attribute if attribute in values else "/".join(sorted(values)) or "none")
        else:
            found = {number for mention in chosen for number in mention["rib_numbers"]}
            is_equal = found == numbers(attribute)
            words.append(attribute if is_equal else ",".join(map(str, sorted(found))) or "none")
    return " ".join(words)


def verdict_told(
    own: list[dict[str, Any]], assertion: str, acuity: str, *, asks_history: bool
) -> str:
    if not own:
        return "-"
    if assertion == "not_mentioned":
        return "silent"
    return "history" if asks_history and (assertion, acuity) == ("absent", "old") else assertion


def test_table_is_large() -> None:
    assert len(CASES) >= 950
    assert sum(not text.isascii() for text, _ in CASES) >= 80


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text[:60] for text, _ in CASES])
def test_hard_case(text: str, expected: dict[str, str]) -> None:
    mentions = labeler().mentions(text)
    assert {finding: told(cell, finding, mentions) for finding, cell in expected.items()} == {
        finding: " ".join(cell.split()) for finding, cell in expected.items()
    }
