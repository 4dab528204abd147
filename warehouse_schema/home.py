"""The one home folder of an installation (``RIBLINE_HOME``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from warehouse_schema.durable_files import make_folder
from warehouse_schema.errors import ConfigurationError


@dataclass(frozen=True)
class Home:
    """Where everything that Ribline writes lives.

    Attributes:
        root: The home folder itself.
    """

    root: Path

    @property
    def warehouse(self) -> Path:
        """Pseudonymous Delta tables and manifests; shareable."""
        return self.root / "warehouse"

    @property
    def restricted(self) -> Path:
        """Id map and matched note text; mode 0700; never shared."""
        return self.root / "restricted"

    @property
    def pacs_spool(self) -> Path:
        """Films pulled from the PACS until they are read; in ``restricted``, mode 0700."""
        return self.restricted / "pacs_spool"

    @property
    def cache(self) -> Path:
        """Film pixels as uint8 shards."""
        return self.root / "cache"

    @property
    def runs(self) -> Path:
        """Checkpoints, logs and score maps, one folder a run."""
        return self.root / "runs"

    def create(self) -> Home:
        """Make the four folders where they are missing, and return self.

        Raises:
            ConfigurationError: The folder cannot be made.
        """
        try:
            for folder in (self.warehouse, self.cache, self.runs, self.restricted):
                make_folder(folder)
            self.restricted.chmod(0o700)
        except OSError as error:
            raise ConfigurationError(
                f"RIBLINE_HOME: cannot create the home folder ({error.strerror}). "
                "Point RIBLINE_HOME at a folder you may write to."
            ) from None
        return self
