"""Independent random streams of one film, by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_NAMES = (
    "shape",
    "pose",
    "bones",
    "organs",
    "vessels",
    "texture",
    "exposure",
    "noise",
    "devices",
    "marker",
)


@dataclass(frozen=True, kw_only=True)
class Streams:
    """What one part of a film draws never shifts what another part draws."""

    seed: int
    _opened: dict[str, np.random.Generator] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.random.Generator:
        """The generator of one part; asked for again, it goes on where it stood."""
        if name not in self._opened:
            sequence = np.random.SeedSequence([self.seed, _NAMES.index(name)])
            self._opened[name] = np.random.default_rng(sequence)
        return self._opened[name]
