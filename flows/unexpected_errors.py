"""Errors that nobody foresaw: told by type and place, their message withheld.

A library's message quotes what it could not read, and that may be a patient's. The command line and
Prefect's tasks therefore show where an error arose, never what it said, unless a developer asks.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from warehouse_schema.errors import FlowError

SHOW_VARIABLE = "RIBLINE_SHOW_ERRORS"


def withheld(error: BaseException, *, what: str) -> FlowError:
    """The error to show in place of one that may hold data.

    Args:
        error: What was raised.
        what: Command or task in which it arose.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return FlowError(
        f"{what}: internal error {type(error).__name__} at {places}. Its message is withheld, it "
        f"may hold data; run the stage by hand with {SHOW_VARIABLE}=1 to see it."
    )


def is_shown() -> bool:
    """True where a developer wants the whole traceback."""
    return os.environ.get(SHOW_VARIABLE) == "1"
