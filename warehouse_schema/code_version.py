"""Which code wrote a row."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def code_version() -> str:
    """Version of the distribution, with the git commit where there is a checkout."""
    release = version("ribline")
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return release
    return f"{release}+g{commit}"


@cache
def code_hash(path: Path) -> str:
    """SHA-256 over a module, or over all modules of a folder: what other code would answer."""
    digest = hashlib.sha256()
    for module in sorted(path.glob("*.py")) if path.is_dir() else [path]:
        digest.update(f"{module.name}\0".encode() + module.read_bytes())
    return digest.hexdigest()
