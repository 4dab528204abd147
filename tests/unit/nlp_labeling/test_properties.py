"""What must never change a label, and what the prefilter must never drop."""

from __future__ import annotations

import json
import random
import re
import runpy
import textwrap
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp_labeling.anchors import edit_variants
from nlp_labeling.definition import load_definitions
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mentions import labeler
from nlp_labeling.note_summary import NoteSummary, summarize_note
from nlp_labeling.phrases import Phrases
from nlp_labeling.rule import CONTEXT_CATEGORIES, load_rules, phrase_pattern

CASES = runpy.run_path(str(Path(__file__).with_name("test_hard_cases.py")))["CASES"]
REPORTS = [
    text for text, _ in runpy.run_path(str(Path(__file__).with_name("test_reports.py")))["REPORTS"]
]
FINDINGS = ("clavicle_fracture", "rib_fracture")
TEXTS = [text for text, _ in CASES]
ONE_LINE = [text for text in TEXTS if "\n" not in text]
PATTERN = keyword_pattern()
CUES = [phrase for rule in load_rules().of(*CONTEXT_CATEGORIES) for phrase in rule.phrases]
BY_WORD, AT_ONCE = Phrases(CUES), re.compile(phrase_pattern(dict.fromkeys(CUES)))


def label(text: str) -> list[NoteSummary]:
    return summarize_note([asdict(one) for one in labeler().mentions(text)], FINDINGS)


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def rtf(text: str) -> str:
    """The text as a word processor saves it."""
    written = {"\n": "\\par ", **{mark: f"\\{mark}" for mark in "\\{}"}}
    body = "".join(
        written.get(c, c) if c.isascii() else f"\\u{(ord(c) + 0x8000) % 0x10000 - 0x8000}?"
        for c in text
    )
    return f"{{\\rtf1\\ansi\\uc1 {body}}}"


CHANGES = {
    "upper case": str.upper,
    "lower case": str.lower,
    "capitals": str.title,
    "spaces before and after": lambda text: f"  \n {text} \n\n ",
    "wide gaps": lambda text: re.sub(r" ", "   ", text),
    "tabs": lambda text: text.replace(" ", "\t"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "full width": full_width,
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "twice": lambda text: f"{text}\n\n{text}",
    "a byte order mark": lambda text: "\ufeff" + text,
    "rtf": rtf,
    "html": lambda text: (
        "<p>" + text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>") + "</p>"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_spelling_out_never_changes_a_label(name: str) -> None:
    changed = [text for text in TEXTS if label(CHANGES[name](text)) != label(text)]
    assert changed == []


@pytest.mark.parametrize("name", CHANGES)
def test_spelling_out_never_changes_a_report(name: str) -> None:
    changed = [text for text in REPORTS if label(CHANGES[name](text)) != label(text)]
    assert changed == []


@pytest.mark.parametrize("joint", ["\n\n", "\n"])
def test_what_stands_before_and_after_never_changes_a_label(joint: str) -> None:
    stopped = [text for text in TEXTS if text.rstrip().endswith((".", "。"))]
    before = [t for t in TEXTS if label(f"The trachea is midline.{joint}{t}") != label(t)]
    after = [t for t in stopped if label(f"{t}{joint}The stomach is unremarkable.") != label(t)]
    assert before == []
    assert after == []


@pytest.mark.parametrize("mark", [".", "..", " .", "!", "。", ";", "\n", "  "])
def test_trailing_punctuation_never_changes_a_label(mark: str) -> None:
    bare = [text.rstrip(".!。; \n") for text in TEXTS]
    changed = [text for text in bare if label(text + mark) != label(text)]
    assert changed == []


@pytest.mark.parametrize("width", [80, 72, 60])
def test_wrapping_never_changes_a_label(width: int) -> None:
    long = [" ".join(TEXTS[i : i + 1]) for i in range(len(TEXTS)) if "\n" not in TEXTS[i]]
    long += [
        f"{text} The heart is not enlarged and the lungs are clear." for text in ONE_LINE[:150]
    ]
    changed = [text for text in long if label(wrapped(text, width)) != label(text)]
    assert changed == []


def test_positions_point_into_the_text_as_given() -> None:
    for text in TEXTS:
        for mention in labeler().mentions(text):
            assert 0 <= mention.start < mention.end <= len(text)
            if mention.cue_start >= 0:
                assert 0 <= mention.cue_start < mention.cue_end <= len(text)


def test_positions_survive_markup() -> None:
    text = "<p>Lungs &amp; heart normal.<br><b>Left</b> rib&nbsp;fracture.</p>"
    mention = labeler().mentions(text)[0]
    assert text[mention.start : mention.end] == "rib&nbsp;fracture"
    rtf = r"{\rtf1\ansi\ansicpg950{\fonttbl{\f0 A;}}\f0 Clear.\par Left {\b rib} fracture.\par}"
    mention = labeler().mentions(rtf)[0]
    assert rtf[mention.start : mention.end].startswith("rib")
    assert rtf[mention.start : mention.end].endswith("fracture")


def prefilter(texts: list[str]) -> list[bool]:
    return list(pc.match_substring_regex(pa.array(texts), PATTERN).to_pylist())


def test_prefilter_keeps_every_text_with_a_mention() -> None:
    changed = [change(text) for change in CHANGES.values() for text in TEXTS]
    dropped = [
        text
        for text, kept in zip(changed, prefilter(changed), strict=True)
        if not kept and labeler().mentions(text)
    ]
    assert dropped == []


def test_prefilter_keeps_every_misspelling() -> None:
    terms = [term for one in load_definitions() for term in (*one.site, *one.complete)]
    misspelt = sorted(edit_variants(terms))
    chosen = random.Random(0).sample(misspelt, 1500)
    texts = [f"left {word} fracture" for word in chosen]
    assert all(prefilter(texts))


WORDS = st.sampled_from(
    [
        "no",
        "left",
        "right",
        "4th",
        "rib",
        "ribs",
        "fracture",
        "fx",
        "clavicle",
        "fractures",
        "of",
        "the",
        "and",
        ",",
        ".",
        "possible",
        "intact",
        "old",
        "\n",
        "肋骨",
        "鎖骨",
        "骨折",
        "無",
        "疑似",
        "(",
        ")",
        "#",
        "?",
        "collar",
        "bone",
        "flail",
        "chest",
        "clavicel",
        "fractrue",
        "-",
        "history",
        "s/p",
        "<b>",
        "</b>",
        "&amp;",
        "ｒｉｂ",
        "cage",
        "thoracic",
        "bony",
        "thorax",
        "denies",
        ":",
        ";",
        "側",
        "5",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=14), st.sampled_from([" ", "", "  ", "\n"]))
def test_any_text_is_read_and_never_dropped(words: list[str], joint: str) -> None:
    text = joint.join(words)
    mentions = labeler().mentions(text)
    if mentions:
        assert prefilter([text]) == [True]
    for mention in mentions:
        assert 0 <= mention.start < mention.end <= len(text)


FRAMES = ("Ribs {}.", "{} left rib fracture", "XR CLAVICLE LEFT\n{}. No fracture, {}")


def test_every_phrase_is_read() -> None:
    phrases = [phrase for rule in load_rules().rules for phrase in rule.phrases]
    bad = []
    for phrase in random.Random(0).sample(phrases, 3000):
        plain = phrase.replace("<end>", "").replace("<n>", "3").replace("<year>", "2012")
        for text in (frame.format(plain, plain) for frame in FRAMES):
            mentions = labeler().mentions(text)
            is_placed = all(0 <= one.start < one.end <= len(text) for one in mentions)
            if not is_placed or (mentions and not prefilter([text])[0]):
                bad.append(text)
    assert bad == []


SHORT_OF_PHRASES = st.lists(
    st.sampled_from(
        [
            "no",
            "not",
            "3",
            "10 years",
            "ago",
            "in 2012",
            "old",
            "rib",
            ", multiple",
            "(+)",
            "無",
            "骨折",
            "ok",
            "x-ray",
            "s/p",
            "l",
            "\n",
            ".",
        ]
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(SHORT_OF_PHRASES, st.sampled_from([" ", "", "  "]))
def test_phrases_are_found_as_one_expression_finds_them(words: list[str], joint: str) -> None:
    found = [match.span() for match in BY_WORD.finditer(joint.join(words))]
    assert found == [match.span() for match in AT_ONCE.finditer(joint.join(words))]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_labeler(text: str) -> None:
    for mention in labeler().mentions(text + " rib fracture"):
        json.dumps(asdict(mention))
        assert mention.end <= len(text) + 13


@pytest.mark.parametrize("size", ["5", "7", "11", "25"])
def test_a_measure_is_no_rib_number(size: str) -> None:
    text = f"There is a fracture of the left 4th rib, {size} mm displaced."
    assert [one.rib_numbers for one in labeler().mentions(text)] == [(4,)]
