"""Passages: cut at every edge, nothing lost, nothing added."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nlp_labeling.passage import MARGIN_CHARS, cut_passage

TEXT = "No pneumothorax. Left 5th rib fracture cannot be excluded."


def mention(**spans: tuple[int, int] | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in ("", "cue_", "scope_"):
        start, end = spans.get(name.rstrip("_") or "target") or (None, None)
        row |= {f"{name}start_char": start, f"{name}end_char": end}
    return row


def span_of(words: str) -> tuple[int, int]:
    start = TEXT.index(words)
    return start, start + len(words)


def test_target_cue_and_scope_are_marked() -> None:
    passage = cut_passage(
        TEXT,
        mention(
            target=span_of("rib fracture"),
            cue=span_of("cannot be excluded"),
            scope=span_of("Left 5th rib fracture"),
        ),
    )
    marked = [(one.text, one.marks) for one in passage.segments if one.marks]
    assert marked == [
        ("Left 5th ", ("scope",)),
        ("rib fracture", ("scope", "target")),
        ("cannot be excluded", ("cue",)),
    ]
    assert passage.text == TEXT
    assert not passage.is_cut_before
    assert not passage.is_cut_after


def test_a_long_note_is_cut_around_its_spans() -> None:
    text = "x" * 500 + "rib fracture" + "y" * 500
    passage = cut_passage(text, mention(target=(500, 512)))
    assert passage.text == "x" * MARGIN_CHARS + "rib fracture" + "y" * MARGIN_CHARS
    assert passage.is_cut_before
    assert passage.is_cut_after


@given(st.text(min_size=1, max_size=300), st.data())
def test_segments_are_the_text_between_their_ends(text: str, data: st.DataObject) -> None:
    def span() -> tuple[int, int]:
        start = data.draw(st.integers(0, len(text) - 1))
        return start, data.draw(st.integers(start + 1, len(text)))

    target, cue = span(), data.draw(st.none() | st.builds(span))
    passage = cut_passage(text, mention(target=target, cue=cue))
    assert passage.text in text
    marked = "".join(one.text for one in passage.segments if "target" in one.marks)
    assert marked == text[slice(*target)]
