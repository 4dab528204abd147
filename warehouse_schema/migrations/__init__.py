"""Migrations: one module a format, named after the format that it leads to.

A migration takes the store, whose writer lock is held, and brings a home of the format before to
its own. It may be killed at any point and is then run again from its start. It never changes what a
column means: a column with another meaning gets another name. A nullable column that is added to a
table needs no migration: rows written before read as null.
"""

from collections.abc import Callable, Mapping

from warehouse_schema.migrations import m0002_log_hashes
from warehouse_schema.store import Store

MIGRATIONS: Mapping[int, Callable[[Store], None]] = {2: m0002_log_hashes.migrate}
