"""What every test has in common."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_flushes() -> Iterator[None]:
    """Nothing waits for the disk: power cuts are simulated, by ``faulty_disk``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
