"""Where pulled films lie until they are read: named by pseudonym, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from warehouse_schema.errors import SourceError
from warehouse_schema.home import Home

SUFFIX = ".dcm"
PART_SUFFIX = ".part"
IMAGE_ID = re.compile(r"I-[0-9a-f]{20}")


class Spool:
    """The spool of a home folder; one pull at a time may use it.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Home) -> None:
        self.folder = home.pacs_spool

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, take its lock, and remove what an interrupted pull left half written.

        Raises:
            SourceError: Another pull uses it.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                for path in self.folder.glob(f"*{PART_SUFFIX}"):
                    path.unlink()
                yield
        except Timeout:
            raise SourceError(
                "ingest-images: another pull from the PACS is running in this home. Wait for it."
            ) from None

    def path(self, image_id: str) -> Path:
        """Where the file of an image lies."""
        assert IMAGE_ID.fullmatch(image_id)
        return self.folder / f"{image_id}{SUFFIX}"

    def has(self, image_id: str) -> bool:
        """True where the image's file is here, which means all of it."""
        return self.path(image_id).is_file()

    def image_ids(self) -> list[str]:
        """Images whose files are here."""
        stems = sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}"))
        return [stem for stem in stems if IMAGE_ID.fullmatch(stem)]

    def write(self, image_id: str, content: bytes) -> str:
        """Write a file so that a crash leaves all of it or nothing; returns its SHA-256."""
        path = self.path(image_id)
        part = path.with_suffix(PART_SUFFIX)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        self._sync_folder()
        return hashlib.sha256(content).hexdigest()

    def remove(self, image_id: str) -> None:
        """Remove a file."""
        self.path(image_id).unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
