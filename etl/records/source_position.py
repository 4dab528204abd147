"""How far an ordered stream of rows has come, so that another connection goes on from there."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from etl.records.source_batch import SourceBatch


class Position:
    """Passes batches on, holding back the rows of the last key until the key has advanced.

    What is held back is read again after a drop, from its key on: no row is missed, and none is
    passed on twice. Keys that a database may take for equal (case, accents, trailing spaces) count
    as equal here.

    Args:
        key: Column by which the rows are ordered.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._held: list[SourceBatch] = []
        self.start: object = None

    def take(self, batch: SourceBatch) -> Iterator[SourceBatch]:
        """The rows that are complete once this batch is there."""
        if not batch.n_rows:
            return
        last = self._loose(batch, batch.n_rows - 1)
        first_of_last = batch.n_rows - 1
        while first_of_last and self._loose(batch, first_of_last - 1) == last:
            first_of_last -= 1
        if self._held and first_of_last == 0 and self._loose(self._held[0], 0) == last:
            self._held.append(batch)
            return
        yield from self._held
        self._held = [batch.slice(first_of_last, batch.n_rows)]
        if first_of_last:
            yield batch.slice(0, first_of_last)

    def rest(self) -> Iterator[SourceBatch]:
        """What was held back, once the stream has ended."""
        yield from self._held
        self._held = []

    def restart(self) -> None:
        """Give up what is held back, and make ``start`` the key from which to read again."""
        if self._held:
            self.start = self._held[0].value(self._key, 0)
            self._held = []

    def _loose(self, batch: SourceBatch, number: int) -> object:
        value = batch.value(self._key, number)
        if isinstance(value, bytes):
            return value.strip().lower()
        if not isinstance(value, str):
            return value
        letters = unicodedata.normalize("NFKD", value.casefold())
        return "".join(each for each in letters if not unicodedata.combining(each)).strip()
