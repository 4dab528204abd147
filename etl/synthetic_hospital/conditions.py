"""Injuries and diseases other than the two fractures: their codes and names, kept as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from etl.synthetic_hospital.phrasebook import read_phrase_file


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition; codes by vocabulary, names by language, is_admitted for injuries."""

    name: str
    weight: float
    is_admitted: bool
    codes: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, ...]]

    def code(self, rng: np.random.Generator, vocabulary: str) -> str:
        """One of its codes in ICD9CM or ICD10CM."""
        codes = self.codes[vocabulary]
        return codes[int(rng.random() * len(codes))]

    def called(self, rng: np.random.Generator, language: str) -> str:
        """One of its names in en or zh."""
        names = self.names[language]
        return names[int(rng.random() * len(names))]


@cache
def load_injuries() -> Mapping[str, Condition]:
    """Injuries that come with a trauma, by name; weight is a probability."""
    return _load("injuries")


@cache
def load_diseases() -> Mapping[str, Condition]:
    """Diseases of unrelated visits, by name; weight is a relative frequency."""
    return _load("diseases")


def draw_disease(rng: np.random.Generator) -> Condition:
    """One disease by its weight."""
    diseases = list(load_diseases().values())
    target = rng.random() * sum(one.weight for one in diseases)
    for one in diseases:
        target -= one.weight
        if target < 0:
            return one
    return diseases[-1]


def _load(file_name: str) -> Mapping[str, Condition]:
    conditions = {}
    for name, raw in read_phrase_file(file_name).items():
        entry: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
        conditions[name] = Condition(
            name=name,
            weight=float(entry["weight"]),
            is_admitted=bool(entry.get("is_admitted", False)),
            codes={key: tuple(entry[key]) for key in ("ICD9CM", "ICD10CM")},
            names={key: tuple(entry[key]) for key in ("en", "zh")},
        )
    return MappingProxyType(conditions)
