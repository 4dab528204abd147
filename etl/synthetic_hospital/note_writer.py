"""The hand that writes one note: draws sentences and remembers what they state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from etl.synthetic_hospital.conditions import draw_disease
from etl.synthetic_hospital.film import FractureRequest
from etl.synthetic_hospital.fracture_words import say_fracture, side_words
from etl.synthetic_hospital.people import Person
from etl.synthetic_hospital.phrasebook import Phrasebook, load_phrasebook, read_phrase_file
from etl.synthetic_hospital.population import PatientTruth
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.visits import Visit

_CJK = re.compile(r"[\u4e00-\u9fff]")
_COMMA_BESIDE_CJK = re.compile(r"(?<=[\u4e00-\u9fff])[,:](?=\S)")
_FULL_WIDTH = {",": "，", ":": "："}
_WRAP_COLUMNS = 60
# Parts of a clavicle, as often as it breaks there.
_CLAVICLE_PARTS = (
    ("middle third", "中段"),
    ("midshaft", "中三分之一"),
    ("mid-third", "中段"),
    ("shaft", ""),
    ("distal third", "遠端"),
    ("lateral end", "外側端"),
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a note says on a finding, in which part: the truth for tests of the labeller."""

    finding: str
    kind: str
    section: str


@dataclass
class NoteWriter:
    """Writes one note of a visit for a patient."""

    rng: np.random.Generator
    person: Person
    truth: PatientTruth
    visit: Visit
    quality: RecordQuality
    context: Mapping[str, str]
    book: Phrasebook = field(default_factory=load_phrasebook)
    statements: list[Statement] = field(default_factory=list)

    def happens(self, probability: float) -> bool:
        """One draw."""
        return bool(self.rng.random() < probability)

    def line(self, name: str) -> str:
        """A sentence of a list of the phrase book."""
        return self.book.say(self.rng, name, self.context)

    def fracture(self, finding: str, kind: str, style: str, section: str) -> str:
        """A sentence on a finding; remembered."""
        self.remember(finding, kind, section)
        return say_fracture(
            self.rng,
            self.book,
            finding=finding,
            kind=kind,
            style=style,
            fractures=self._meant(finding, kind),
            context=self.context,
        )

    def remember(self, finding: str, kind: str, section: str) -> None:
        """Note that the text states this."""
        self.statements.append(Statement(finding=finding, kind=kind, section=section))

    def finish(self, text: str) -> str:
        """The text as it was typed: slips, capitals, wrapped lines, full-width signs."""
        if self.happens(self.quality.misspelt):
            text = _misspelt(self.rng, text)
        has_cjk = bool(_CJK.search(text))
        if has_cjk and self.happens(0.5):
            text = _COMMA_BESIDE_CJK.sub(lambda match: _FULL_WIDTH[match.group()], text)
        if not has_cjk and self.happens(self.quality.upper_case):
            text = text.upper()
        if not has_cjk and self.happens(self.quality.wrapped):
            text = "\n".join(_wrapped(line) for line in text.split("\n"))
        return text

    def _meant(self, finding: str, kind: str) -> tuple[FractureRequest, ...]:
        if kind in ("old", "history"):
            return self.truth.old_of(finding) or self.truth.acute_of(finding)
        return self.truth.acute_of(finding)


def visit_context(
    rng: np.random.Generator, *, person: Person, truth: PatientTruth, visit: Visit
) -> dict[str, str]:
    """Words that all notes of a visit share: the person, the vital signs, the side that hurts."""
    side = truth.acute[0].side if truth.acute else ("left", "right")[int(rng.random() * 2)]
    years_ago = 1 + int(rng.random() * 12)
    is_male = person.sex_code == "M"
    disease = draw_disease(rng)
    mechanisms = _mechanisms()
    mechanism = mechanisms[int(rng.random() * len(mechanisms))]
    part_en, part_zh = _CLAVICLE_PARTS[int(rng.random() * len(_CLAVICLE_PARTS))]
    return {
        "part_en": part_en,
        "part_zh": part_zh,
        "mechanism_zh": mechanism["zh"],
        "mechanism_en": mechanism["en"],
        "mechanism_mx": mechanism["mx"],
        **side_words(rng, side),
        "patient_zh": person.name_chinese,
        "patient_en": person.name_english,
        "chart_no": person.chart_no,
        "phone": person.phone,
        "age": str(person.age_years(visit.start.date())),
        "sex_zh": "男性" if is_male else "女性",
        "sex_en": "M" if is_male else "F",
        "sex_long_en": "man" if is_male else "woman",
        "pain_score": str(2 + int(rng.random() * 8)),
        "temperature": f"{36 + rng.random() * 1.6:.1f}",
        "pulse": str(60 + int(rng.random() * 55)),
        "pressure": f"{100 + int(rng.random() * 80)}/{55 + int(rng.random() * 45)}",
        "start_date": visit.start.strftime("%Y/%m/%d"),
        "end_date": visit.end.strftime("%Y/%m/%d"),
        "years_ago": str(years_ago),
        "year": str(visit.start.year - years_ago),
        "doctor": f"{int(rng.random() * 80) + 100}",
        "disease_en": disease.called(rng, "en"),
        "disease_zh": disease.called(rng, "zh"),
    }


@cache
def _mechanisms() -> tuple[dict[str, str], ...]:
    mechanisms = read_phrase_file("mechanisms")["mechanism"]
    if not isinstance(mechanisms, list):
        raise TypeError("mechanisms.toml: [[mechanism]] is not a list of tables")
    return tuple(mechanisms)


@cache
def _slips() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    words = read_phrase_file("misspellings")["words"]
    if not isinstance(words, dict):
        raise TypeError("misspellings.toml: [words] is not a table")
    return tuple(
        (re.compile(rf"\b{word}\b" if word.isascii() else word), tuple(wrong))
        for word, wrong in words.items()
    )


def _misspelt(rng: np.random.Generator, text: str) -> str:
    present = [(pattern, wrong) for pattern, wrong in _slips() if pattern.search(text)]
    if not present:
        return text
    pattern, wrong = present[int(rng.random() * len(present))]
    slip = wrong[int(rng.random() * len(wrong))]
    return pattern.sub(slip, text, count=1)


def _wrapped(line: str) -> str:
    words, lines, current = line.split(" "), [], ""
    for word in words:
        if current and len(current) + 1 + len(word) > _WRAP_COLUMNS:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    return "\n".join([*lines, current])
