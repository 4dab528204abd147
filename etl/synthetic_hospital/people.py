"""Invented persons: names, chart numbers, phones and addresses that belong to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

# Surname, romanised; frequent in Taiwan.
_SURNAMES = (
    ("陳", "Chen"), ("林", "Lin"), ("黃", "Huang"), ("張", "Chang"), ("李", "Lee"),
    ("王", "Wang"), ("吳", "Wu"), ("劉", "Liu"), ("蔡", "Tsai"), ("楊", "Yang"),
    ("許", "Hsu"), ("鄭", "Cheng"), ("謝", "Hsieh"), ("洪", "Hung"), ("郭", "Kuo"),
    ("邱", "Chiu"), ("曾", "Tseng"), ("廖", "Liao"), ("賴", "Lai"), ("徐", "Shu"),
)  # fmt: skip
# The first given syllable marks the person as invented: 虛 "void", 擬 "simulated", 假 "false".
_FIRST = (("虛", "Syu"), ("擬", "Ni"), ("假", "Jia"), ("試", "Shih"), ("仿", "Fang"))
_SECOND = {
    "M": (
        ("明", "Ming"), ("雄", "Hsiung"), ("豪", "Hao"), ("偉", "Wei"), ("宏", "Hung"),
        ("傑", "Chieh"), ("龍", "Lung"), ("文", "Wen"), ("德", "Te"), ("平", "Ping"),
    ),
    "F": (
        ("美", "Mei"), ("芬", "Fen"), ("玲", "Ling"), ("惠", "Hui"), ("雅", "Ya"),
        ("華", "Hua"), ("珠", "Chu"), ("婷", "Ting"), ("蘭", "Lan"), ("秀", "Hsiu"),
    ),
}  # fmt: skip
_STREETS = ("虛構路", "模擬街", "示範大道", "樣本路", "測試街")

# Charts are numbered by a step that has no factor in common with their number, so each once.
_CHART_BASE, _CHART_RANGE, _CHART_STEP = 10_000_000, 90_000_000, 37_689_077
_OLDEST_BIRTH = date(1908, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One invented patient as the hospital's registration knows it."""

    chart_no: str
    name_chinese: str
    name_english: str
    name_dicom: str
    sex_code: str
    birth_date: date
    phone: str
    address: str

    def age_years(self, on: date) -> int:
        """Full years of age on a day."""
        had_birthday = (on.month, on.day) >= (self.birth_date.month, self.birth_date.day)
        return on.year - self.birth_date.year - (0 if had_birthday else 1)


def chart_number(patient_index: int, seed: int) -> str:
    """The patient's chart number (medical record number): unique within a hospital."""
    place = (patient_index * _CHART_STEP + seed * 7_919) % _CHART_RANGE
    return str(_CHART_BASE + place)


def draw_person(
    rng: np.random.Generator, *, patient_index: int, seed: int, trauma_date: date
) -> Person:
    """A person between 16 and 97 years old on the day of the trauma."""
    sex_code = "M" if rng.random() < 0.61 else "F"
    surname, surname_english = _SURNAMES[int(rng.integers(len(_SURNAMES)))]
    first, first_english = _FIRST[int(rng.integers(len(_FIRST)))]
    given = _SECOND[sex_code]
    second, second_english = given[int(rng.integers(len(given)))]
    birth_date = trauma_date - timedelta(days=int(_draw_age(rng) * 365.25))
    name_english = f"{surname_english} {first_english}-{second_english}"
    return Person(
        chart_no=chart_number(patient_index, seed),
        name_chinese=surname + first + second,
        name_english=name_english,
        name_dicom=f"{surname_english}^{first_english}-{second_english}={surname}^{first}{second}",
        sex_code=sex_code,
        birth_date=max(birth_date, _OLDEST_BIRTH),
        # 0900-000 is not given to subscribers.
        phone=f"0900-000-{int(rng.integers(1000)):03d}",
        address=f"虛擬市樣本區{_STREETS[int(rng.integers(len(_STREETS)))]}{rng.integers(1, 400)}號",
    )


def _draw_age(rng: np.random.Generator) -> float:
    """Years: a younger hump of traffic accidents and an older one of falls."""
    centre, spread = (32.0, 13.0) if rng.random() < 0.55 else (66.0, 14.0)
    return float(np.clip(rng.normal(centre, spread), 16.0, 97.0))
