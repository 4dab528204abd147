"""Where results lie: ``restricted/results/RUN/``, files named by pseudonym, mode 0600.

They hold the source's identifiers. A film's JSON is written last, so that it stands for all of the
film's files; a result that is there with the same digest is left as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse_schema.durable_files import write_named
from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home

FOLDER = "results"
JSON_NAME = "result.json"


class ResultFolder:
    """The results of one run.

    Args:
        home: The home folder.
        run_id: A run that the warehouse knows.
    """

    def __init__(self, home: Home, run_id: str) -> None:
        self.path = home.restricted / FOLDER / run_id

    def file(self, image_id: str, name: str) -> Path:
        """Path of one file of a film."""
        return self.path / f"{image_id}_{name}"

    def read(self, image_id: str, digest: str) -> dict[str, Any] | None:
        """The summary of this very result where it stands here, all of it; else None."""
        try:
            content = json.loads(self.file(image_id, JSON_NAME).read_bytes())
            is_whole = content["digest"] == digest and all(
                self.file(image_id, str(name)).is_file() for name in content["files"]
            )
            return dict(content) if is_whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, image_id: str, files: Mapping[str, bytes], summary: Mapping[str, Any]) -> None:
        """Write a film's files in place of earlier ones.

        Raises:
            WarehouseError: The disk is full, or the folder cannot be written to.
        """
        text = json.dumps({**summary, "files": sorted(files)}, indent=1)
        try:
            for folder in (self.path.parent, self.path):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            self.file(image_id, JSON_NAME).unlink(missing_ok=True)
            for old in self.path.glob(f"{image_id}_*"):
                if old.name not in {f"{image_id}_{name}" for name in files}:
                    old.unlink()
            for name, content in (*files.items(), (JSON_NAME, text.encode())):
                write_named(self.file(image_id, name), content, mode=0o600)
        except OSError as error:
            raise WarehouseError(
                f"results: restricted/{FOLDER} cannot be written to ({error.strerror}). Free space "
                "under the home folder and give the same command again: what is there stays."
            ) from None
