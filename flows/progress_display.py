"""Progress on the screen: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from warehouse_schema.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_display(console: Console) -> Iterator[Progress]:
    """Progress for the stages run inside the block.

    Args:
        console: Bars if it is a terminal, otherwise a line at least every ten seconds.
    """
    if not console.is_terminal:
        yield LineProgress(
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        )
        return
    bars = Bars(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        RateColumn(),
        TextColumn("{task.fields[figures]}", style="cyan", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bars:
        yield BarProgress(bars)


class RateColumn(ProgressColumn):
    """Units per second, the mean so far."""

    def render(self, task: Task) -> Text:
        """The rate, or nothing before the first unit."""
        rate = task.finished_speed or task.speed
        return Text("" if not rate else f"{rate:,.1f}/s", style="magenta")


class BarProgress:
    """One bar a stage; finished bars stay on the screen."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def start(self, stage: str, total: int | None) -> None:
        """Begin a bar."""
        self.finish()
        self._task = self._bars.add_task(f"{stage:<24}", total=total, figures="")

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """Move the bar; the newest figures stand beside it."""
        if self._task is None:
            return
        if figures:
            self._bars.update(self._task, advance=n, figures=figures_text(figures))
        else:
            self._bars.update(self._task, advance=n)

    def finish(self) -> None:
        """End the bar where it stands."""
        if self._task is None:
            return
        task = self._bars.tasks[self._task]
        self._bars.update(self._task, total=task.completed or 1, completed=task.completed or 1)
        self._bars.stop_task(self._task)
        self._task = None


class LineProgress:
    """One line at the start and end of a stage, with figures in between."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._stage: str | None = None
        self._total: int | None = None
        self._done = 0
        self._figures: dict[str, float | str] = {}
        self._started = self._printed = 0.0

    def start(self, stage: str, total: int | None) -> None:
        """Print that the stage begins."""
        self.finish()
        self._stage, self._total, self._done, self._figures = stage, total, 0, {}
        self._started = self._printed = time.monotonic()
        self._print("started" if total is None else f"started, {total:,} to do")

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """Count; print now and then."""
        if self._stage is None:
            return
        self._done += n
        self._figures.update(figures)
        if time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            total = "" if self._total is None else f" of {self._total:,}"
            self._print(f"{self._done:,}{total}{self._rate()} {figures_text(self._figures)}")

    def finish(self) -> None:
        """Print what was done in which time."""
        if self._stage is None:
            return
        wall_s = time.monotonic() - self._started
        done = f", {self._done:,}" if self._done else ""
        self._print(f"done{done} in {wall_s:.1f} s{self._rate()} {figures_text(self._figures)}")
        self._stage = None

    def _rate(self) -> str:
        wall_s = time.monotonic() - self._started
        return f", {self._done / wall_s:,.1f}/s" if self._done and wall_s > 0 else ""

    def _print(self, line: str) -> None:
        self._write(f"{self._stage}: {line.rstrip()}")


def figures_text(figures: dict[str, float | str]) -> str:
    """Figures as ``loss 0.312  validation AUROC 0.871``."""
    return "  ".join(
        f"{name.replace('_', ' ').replace('auroc', 'AUROC')} "
        + (f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in figures.items()
    )
