"""How a stage tells whoever called it how far it is, without knowing what a screen is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Listener that flows pass down; one bar at a time."""

    def start(self, stage: str, total: int | None) -> None:
        """Begin a stage of ``total`` units (None: unknown)."""

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """``n`` units done; figures such as ``loss`` or ``validation_auroc`` are shown beside."""

    def finish(self) -> None:
        """The stage is over."""


class SilentProgress:
    """A listener that shows nothing."""

    def start(self, stage: str, total: int | None) -> None:
        """Ignore the start."""

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """Ignore the units."""

    def finish(self) -> None:
        """Ignore the end."""


SILENT = SilentProgress()
