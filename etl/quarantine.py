"""Input that was set aside: collected by a stage, counted, written as quarantine rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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
        self._reasons: dict[str, str] = {}

    def add(self, key: str, reason: str) -> None:
        """Set one thing aside under a pseudonymous key; a repeated key gets a number."""
        unique, n = key, 1
        while unique in self._reasons:
            n += 1
            unique = f"{key}#{n}"
        self._reasons[unique] = reason

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many were set aside for each reason, most frequent first."""
        counts = Counter(self._reasons.values())
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def replace_in(self, commit: Commit) -> None:
        """Write the rows in place of what earlier runs of this stage and source set aside."""
        rows = [
            {"stage": self.stage, "source": self.source, "key": key, "reason": reason}
            for key, reason in self._reasons.items()
        ]
        commit.replace(
            QUARANTINE,
            pa.Table.from_pylist(rows, schema=QUARANTINE.schema),
            where={"stage": self.stage, "source": self.source},
        )
