"""What passes between reading films, scoring them and writing results: plain arrays.

Shapes: S side of the square film, H x W pixels of a score map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCORE_MAX = 65535


@dataclass(frozen=True, kw_only=True)
class SquareFilm:
    """A film as it would be cached.

    Attributes:
        pixels: (S, S) uint8, bones bright, 0 in the padding.
        pad_left_px: Columns of padding before the film.
        pad_top_px: Rows of padding above it.
        valid_width_px: Columns of the film.
        valid_height_px: Rows of the film.
    """

    pixels: NDArray[np.uint8]
    pad_left_px: int
    pad_top_px: int
    valid_width_px: int
    valid_height_px: int


@dataclass(frozen=True, kw_only=True)
class FilmScores:
    """What a run's network says of one film.

    Attributes:
        scores: Score of the whole film by finding, 0 to 1.
        maps: Score map by finding, (H, W) uint16 = round(65535 p), 0 in the padding; H = W is the
            network's input, which shows the whole square film. None where the run's method has no
            maps that can be compared between films.
    """

    scores: Mapping[str, float]
    maps: Mapping[str, NDArray[np.uint16]] | None


ScoreFilm = Callable[[SquareFilm], FilmScores]


@dataclass(frozen=True, kw_only=True)
class ScoringRun:
    """The run that scores films, as its results name it.

    Attributes:
        run_id: Training run.
        method: Its method.
        findings: Findings in the order of the network's channels.
        code_version: Code that trained it.
        checkpoint_sha256: SHA-256 of its weights.
        has_maps: False where results are scores alone.
    """

    run_id: str
    method: str
    findings: tuple[str, ...]
    code_version: str
    checkpoint_sha256: str
    has_maps: bool


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Thresholds that were chosen on the run's validation films.

    Attributes:
        name: youden, sensitivity_90 or specificity_90.
        thresholds: Threshold on the score by finding; None where none is stored. Above 1 where no
            score reaches it.
    """

    name: str
    thresholds: Mapping[str, float | None]
