"""How fast and when a PACS may be asked: a rate, and the hours of the night."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from types import TracebackType
from typing import Self

from pyrate_limiter import Limiter, Rate

from warehouse_schema.errors import ArgumentError

MAX_PER_SECOND = 1000.0
# What the limiter adds to each pause; its default of 50 ms would halve a rate of 20 a second.
BUFFER_MS = 1
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class PullHours:
    """Hours of the day, which may run over midnight, in the site's time zone.

    Attributes:
        start: First minute in which a study may be begun.
        end: First minute in which none may; equal to start means all day.
    """

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> PullHours:
        """Hours as settings write them: ``22:00-06:00``.

        Raises:
            ArgumentError: It is written in another way.
        """
        match = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", text.replace(" ", ""))
        try:
            if match is None:
                raise ValueError
            first, last = (time(int(match[n]), int(match[n + 1])) for n in (1, 3))
        except ValueError:
            raise ArgumentError(
                f"pacs_hours is {text!r}; write two times of the day, for example 22:00-06:00."
            ) from None
        return cls(first, last)

    def contain(self, moment: datetime) -> bool:
        """True where a moment, given in the site's time zone, is within the hours."""
        now = moment.time()
        if self.start == self.end:
            return True
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end


class Pace:
    """Waits so that no more than some instances a second are asked for.

    Args:
        instances_per_second: The limit; None waits for nothing.

    Raises:
        ArgumentError: It is not above 0 and at most 1000.
    """

    def __init__(self, instances_per_second: float | None) -> None:
        self._limiter: Limiter | None = None
        if instances_per_second is None:
            return
        if not 0 < instances_per_second <= MAX_PER_SECOND:
            raise ArgumentError(
                f"pacs_instances_per_second is {instances_per_second}; give a number above 0, at "
                f"most {MAX_PER_SECOND:.0f}."
            )
        # One every so many milliseconds, rather than a burst and a pause.
        self._limiter = Limiter(
            Rate(1, max(1, round(1000 / instances_per_second))), buffer_ms=BUFFER_MS
        )

    def wait(self, n_instances: int) -> None:
        """Wait until so many instances may be asked for."""
        for _ in range(n_instances if self._limiter is not None else 0):
            assert self._limiter is not None
            self._limiter.try_acquire("pacs")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._limiter is not None:
            self._limiter.close()
