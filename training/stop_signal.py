"""SIGTERM, which Slurm and Kubernetes send before they kill: the step under way is finished."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """Notes SIGTERM inside a block; elsewhere than in the main thread it notes nothing.

    Attributes:
        is_asked: True once the signal came.
    """

    def __init__(self) -> None:
        self.is_asked = False

    def __enter__(self) -> StopSignal:
        self._is_main = threading.current_thread() is threading.main_thread()
        if self._is_main:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_main:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
