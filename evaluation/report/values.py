"""What the report shows of a number: its text, its interval, its verdict."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Number:
    """A value with its 95 % interval and what it was computed on."""

    value: float | None
    low: float | None
    high: float | None
    n_positive: int
    n_negative: int

    @property
    def text(self) -> str:
        """The value to three decimals, a dash where it is undefined."""
        return "–" if self.value is None else f"{self.value:.3f}"

    @property
    def interval(self) -> str:
        """The interval to two decimals, empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:.2f}–{self.high:.2f}"

    @property
    def percent(self) -> str:
        """The value in whole per cent."""
        return "–" if self.value is None else f"{100 * self.value:.0f}\u00a0%"

    @property
    def percent_interval(self) -> str:
        """The interval in whole per cent."""
        if self.low is None or self.high is None:
            return ""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f}\u00a0%"


@dataclass(frozen=True)
class Difference:
    """A paired difference from the first run."""

    difference: float
    low: float
    high: float
    p_value: float | None
    p_value_holm: float | None

    @property
    def text(self) -> str:
        """Signed difference to three decimals, with a proper minus sign."""
        return f"{self.difference:+.3f}".replace("-", "−")

    @property
    def interval(self) -> str:
        """The interval, signed."""
        return f"{self.low:+.2f} to {self.high:+.2f}".replace("-", "−")

    @property
    def p_text(self) -> str:
        """The corrected p value where there is one."""
        if self.p_value is None:
            return ""
        shown = self.p_value if self.p_value_holm is None else self.p_value_holm
        name = "p" if self.p_value_holm is None else "p (Holm)"
        return f"{name} < 0.001" if shown < 0.001 else f"{name} = {shown:.3f}"

    @property
    def verdict(self) -> str:
        """better, worse or undecided, by the interval."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


@dataclass(frozen=True)
class RunRow:
    """One run of the report: its row in ``training_runs`` and its display name."""

    run_id: str
    label: str
    row: dict[str, Any]


@dataclass(frozen=True)
class ResultRow:
    """One metric of one finding, one number per run and the differences from the first run."""

    name: str
    protocol: str
    numbers: list[Number | None]
    differences: list[Difference | None]
