"""How fast the steps of a run are, and how much of their time is spent waiting for data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Throughput:
    """Times of the steps since this process started; validation is left out.

    Attributes:
        n_films: Films of the steps, over all processes.
        training_s: Seconds of forward, backward and update.
        waited_s: Seconds in which the trainer waited for films.
    """

    n_films: int = 0
    training_s: float = 0.0
    waited_s: float = 0.0

    @property
    def images_per_s(self) -> float:
        """Films a second; 0 before the first step."""
        seconds = self.training_s + self.waited_s
        return self.n_films / seconds if seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data; 0 before the first step."""
        seconds = self.training_s + self.waited_s
        return self.waited_s / seconds if seconds else 0.0
