"""Pseudonyms and date shifts by keyed HMAC-SHA256.

They depend on the key, the kind, the source and the identifier alone: one key gives the same
pseudonym every night, another key gives unrelated ones, and without the key none can be guessed
from a list of identifiers.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import datetime, timedelta

from warehouse_schema.errors import ConfigurationError

PREFIXES = {
    "patient": "P",
    "encounter": "E",
    "diagnosis": "D",
    "note": "N",
    "note_series": "NS",
    "accession": "A",
    "study": "ST",
    "series": "SE",
    "image": "I",
    "reader": "R",
    "row": "Q",
    "opt_out": "O",
}
MIN_KEY_BYTES = 16
# Backwards only: a shifted date never lies in the future, where no stay would ever be closed.
MAX_SHIFT_DAYS = 364
N_DIGITS = 20


class Pseudonymizer:
    """Pseudonyms of one source under one key.

    Args:
        key: The secret, at least 16 bytes; a text is taken as UTF-8.
        source: Site mapping or dataset; patients of two sources never share a pseudonym.

    Raises:
        ConfigurationError: The key is too short.
    """

    def __init__(self, *, key: bytes | str, source: str) -> None:
        secret = key.encode() if isinstance(key, str) else bytes(key)
        if len(secret) < MIN_KEY_BYTES:
            raise ConfigurationError(
                f"pseudonym_key: {len(secret)} bytes given, at least {MIN_KEY_BYTES} are needed. "
                "Make one with: openssl rand -hex 32."
            )
        self._secret = secret
        self.source = source

    def of_source(self, source: str) -> Pseudonymizer:
        """The pseudonyms of another source under the same key."""
        return Pseudonymizer(key=self._secret, source=source)

    def pseudonym(self, kind: str, identifier: str) -> str:
        """Pseudonym of an identifier: a prefix for its kind and 80 bits in hexadecimal."""
        return f"{PREFIXES[kind]}-{self._digest(kind, identifier).hex()[:N_DIGITS]}"

    def uid(self, source_uid: str) -> str:
        """A UID in place of one of the source's, the same for the same: 2.25 and 128 bits.

        PS3.5 section B.2; the digest has the form of a version 4 UUID.
        """
        digest = uuid.UUID(bytes=self._digest("uid", source_uid)[:16], version=4)
        return f"2.25.{digest.int}"

    def date_shift_days(self, patient_identifier: str) -> int:
        """Days (-364 to -1) added to every date of a patient; intervals stay as they were."""
        number = int.from_bytes(self._digest("date shift", patient_identifier)[:8], "big")
        return -1 - number % MAX_SHIFT_DAYS

    def _digest(self, kind: str, identifier: str) -> bytes:
        # Lengths stand before the parts, so that no two triples give one message.
        parts = [part.encode("utf-8", "surrogatepass") for part in (kind, self.source, identifier)]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def shift_datetime(moment: datetime | None, shift_days: int) -> datetime | None:
    """The moment, moved by whole days."""
    return None if moment is None else moment + timedelta(days=shift_days)
