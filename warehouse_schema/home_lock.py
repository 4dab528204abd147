"""Who may write files in a home: many stages at once, or one erasure alone.

Commits have the writer lock. Films, checkpoints, score maps and reports are written before a
commit, or without one, and an erasure must not search the home while they come. The operating
system takes these locks from a process that dies.
"""

from __future__ import annotations

import fcntl
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

from warehouse_schema.errors import WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.store import Store

FILE = ".files.lock"
P = ParamSpec("P")
R = TypeVar("R")


def writes_files(function: Callable[P, R]) -> Callable[P, R]:
    """A stage that writes files in the home of its keyword argument ``store``.

    It waits for an erasure to end, and is refused then, for its store knows the warehouse as it was
    before.

    Raises:
        WarehouseError: A patient was erased since the store was opened.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        store = kwargs["store"]
        assert isinstance(store, Store)
        with _held(store.home, fcntl.LOCK_SH):
            store.refuse_where_erased()
            return function(*args, **kwargs)

    return guarded


@contextmanager
def no_files_written(home: Home) -> Iterator[None]:
    """A block during which no stage writes files.

    Raises:
        WarehouseError: One does so now.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_held(home, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            raise WarehouseError(
                "Another stage (ingest-images, train, predict, report ...) writes files in this "
                "home now. Let it end or stop it, then run this again."
            ) from None
        yield


@contextmanager
def _held(home: Home, how: int) -> Iterator[None]:
    with (home.warehouse / FILE).open("a") as file:
        fcntl.flock(file, how)
        yield
