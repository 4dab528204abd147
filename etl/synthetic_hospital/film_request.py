"""What a film is asked to show and what it then holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FINDINGS = ("rib_fracture", "clavicle_fracture")
SIDES = ("left", "right")
SEVERITIES = ("evident", "moderate", "subtle", "occult")
FRONTAL_PROJECTIONS = ("PA", "AP")
PROJECTIONS = (*FRONTAL_PROJECTIONS, "LATERAL", "ABDOMEN")


@dataclass(frozen=True, kw_only=True)
class FractureRequest:
    """One fracture: rib_number 1 to 12 (None for a clavicle), side as the patient has it.

    An occult fracture changes nothing on the film; is_old is healed, with callus.
    """

    finding: str
    side: str
    rib_number: int | None
    severity: str
    is_old: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError when a field is outside its list."""
        _check("finding", self.finding, FINDINGS)
        _check("side", self.side, SIDES)
        _check("severity", self.severity, SEVERITIES)
        if (self.rib_number is None) != (self.finding == "clavicle_fracture"):
            raise ValueError(f"rib_number is {self.rib_number} for a {self.finding}")
        if self.rib_number is not None and not 1 <= self.rib_number <= 12:
            raise ValueError(f"rib_number is {self.rib_number}, allowed are 1 to 12")


@dataclass(frozen=True, kw_only=True)
class FilmRequest:
    """One film: the patient is drawn from the seed, the fractures change nothing else on it."""

    seed: int
    sex_code: str
    age_years: int
    projection: str
    rows_px: int
    columns_px: int
    fractures: tuple[FractureRequest, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError when a field is outside its list or a size is below 64 pixels."""
        _check("sex_code", self.sex_code, ("F", "M"))
        _check("projection", self.projection, PROJECTIONS)
        if min(self.rows_px, self.columns_px) < 64:
            raise ValueError(
                f"{self.rows_px} x {self.columns_px} pixels, at least 64 x 64 are needed"
            )


@dataclass(frozen=True, kw_only=True)
class FilmBox:
    """A fracture's place: top-left corner and size in the film's own pixel frame."""

    finding: str
    severity: str
    is_old: bool
    is_visible: bool
    x_px: float
    y_px: float
    width_px: float
    height_px: float


@dataclass(frozen=True, kw_only=True)
class Film:
    """pixels is uint16 (rows_px, columns_px), 0 to 4095, bones bright (MONOCHROME2)."""

    pixels: npt.NDArray[np.uint16]
    boxes: tuple[FilmBox, ...]
    pixel_spacing_mm: float


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, allowed are {', '.join(allowed)}")
