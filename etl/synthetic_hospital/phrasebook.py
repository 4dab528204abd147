"""Sentences drawn from lists of variants that are kept as data in phrases/*.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

_SLOT = re.compile(r"\{([a-z0-9_]+)\}")
_SPACES = re.compile(r"[ \t]{2,}")

# Literals and slot names in turn, literal first: "No {thing} seen" -> ("No ", "thing", " seen").
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Phrasebook:
    """Named lists of templates; a slot is filled from the context, else from the list it names."""

    lists: Mapping[str, tuple[Parts, ...]]

    def say(self, rng: np.random.Generator, name: str, context: Mapping[str, str]) -> str:
        """One variant of a list with its slots filled. Raises KeyError for an unknown name."""
        return _SPACES.sub(" ", self._fill(rng, name, context)).strip(" ")

    def __contains__(self, name: str) -> bool:
        return name in self.lists

    def _fill(self, rng: np.random.Generator, name: str, context: Mapping[str, str]) -> str:
        variants = self.lists[name]
        parts = variants[int(rng.random() * len(variants))]
        if len(parts) == 1:
            return parts[0]
        said = [parts[0]]
        for place in range(1, len(parts), 2):
            slot = parts[place]
            said.append(context[slot] if slot in context else self._fill(rng, slot, context))
            said.append(parts[place + 1])
        return "".join(said)


def read_phrase_file(name: str) -> dict[str, object]:
    """The parsed content of phrases/NAME.toml."""
    folder = resources.files("etl.synthetic_hospital") / "phrases"
    return tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def load_phrasebook() -> Phrasebook:
    """All sentence lists. Raises ValueError for a list that stands twice or is empty."""
    lists: dict[str, tuple[Parts, ...]] = {}
    for file_name in ("fractures", "reports", "clinical", "background"):
        for name, variants in read_phrase_file(file_name).items():
            if name in lists or not isinstance(variants, list) or not variants:
                raise ValueError(
                    f"list {name} in phrases/{file_name}.toml is empty or a repetition"
                )
            lists[name] = tuple(tuple(_SLOT.split(str(variant))) for variant in variants)
    return Phrasebook(lists)
