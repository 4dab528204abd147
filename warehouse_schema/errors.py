"""Every user-facing error, each with an exit code.

A message names the argument, what arrived, what is allowed and the next step, and never holds
personal data. The command line prints the message alone, without a traceback, and exits with
the code.
"""

from __future__ import annotations

from typing import ClassVar


class RiblineError(Exception):
    """Base of all errors a user can cause or mend."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(RiblineError):
    """A setting, recipe or definition file is missing or malformed."""

    exit_code = 2


class ArgumentError(RiblineError):
    """A command's argument is not allowed."""

    exit_code = 2


class SourceError(RiblineError):
    """A hospital database or folder cannot be reached, or lacks a table or column."""

    exit_code = 3


class InputError(RiblineError):
    """An input file cannot be used as a whole."""

    exit_code = 4


class WarehouseError(RiblineError):
    """A table, version or row breaks the warehouse's contract."""

    exit_code = 5


class AlreadyCommittedError(WarehouseError):
    """This run has been committed before: nothing is left to do."""


class QueryError(RiblineError):
    """A SQL statement is refused or fails."""

    exit_code = 6


class CohortError(RiblineError):
    """The cohort is empty or lacks a class that the stage needs."""

    exit_code = 7


class TrainingError(RiblineError):
    """Training cannot start, or stopped itself."""

    exit_code = 8


class CheckpointError(RiblineError):
    """A checkpoint is missing, torn, tampered with or of another code version."""

    exit_code = 9


class EvaluationError(RiblineError):
    """Predictions and cohort do not fit together, or a metric is undefined."""

    exit_code = 10


class FlowError(RiblineError):
    """A flow or deployment cannot be started."""

    exit_code = 11


class TrainingStoppedError(RiblineError):
    """Training was asked to stop (SIGTERM), saved, and goes on with the same command."""

    exit_code = 12
