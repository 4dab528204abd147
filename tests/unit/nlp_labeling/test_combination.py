"""The combination rule as a truth table, and what must hold for every combination."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from nlp_labeling.combination import RULE, CodeVoice, Voice, Voices, combine, merge_voices

VOICES = get_args(Voice)
CODES = get_args(CodeVoice)

# film, imaging, clinical, code -> label, reason; "-" is none, the encounter closed and linked.
TABLE = """
positive   -          -          initial     positive   film_and_code_agree
positive   -          -          subsequent  positive   film_and_code_agree
positive   -          -          -           positive   film_report
positive   negative   -          initial     uncertain  film_against_other_imaging
positive   positive   positive   initial     positive   film_and_code_agree
mixed      -          -          initial     uncertain  reports_contradict
-          mixed      -          -           uncertain  reports_contradict
old        -          -          -           excluded   only_old
old        -          -          initial     uncertain  old_on_film_against_new
old        positive   -          -           uncertain  old_on_film_against_new
uncertain  -          -          initial     positive   film_doubt_confirmed
uncertain  positive   -          -           positive   film_doubt_confirmed
uncertain  -          positive   -           positive   film_doubt_confirmed
uncertain  -          -          -           uncertain  only_uncertain
uncertain  negative   -          -           negative   denied_by_report
uncertain  negative   -          initial     uncertain  code_against_report
negative   positive   -          initial     positive   seen_on_other_imaging
negative   positive   -          -           positive   seen_on_other_imaging
-          positive   -          -           positive   seen_on_other_imaging
negative   -          -          initial     uncertain  code_against_report
negative   -          positive   initial     uncertain  code_against_report
negative   -          positive   -           uncertain  clinician_against_report
-          -          positive   initial     positive   code_and_clinician_agree
-          -          negative   initial     uncertain  code_against_clinician
-          -          -          initial     positive   code_alone
-          -          positive   -           positive   clinician_alone
-          -          mixed      -           uncertain  clinician_contradicts_itself
-          old        -          -           excluded   only_old_elsewhere
-          -          old        -           excluded   only_old_elsewhere
-          -          -          subsequent  uncertain  subsequent_code_alone
negative   -          -          subsequent  negative   denied_by_report
-          uncertain  -          -           uncertain  only_uncertain_elsewhere
-          -          uncertain  -           uncertain  only_uncertain_elsewhere
negative   -          uncertain  -           negative   denied_by_report
-          -          -          past        excluded   only_historical
negative   -          -          past        negative   denied_by_report
negative   -          -          -           negative   denied_by_report
-          negative   -          -           negative   denied_by_report
-          -          negative   -           negative   denied_by_clinician
-          -          -          -           negative   nothing_found
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(
    ("film", "imaging", "clinical", "code", "label", "reason"),
    ROWS,
    ids=[" ".join(r) for r in ROWS],
)
def test_truth_table(
    *, film: Voice, imaging: Voice, clinical: Voice, code: CodeVoice, label: str, reason: str
) -> None:
    def said(word: str) -> str:
        return "none" if word == "-" else word

    verdict = combine(
        Voices(
            film=said(film),  # type: ignore[arg-type]
            imaging=said(imaging),  # type: ignore[arg-type]
            clinical=said(clinical),  # type: ignore[arg-type]
            code=said(code),  # type: ignore[arg-type]
        )
    )
    assert (verdict.label, verdict.reason) == (label, reason)


def every_combination() -> list[Voices]:
    return [
        Voices(
            film=film,
            imaging=imaging,
            clinical=clinical,
            code=code,
            is_past_told=past,
            is_closed=closed,
            is_linked=linked,
        )
        for film, imaging, clinical, code, past, closed, linked in product(
            VOICES, VOICES, VOICES, CODES, (False, True), (False, True), (False, True)
        )
    ]


def test_every_row_of_the_rule_is_reached_and_in_the_table() -> None:
    reached = {combine(voices).reason for voices in every_combination()}
    assert reached == {reason for reason, *_ in RULE}
    in_table = {row[-1] for row in ROWS} | {"no_linked_encounter", "encounter_not_closed"}
    assert reached == in_table


def test_invariants_of_all_combinations() -> None:
    for voices in every_combination():
        verdict = combine(voices)
        if verdict.label == "negative":
            assert voices.is_closed
            assert not voices.has_positive
            assert "old" not in (voices.film, voices.imaging, voices.clinical)
        if verdict.label == "positive":
            assert voices.has_positive
            assert voices.film != "old"
            assert verdict.visibility_tier is not None
        else:
            assert verdict.visibility_tier is None
        if voices.is_conflict:
            assert verdict.label != "negative"


def test_no_linked_encounter_is_excluded_unless_the_film_speaks() -> None:
    assert combine(Voices(is_linked=False)).reason == "no_linked_encounter"
    assert combine(Voices(is_linked=False, film="positive")).label == "positive"


def test_open_encounter_is_no_negative() -> None:
    assert combine(Voices(is_closed=False)).label == "uncertain"
    assert combine(Voices(film="negative", is_closed=False)).label == "uncertain"
    assert combine(Voices(film="positive", is_closed=False)).label == "positive"


@pytest.mark.parametrize(
    ("voices", "merged"),
    [
        ([], "none"),
        (["none", "negative"], "negative"),
        (["positive", "negative"], "mixed"),
        (["positive", "uncertain"], "positive"),
        (["uncertain", "negative"], "uncertain"),
        (["old", "negative"], "old"),
        (["mixed", "positive"], "mixed"),
    ],
)
def test_merging(voices: list[Voice], merged: Voice) -> None:
    assert merge_voices(voices) == merged
