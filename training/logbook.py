"""TensorBoard logs of a run."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURES = "pictures"


class Logbook:
    """Writes scalars and pictures for TensorBoard; ``with Logbook(folder) as logbook``.

    Pictures show films, so they lie in files of their own, which an erasure can remove.

    Args:
        folder: Folder of the log.
        is_written: False writes nothing, for processes other than the first.
    """

    def __init__(self, folder: Path, *, is_written: bool = True) -> None:
        self._writers: list[SummaryWriter] = []
        if not is_written:
            return
        with warnings.catch_warnings():
            # TensorBoard's own imports warn about things no user of ours can mend.
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        self._writers = [SummaryWriter(str(path)) for path in (folder, folder / PICTURES)]

    def __enter__(self) -> Logbook:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            writer.close()

    def scalar(self, name: str, value: float, step: int) -> None:
        """One number at a step or epoch."""
        for writer in self._writers[:1]:
            writer.add_scalar(name, value, step)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """A grey picture (H, W) at an epoch."""
        for writer in self._writers[1:]:
            writer.add_image(name, pixels, step, dataformats="HW")
