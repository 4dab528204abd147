"""Words for fractures: sides, rib numbers and how they are said in each register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etl.synthetic_hospital.film_request import SEVERITIES, FractureRequest
from etl.synthetic_hospital.phrasebook import Phrasebook

_SIDE_SHORT = {
    "left": ("Lt", "left", "L't", "L", "lt."),
    "right": ("Rt", "right", "R't", "R", "rt."),
}
_SIDE_ZH = {"left": ("左側", "左"), "right": ("右側", "右")}
_ORDINALS = (
    "",
    "1st",
    "2nd",
    "3rd",
    "4th",
    "5th",
    "6th",
    "7th",
    "8th",
    "9th",
    "10th",
    "11th",
    "12th",
)
_CHINESE_NUMBERS = ("", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")
_SHORT_NAME = {"rib_fracture": "rib", "clavicle_fracture": "clavicle"}
# Kinds of statement that are told as background, in one register only.
_TOLD = ("history", "family", "hypothetical")


def say_fracture(
    rng: np.random.Generator,
    book: Phrasebook,
    *,
    finding: str,
    kind: str,
    style: str,
    fractures: Sequence[FractureRequest],
    context: Mapping[str, str],
) -> str:
    """One statement on a finding, a sentence for each side that is broken.

    kind is present, absent, uncertain, old, healing, history, family or hypothetical; style is
    report_en, report_zh, clinical_mx, clinical_zh or clinical_en. Where the patient has no such
    fracture, side and number are drawn, as a mistaken reader would.
    """
    broken: dict[str, list[FractureRequest]] = {}
    for one in fractures:
        broken.setdefault(one.side, []).append(one)
    if kind == "absent" or not broken:
        broken = {("left", "right")[int(rng.random() * 2)]: []}
    name = f"{_SHORT_NAME[finding]}_{kind}"
    said = []
    for side, here in broken.items():
        numbers = sorted(one.rib_number for one in here if one.rib_number is not None)
        if not numbers:
            numbers = [3 + int(rng.random() * 7)]
        words = {**context, **_place_words(rng, side, numbers), **_how_words(rng, book, here)}
        said.append(book.say(rng, _list_name(name, finding, kind, style, len(numbers)), words))
    return " ".join(said)


def _list_name(name: str, finding: str, kind: str, style: str, n_ribs: int) -> str:
    if kind in _TOLD:
        return f"{name}_mx"
    if kind == "present" and finding == "rib_fracture":
        return f"{name}_{'one' if n_ribs == 1 else 'many'}_{style}"
    return f"{name}_{style}"


def side_words(rng: np.random.Generator, side: str) -> dict[str, str]:
    """A side in English, in short and in Chinese."""
    return {
        "side_en": side,
        "side_short": _SIDE_SHORT[side][int(rng.random() * 5)],
        "side_zh": _SIDE_ZH[side][int(rng.random() * 2)],
    }


def _place_words(rng: np.random.Generator, side: str, numbers: Sequence[int]) -> dict[str, str]:
    return {
        **side_words(rng, side),
        "ribs_ord": _ordinals(rng, numbers),
        "ribs_num": _digits(rng, numbers),
        "ribs_zh": _chinese(rng, numbers),
        "rib_noun": "rib" if len(numbers) == 1 else "ribs",
    }


def _how_words(
    rng: np.random.Generator, book: Phrasebook, fractures: Sequence[FractureRequest]
) -> dict[str, str]:
    severities = {one.severity for one in fractures} or {"subtle"}
    severity = next(name for name in SEVERITIES if name in severities)
    return {
        "how_en": book.say(rng, f"how_{severity}_en", {}),
        "how_zh": book.say(rng, f"how_{severity}_zh", {}),
    }


def _is_run(numbers: Sequence[int]) -> bool:
    return len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1


def _ordinals(rng: np.random.Generator, numbers: Sequence[int]) -> str:
    words = [_ORDINALS[number] for number in numbers]
    if len(words) == 1:
        return words[0]
    if _is_run(numbers) and rng.random() < 0.6:
        return words[0] + ("-", " to ", " through ")[int(rng.random() * 3)] + words[-1]
    joint = (" and ", ", and ", " & ")[int(rng.random() * 3)]
    return ", ".join(words[:-1]) + joint + words[-1]


def _digits(rng: np.random.Generator, numbers: Sequence[int]) -> str:
    if _is_run(numbers) and rng.random() < 0.8:
        return f"{numbers[0]}-{numbers[-1]}"
    return (",", ", ", "/")[int(rng.random() * 3)].join(map(str, numbers))


def _chinese(rng: np.random.Generator, numbers: Sequence[int]) -> str:
    if rng.random() < 0.7:
        digits = [str(number) for number in numbers]
    else:
        digits = [_CHINESE_NUMBERS[number] for number in numbers]
    if _is_run(numbers):
        return f"第{digits[0]}{('-', '至', '到')[int(rng.random() * 3)]}{digits[-1]}"
    return "第" + "、".join(digits)
