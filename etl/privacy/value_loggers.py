"""Silences the loggers of libraries that write rows, header values or queries into logs.

SQLAlchemy logs every row that it fetches, pydicom every value that it cannot read, HTTP clients
every address with its query. Whoever turns those on to find a fault gets patients' data in a log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

VALUE_LOGGERS = (
    *("sqlalchemy", "psycopg", "pymysql", "adbc_driver_manager", "pydicom", "pynetdicom"),
    *("dicomweb_client", "highdicom", "requests", "urllib3"),
)
OFF = logging.CRITICAL + 1


@contextmanager
def silent_value_loggers() -> Iterator[None]:
    """Keep these loggers quiet for a while, whatever level they were given."""
    loggers = [logging.getLogger(name) for name in VALUE_LOGGERS]
    loggers += [
        logging.getLogger(name)
        for name in list(logging.root.manager.loggerDict)
        if name.startswith(tuple(f"{each}." for each in VALUE_LOGGERS))
    ]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        # Children made later inherit the level; a child with a level of its own is disabled.
        logger.setLevel(OFF)
        logger.disabled = True
    try:
        yield
    finally:
        for logger, level, is_disabled in before:
            logger.setLevel(level)
            logger.disabled = is_disabled
