"""How far a run is: with the tensors of a checkpoint, all that a resume needs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from training.checkpoint import Checkpoint
from warehouse_schema.errors import CheckpointError

EpochRow = tuple[int, str, str, float | None]


@dataclass
class Standing:
    """Position and figures of a run.

    Attributes:
        epoch: Epoch under way, from 1.
        step: Steps done in it.
        sums: Sums of the epoch's figures so far: scalars as lists of length 1, or one per finding.
        rows: Finished figures: epoch, finding or 'all', metric, value.
        best_epoch: Epoch with the best mean validation AUROC so far; 0 before the first.
        best_auroc: That AUROC.
        first_losses: Losses of the run's first steps, at most ``stopping_rules.WINDOW``.
        recent_losses: Losses of its last steps, as many at most.
        first_teacher_spread: How far apart the teacher's scores of the validation films were before
            the first step; None without a teacher.
    """

    epoch: int = 1
    step: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)
    rows: list[EpochRow] = field(default_factory=list)
    best_epoch: int = 0
    best_auroc: float = -1.0
    first_losses: list[float] = field(default_factory=list)
    recent_losses: list[float] = field(default_factory=list)
    first_teacher_spread: float | None = None

    def add(self, sums: dict[str, list[float]]) -> None:
        """Take up the sums of one step."""
        for name, values in sums.items():
            old = self.sums.get(name, [0.0] * len(values))
            self.sums[name] = [a + b for a, b in zip(old, values, strict=True)]

    def record(self, figures: dict[str, list[float | None]], findings: tuple[str, ...]) -> None:
        """Take up the finished figures of the epoch under way, and the mean of the AUROCs.

        Args:
            figures: One value per finding for validation's and AALS's metrics, else one.
            findings: Findings in order.
        """
        for metric, values in figures.items():
            names = findings if metric.startswith(("validation", "aals")) else ("all",)
            self.rows += [
                (self.epoch, name, metric, value) for name, value in zip(names, values, strict=True)
            ]
        mean = mean_auroc(figures["validation_auroc"])
        self.rows.append((self.epoch, "all", "validation_auroc", mean))

    def begin_next_epoch(self) -> None:
        """Go to the first step of the next epoch."""
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}

    def to_json(self) -> dict[str, object]:
        """All fields."""
        return dataclasses.asdict(self)

    @staticmethod
    def of(checkpoint: Checkpoint) -> Standing:
        """The standing that a checkpoint holds.

        Raises:
            CheckpointError: It was written by another version of the code.
        """
        try:
            fields = dict(checkpoint.state["standing"])  # type: ignore[call-overload]
            fields["rows"] = [tuple(row) for row in fields["rows"]]
            return Standing(**fields)
        except (KeyError, TypeError):
            raise CheckpointError(
                "checkpoint: its state is not of this version of Ribline but of "
                f"{checkpoint.code_version}. Train the run again, or finish it with the version "
                "that began it."
            ) from None


def mean_auroc(values: list[float | None]) -> float:
    """Mean over the findings that have an AUROC."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known)
