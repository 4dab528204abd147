"""TensorBoard logs of a run."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import TracebackType


class Logbook:
    """Writes scalars for TensorBoard; ``with Logbook(folder) as logbook``."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # TensorBoard's own imports warn about things no user of ours can mend.
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(log_dir=str(folder))

    def __enter__(self) -> Logbook:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def scalar(self, name: str, value: float, step: int) -> None:
        """One number at a step or epoch."""
        self._writer.add_scalar(name, value, step)
