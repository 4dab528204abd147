"""What temporal ensembling remembers of every film, in files that a killed run can go on from.

Two files an epoch in a folder of the run, until it ends: ``seen-E.npy`` takes the maps of epoch E
as they come, ``mean-E.npy`` is the exponential mean of all epochs up to E, float16 in the frame of
the plain film. A film's maps of an epoch are written again by a run that goes on, with the same
values, and an epoch's mean is made of the one before: nothing depends on when the run was killed.
The files of two epochs are kept, for a run that must return to the checkpoint before the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from warehouse_schema.pixel_shards import open_array, write_array

_FILMS_AT_ONCE = 256


class EnsembleMemory:
    """Maps (n, K, s, s) of n films, and how often each was seen.

    Args:
        folder: Folder of the files, made where it is missing.
        shape: n, K, s, s.
        alpha: Momentum: mean = alpha mean + (1 - alpha) map.
    """

    def __init__(self, *, folder: Path, shape: tuple[int, int, int, int], alpha: float) -> None:
        self._folder = folder
        self._shape = shape
        self._alpha = alpha
        folder.mkdir(parents=True, exist_ok=True)

    def begin_epoch(self, epoch: int) -> None:
        """Make the mean of the epochs before, and room for this one's maps."""
        if epoch > 1 and not self._path("mean", epoch - 1).is_file():
            self._write_mean(epoch - 1)
        for old in range(1, epoch - 2):
            for kind in ("mean", "seen", "count"):
                self._path(kind, old).unlink(missing_ok=True)
        self._mean = open_array(self._path("mean", epoch - 1)) if epoch > 1 else None
        self._n_seen = self._counts(epoch - 1)
        path = self._path("seen", epoch)
        if not path.is_file():
            with _new_array(path, self._shape) as seen:
                for part in self._parts():
                    seen[part] = np.nan
        self._seen = np.lib.format.open_memmap(path, mode="r+")

    def targets(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Bias-corrected means (b, K, s, s), 0 where a film was never seen, and which were."""
        n_seen = self._n_seen[rows]
        if self._mean is None:
            return np.zeros((len(rows), *self._shape[1:]), dtype=np.float32), n_seen > 0
        correction = 1.0 - self._alpha ** np.maximum(n_seen, 1).astype(np.float32)
        means = np.asarray(self._mean[rows], dtype=np.float32)
        return means / correction[:, None, None, None], n_seen > 0

    def remember(self, rows: NDArray[np.int64], maps: NDArray[np.float32]) -> None:
        """Take up the maps (b, K, s, s) of this epoch."""
        self._seen[rows] = maps.astype(np.float16)

    def _write_mean(self, epoch: int) -> None:
        """mean-E from mean-(E-1) and seen-E; films that E has not seen keep their mean."""
        seen = open_array(self._path("seen", epoch))
        before = open_array(self._path("mean", epoch - 1)) if epoch > 1 else None
        is_seen = np.zeros(self._shape[0], dtype=np.bool_)
        with _new_array(self._path("mean", epoch), self._shape) as mean:
            for part in self._parts():
                new = np.asarray(seen[part], dtype=np.float32)
                old = np.zeros_like(new) if before is None else np.asarray(before[part], np.float32)
                is_seen[part] = ~np.isnan(new).any(axis=(1, 2, 3))
                mixed = self._alpha * old + (1.0 - self._alpha) * new
                mean[part] = np.where(is_seen[part, None, None, None], mixed, old)
            # The mean is named last: where it is, the counts are.
            write_array(self._path("count", epoch), self._counts(epoch - 1) + is_seen)

    def _parts(self) -> Iterator[slice]:
        """All films, a few at a time."""
        for start in range(0, self._shape[0], _FILMS_AT_ONCE):
            yield slice(start, start + _FILMS_AT_ONCE)

    def _counts(self, epoch: int) -> NDArray[np.int32]:
        """How often each film was seen up to an epoch, (n,)."""
        if epoch < 1:
            return np.zeros(self._shape[0], dtype=np.int32)
        return np.asarray(open_array(self._path("count", epoch)), dtype=np.int32)

    def _path(self, kind: str, epoch: int) -> Path:
        return self._folder / f"{kind}-{epoch}.npy"


@contextmanager
def _new_array(path: Path, shape: tuple[int, ...]) -> Iterator[NDArray[np.float16]]:
    """A mapped float16 array that takes its name when it is full."""
    draft = path.with_name(f".{path.name}.draft")
    array = np.lib.format.open_memmap(draft, mode="w+", dtype=np.float16, shape=shape)
    yield array
    array.flush()
    draft.replace(path)
