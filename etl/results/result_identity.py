"""Names, versions and UIDs of what Ribline writes into DICOM results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl.pseudonym import Pseudonymizer
from warehouse_schema.film_scores import ScoringRun

MANUFACTURER = "Ribline"
MODEL_NAME = "Ribline fracture detector"
ALGORITHM = "Ribline"
# Above the numbers that modalities give to their own series.
SERIES_NUMBERS = {"secondary capture": 9101, "presentation state": 9102, "report": 9103}
RESEARCH = "Research use only. Not for diagnosis."
# Raise when a change alters what results say or how: results of old are then written anew.
RESULT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ResultIdentity:
    """Who made a result, of which film, and its UIDs: the same content has the same UIDs.

    Attributes:
        run: The run that scored the film.
        names: Gives the UIDs.
        digest: SHA-256 over the film and everything that is said of it.
        code_version: Code that wrote the result.
        written: When, in UTC.
    """

    run: ScoringRun
    names: Pseudonymizer
    digest: str
    code_version: str
    written: datetime

    def uid(self, kind: str) -> str:
        """UID of one object of this result, of its series or of something that is tracked in it."""
        return self.names.uid(f"result {kind} {self.digest}")

    def instance_arguments(self, kind: str, series_description: str) -> dict[str, Any]:
        """What highdicom asks of every object: its series, its number, and who made it."""
        return {
            "series_instance_uid": self.uid(f"{kind} series"),
            "series_number": SERIES_NUMBERS[kind],
            "series_description": series_description,
            "sop_instance_uid": self.uid(kind),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL_NAME,
            "software_versions": self.code_version,
            "device_serial_number": self.serial_number,
        }

    @property
    def serial_number(self) -> str:
        """Device Serial Number: the weights, as far as 64 characters go."""
        return self.run.checkpoint_sha256[:32]


def sha256_of(*parts: bytes | str) -> str:
    """SHA-256 over parts, their lengths before them."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
