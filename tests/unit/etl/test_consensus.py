"""The consensus rule, case by case, and what the cohort makes of it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.annotations.consensus import consensus_boxes

Row = dict[str, Any]
# Left edges of boxes of 100 x 100 px: 20 px apart overlap by 2/3, 33.3 px by 0.5, 60 px by 0.25.


def boxes(*drawn: str) -> list[Row]:
    """Rows of 'reader left [status [finding]]' on one image."""
    rows = []
    for number, text in enumerate(drawn):
        words = text.split()
        reader, left, status, finding = [*words, *("drawn", "rib")[len(words) - 2 :]]
        rows.append(
            {
                "annotation_id": f"B{number}",
                "image_id": "i",
                "finding": finding,
                "x_px": float(left),
                "y_px": 0.0,
                "width_px": 100.0,
                "height_px": 100.0,
                "reader_id": None if reader == "-" else reader,
                "status": status,
            }
        )
    return rows


def readings(*readers: str) -> list[Row]:
    """Readings without a box on the image."""
    return [
        {
            "image_id": "i",
            "reader_id": None if reader == "-" else reader.rstrip("!"),
            "n_boxes": 0,
            "n_refused": int(reader.endswith("!")),
        }
        for reader in readers
    ]


@pytest.mark.parametrize(
    ("drawn", "empty", "expected"),
    [
        # One reader: as they are, overlapping or not.
        (("a 0", "a 20", "a 500 rejected"), (), [("single", 0), ("single", 20)]),
        (("- 0", "- 500 confirmed"), (), [("single", 0), ("single", 500)]),
        (("a 0",), ("-",), [("single", 0)]),
        (("a 0",), ("b!",), [("single", 0)]),
        # Two readers: both have to agree.
        (("a 0", "b 20"), (), [("majority", 10)]),
        (("a 0", "b 60"), (), []),
        (("a 0",), ("b",), []),
        (("a 0", "b 20", "b 300"), (), [("majority", 10)]),
        # Three: two are enough.
        (("a 0", "b 20", "c 500"), (), [("majority", 10)]),
        (("a 0", "b 20"), ("c",), [("majority", 10)]),
        (("a 0", "b 15", "c 30"), (), [("majority", 15)]),
        (("a 0", "b 0"), ("c", "d"), []),
        # Chained overlaps: the ends do not overlap enough, so they are not one group.
        (("a 0", "b 30", "c 60"), (), [("majority", 15)]),
        # One reader's two boxes are two findings, however near.
        (("a 0", "a 20", "b 10"), (), [("majority", 5)]),
        # Findings apart.
        (("a 0", "b 0 drawn clavicle", "c 0"), (), [("majority", 0)]),
        # Unnamed boxes are one reader's.
        (("- 0", "a 20"), (), [("majority", 10)]),
        # An adjudicator wins, has no vote, and removes.
        (("a 0", "b 60", "x 55 confirmed"), (), [("confirmed", 55)]),
        (("a 0", "b 300", "x 20 confirmed"), (), [("confirmed", 20)]),
        (("a 0", "b 0", "x 10 rejected"), (), []),
        (("a 0", "b 0", "x 60 rejected"), (), [("majority", 0)]),
        (("a 0", "b 300", "x 0 rejected"), (), []),
        (("a 0", "x 0 rejected"), (), []),
        (("a 0", "a 300", "x 0 rejected"), (), [("majority", 300)]),
        (("a 0", "x 10 confirmed", "y 0 rejected"), (), [("confirmed", 10)]),
        (("x 0 confirmed", "y 20 confirmed"), (), [("confirmed", 10)]),
        (("a 0 rejected", "b 0 rejected"), (), []),
    ],
)
def test_the_rule(
    drawn: tuple[str, ...], empty: tuple[str, ...], expected: list[tuple[str, float]]
) -> None:
    found = consensus_boxes(boxes(*drawn), readings(*empty))
    assert sorted((row["rule"], row["x_px"]) for row in found) == [
        (rule, pytest.approx(left)) for rule, left in expected
    ]


def test_an_iou_of_exactly_a_half_is_agreement() -> None:
    # Width 150 of which 100 are shared, and 50 of 150: the union is 200.
    rows = boxes("a 0", "b 0")
    rows[0]["width_px"], rows[1]["width_px"] = 50.0, 100.0
    assert len(consensus_boxes(rows, [])) == 1
    rows[0]["width_px"] = 49.9
    assert consensus_boxes(rows, []) == []


def test_a_box_that_stands_alone_keeps_its_id_and_its_bits() -> None:
    (row,) = boxes("a 0.1")
    (found,) = consensus_boxes([row], [])
    assert found["consensus_id"] == row["annotation_id"]
    assert all(found[name] == row[name] for name in ("x_px", "y_px", "width_px", "height_px"))
    assert (found["n_readers"], found["n_agreeing"]) == (1, 1)
    assert found["annotation_ids"] == ["B0"]


def test_the_mean_box_is_the_mean_of_edges_and_names_its_boxes() -> None:
    rows = boxes("a 0", "b 20", "c 500")
    rows[1]["height_px"] = 90.0
    (found,) = consensus_boxes(rows, [])
    assert (found["x_px"], found["width_px"], found["height_px"]) == (10, 100, 95)
    assert (found["n_readers"], found["n_agreeing"]) == (3, 2)
    assert found["annotation_ids"] == ["B0", "B1"]


@settings(max_examples=60, deadline=None)
@given(
    lefts=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 300)), min_size=2, max_size=6, unique=True
    )
)
def test_neither_order_nor_readers_names_matter(lefts: list[tuple[str, int]]) -> None:
    # Whole pixels without two equal distances: ties are broken by annotation_id alone.
    gaps = [abs(a - b) for i, (_, a) in enumerate(lefts) for _, b in lefts[i + 1 :]]
    if len(set(gaps)) < len(gaps):
        return
    rows = boxes(*(f"{reader} {left}" for reader, left in lefts))
    wanted = {row["consensus_id"] for row in consensus_boxes(rows, [])}
    for renamed in permutations("abc"):
        new = dict(zip("abc", renamed, strict=True))
        changed = [{**row, "reader_id": new[row["reader_id"]]} for row in reversed(rows)]
        assert {row["consensus_id"] for row in consensus_boxes(changed, [])} == wanted


@settings(max_examples=60, deadline=None)
@given(
    lefts=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 300)), min_size=1, max_size=9)
)
def test_every_majority_box_is_held_by_more_than_half(lefts: list[tuple[str, int]]) -> None:
    rows = boxes(*(f"{reader} {left}" for reader, left in lefts))
    readers = {row["reader_id"] for row in rows}
    by_id = {row["annotation_id"]: row for row in rows}
    found = consensus_boxes(rows, [])
    used = [each for row in found for each in row["annotation_ids"]]
    assert len(used) == len(set(used))
    for row in found if len(readers) > 1 else ():
        members = [by_id[each] for each in row["annotation_ids"]]
        assert 2 * len({each["reader_id"] for each in members}) > len(readers)
        spread = max(each["x_px"] for each in members) - min(each["x_px"] for each in members)
        assert (100 - spread) / (100 + spread) >= 0.5
