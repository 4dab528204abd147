"""Input that was set aside: collected by a stage, counted, written as quarantine rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from itertools import chain

import pyarrow as pa

from warehouse_schema.commit import Commit
from warehouse_schema.tables.runs import QUARANTINE


class QuarantineList:
    """Rows or files that one run of a stage set aside.

    Args:
        stage: Stage name as in the quarantine table.
        source: Site mapping or dataset.
    """

    def __init__(self, *, stage: str, source: str) -> None:
        self.stage = stage
        self.source = source
        self._reasons: dict[str, list[str]] = {}

    def add(self, key: str, reason: str) -> None:
        """Set one thing aside under a pseudonymous key; a repeated key gets a number."""
        self._reasons.setdefault(key, []).append(reason)

    def __len__(self) -> int:
        return sum(map(len, self._reasons.values()))

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many were set aside for each reason, most frequent first."""
        counts = Counter(chain.from_iterable(self._reasons.values()))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def replace_in(self, commit: Commit, *, seen_keys: Container[str] | None = None) -> None:
        """Write the rows in place of what earlier runs of this stage and source set aside.

        Args:
            commit: Open commit.
            seen_keys: Keys that this run has looked at, where it is one of several that share
                the source; rows of other keys then stay. None: the run has looked at all.
        """
        where: dict[str, str | int] = {"stage": self.stage, "source": self.source}
        # Reasons in order, so that the same ones get the same numbers whichever came first.
        rows = [
            {**where, "key": f"{key}#{number}" if number > 1 else key, "reason": reason}
            for key, reasons in self._reasons.items()
            for number, reason in enumerate(sorted(reasons), start=1)
        ]
        if seen_keys is not None:
            rows += [
                row
                for row in commit.read(QUARANTINE, where=where).to_pylist()
                if row["key"].partition("#")[0] not in seen_keys
            ]
        commit.replace(
            QUARANTINE, pa.Table.from_pylist(rows, schema=QUARANTINE.schema), where=where
        )
