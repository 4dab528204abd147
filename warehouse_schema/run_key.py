"""A run that may be committed once: by which flow, for which date, under which definitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from warehouse_schema.manifest import configuration_hash


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """What must not be committed twice, however often it is retried.

    Attributes:
        flow: Flow or stage.
        run_date: Date the run is for, ISO 8601.
        definition_hash: Hash of the definitions in force.
    """

    flow: str
    run_date: str
    definition_hash: str

    @property
    def run_key(self) -> str:
        """SHA-256 of the three."""
        return configuration_hash(
            {"flow": self.flow, "date": self.run_date, "definitions": self.definition_hash}
        )

    def row(self, *, commit_version: int) -> dict[str, object]:
        """Its row in ``committed_runs``."""
        return {
            "run_key": self.run_key,
            "flow": self.flow,
            "run_date": self.run_date,
            "definition_hash": self.definition_hash,
            "commit_version": commit_version,
            "committed_datetime": datetime.now(UTC),
        }
