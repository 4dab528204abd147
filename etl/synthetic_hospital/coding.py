"""Diagnosis rows: ICD-9-CM until Taiwan's switch on 2016-01-01, ICD-10-CM after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from etl.synthetic_hospital.conditions import draw_disease, load_injuries
from etl.synthetic_hospital.film import FractureRequest
from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.population import PatientTruth
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.visits import Visit

SWITCH_DATETIME = datetime(2016, 1, 1)  # noqa: DTZ001 - the hospital's wall clock
_STRAGGLING_DAYS = 30

_RIB, _CLAVICLE = FINDINGS
_CHEST_INJURIES = frozenset({"contusion_of_chest", "lung_contusion", "pneumothorax", "sternum"})
# Clavicle: 4th to 6th characters of S42 by part and displacement, right then left.
_CLAVICLE_CODES_10 = {
    "unspecified": ("001", "002"),
    "shaft_displaced": ("021", "022"),
    "shaft_nondisplaced": ("024", "025"),
    "lateral_displaced": ("031", "032"),
    "lateral_nondisplaced": ("034", "035"),
}
_CLAVICLE_CODES_9 = ("810.00", "810.02", "810.02", "810.03")


@dataclass(frozen=True, kw_only=True)
class DiagnosisRow:
    """One coded row; is_acute_code_of names the finding it codes as a new fracture, if any."""

    code_system: str
    icd_code: str
    seq_no: int
    recorded_at: datetime
    is_acute_code_of: str | None


@dataclass(frozen=True)
class _Coded:
    code: str
    acute_finding: str | None = None


def code_visit(
    rng: np.random.Generator,
    *,
    visit: Visit,
    truth: PatientTruth,
    is_known: Mapping[str, bool],
    quality: RecordQuality,
) -> list[DiagnosisRow]:
    """The diagnosis rows of a visit in order of position."""
    vocabulary = _vocabulary(rng, visit.end)
    coded: list[_Coded] = []
    for finding in FINDINGS:
        coder = _Coder(rng, visit, truth, finding, vocabulary, is_known[finding])
        coded += coder.fracture_codes(quality)
    others = _other_codes(rng, visit, truth, vocabulary)
    coded = coded + others if rng.random() < 0.75 else others + coded
    style = rng.random(4)
    recorded_at = _recorded_at(rng, visit)
    return [
        DiagnosisRow(
            code_system=vocabulary,
            icd_code=_typed(one.code, style, quality),
            seq_no=place,
            recorded_at=recorded_at,
            is_acute_code_of=one.acute_finding,
        )
        for place, one in enumerate(coded, 1)
    ]


def rib_code(rng: np.random.Generator, vocabulary: str, broken: list[FractureRequest]) -> str:
    """The code of new rib fractures; broken may be empty for a mistaken or rule-out code."""
    sides = {one.side for one in broken}
    is_flail = len(broken) >= 5 and rng.random() < 0.15
    if vocabulary == "ICD9CM":
        if is_flail:
            return "807.4"
        is_counted = broken and rng.random() < 0.5
        opening = "1" if rng.random() < 0.01 else "0"
        return f"807.{opening}{min(len(broken), 8) if is_counted else 0}"
    if is_flail:
        return "S22.5XXA"
    side = "3" if len(sides) == 2 else {"right": "1", "left": "2"}.get(min(sides, default=""), "9")
    if len(sides) == 1 and rng.random() < 0.1:
        side = "9"
    group = "4" if len(broken) > 1 else "3"
    return f"S22.{group}{side}X{'B' if rng.random() < 0.01 else 'A'}"


def clavicle_code(rng: np.random.Generator, vocabulary: str, broken: list[FractureRequest]) -> str:
    """The code of a new clavicle fracture; broken may be empty for a mistaken code."""
    if vocabulary == "ICD9CM":
        if rng.random() < 0.01:
            return "810.10"
        return _CLAVICLE_CODES_9[int(rng.random() * len(_CLAVICLE_CODES_9))]
    if not broken:
        return "S42.009A"
    displaced = "displaced" if broken[0].severity in ("evident", "moderate") else "nondisplaced"
    chance = rng.random()
    part = "shaft" if chance < 0.6 else "lateral" if chance < 0.75 else "unspecified"
    key = part if part == "unspecified" else f"{part}_{displaced}"
    place = _CLAVICLE_CODES_10[key][0 if broken[0].side == "right" else 1]
    return f"S42.{place}{'B' if rng.random() < 0.01 else 'A'}"


@dataclass(frozen=True)
class _Coder:
    """Whoever codes one finding at one visit."""

    rng: np.random.Generator
    visit: Visit
    truth: PatientTruth
    finding: str
    vocabulary: str
    is_known: bool

    def fracture_codes(self, quality: RecordQuality) -> list[_Coded]:
        """None or one code: new, subsequent, late, mistaken or copied."""
        chance = float(self.rng.random())
        state = self.visit.states[self.finding]
        if state == "acute":
            return self._acute(chance, quality)
        if state == "healing":
            return self._healing(chance, quality)
        if state == "old":
            return self._old(chance, quality)
        return self._mistaken(chance, quality)

    def _new(self) -> list[_Coded]:
        new_code = rib_code if self.finding == _RIB else clavicle_code
        code = new_code(self.rng, self.vocabulary, list(self.truth.acute_of(self.finding)))
        return [_Coded(code, self.finding)]

    def _acute(self, chance: float, quality: RecordQuality) -> list[_Coded]:
        is_inpatient = self.visit.purpose == "trauma_inpatient"
        missing = quality.code_missing_inpatient if is_inpatient else quality.code_missing
        return self._new() if self.is_known and chance >= missing else []

    def _healing(self, chance: float, quality: RecordQuality) -> list[_Coded]:
        if not self.is_known or chance >= 1 - quality.code_missing:
            return []
        new = self._new()
        if chance < quality.code_as_initial:
            return new
        return [_Coded(_subsequent(self.rng, self.vocabulary, self.finding, new[0].code))]

    def _old(self, chance: float, quality: RecordQuality) -> list[_Coded]:
        if self.visit.purpose == "later" and self.is_known and chance < quality.code_copied:
            return self._new()
        is_told = chance < quality.code_history
        return [_Coded(_late(self.rng, self.vocabulary, self.finding))] if is_told else []

    def _mistaken(self, chance: float, quality: RecordQuality) -> list[_Coded]:
        if not self.visit.is_trauma:
            return []
        is_chest_hurt = bool(_CHEST_INJURIES.intersection(self.truth.injuries))
        wrong = quality.code_wrong + (quality.code_rule_out if is_chest_hurt else 0.0)
        return self._new() if chance < wrong * (1.0 if self.finding == _RIB else 0.3) else []


def _subsequent(rng: np.random.Generator, vocabulary: str, finding: str, new: str) -> str:
    if vocabulary == "ICD10CM":
        return new[:-1] + ("D" if rng.random() < 0.9 else "G")
    return "V54.19" if finding == _RIB else ("V54.11", "V54.19")[int(rng.random() * 2)]


def _late(rng: np.random.Generator, vocabulary: str, finding: str) -> str:
    if rng.random() < 0.5:
        return "V15.51" if vocabulary == "ICD9CM" else "Z87.81"
    if vocabulary == "ICD9CM":
        return "905.1" if finding == _RIB else "905.2"
    return "S22.39XS" if finding == _RIB else "S42.009S"


def _other_codes(
    rng: np.random.Generator, visit: Visit, truth: PatientTruth, vocabulary: str
) -> list[_Coded]:
    coded = []
    if visit.is_trauma:
        injuries = load_injuries()
        coded += [
            _Coded(injuries[name].code(rng, vocabulary))
            for name in truth.injuries
            if rng.random() < 0.85
        ]
    if not visit.is_trauma or rng.random() < 0.25:
        coded.append(_Coded(draw_disease(rng).code(rng, vocabulary)))
    return coded


def _vocabulary(rng: np.random.Generator, end: datetime) -> str:
    """By the switch date; some rows around it are in the other vocabulary."""
    since = (end - SWITCH_DATETIME).days
    is_straggler = rng.random() < (0.12 if 0 <= since < _STRAGGLING_DAYS else 0.0)
    is_early = rng.random() < (0.05 if -90 <= since < 0 else 0.0)
    return "ICD10CM" if (since >= 0 and not is_straggler) or is_early else "ICD9CM"


def _recorded_at(rng: np.random.Generator, visit: Visit) -> datetime:
    """At the end of the visit, or days later with the claim."""
    late_days = int(rng.integers(1, 8)) if rng.random() < 0.3 else 0
    return visit.end.replace(second=0, microsecond=0) + timedelta(days=late_days)


def _typed(
    code: str, style: np.ndarray[tuple[int], np.dtype[np.float64]], quality: RecordQuality
) -> str:
    """The code as somebody typed it: without dot, padding or capitals, or with blanks."""
    if style[0] < quality.code_without_dot:
        code = code.replace(".", "")
    if style[1] < quality.code_without_padding:
        code = code.replace("XXA", "A").replace("XA", "A")
    if style[2] < quality.code_lower_case:
        code = code.lower()
    return code + "  " if style[3] < quality.code_padded else code
