"""Films read in worker processes, in order, with limits; a file that kills its worker costs itself.

Workers come from a fork server, which has no threads, locks or secrets of the parent.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice

import cv2

from etl.film_reading import FilmReading, ReadingOrder, hash_file

# A JPEG 2000 film of MAX_PIXELS takes 1.3 GiB.
MAX_WORKER_BYTES = 4 * 2**30
MAX_SECONDS = 120
# Films that may wait for their turn, per worker; bounds the memory that they take.
N_WAITING = 8
_cached_sha256: frozenset[str] = frozenset()


def read_films(
    orders: Iterable[ReadingOrder],
    *,
    n_processes: int,
    cached_sha256: Set[str] = frozenset(),
    max_seconds: int = MAX_SECONDS,
    max_bytes: int = MAX_WORKER_BYTES,
) -> Iterator[FilmReading]:
    """Read files in worker processes and yield the readings in the order given.

    Args:
        orders: What to read.
        n_processes: Workers; the readings do not depend on it.
        cached_sha256: Source hashes whose film is in the cache already; each worker gets them once.
        max_seconds: Time that one file may take.
        max_bytes: Address space that a worker may take.
    """
    make_pool = partial(_make_pool, cached_sha256=cached_sha256, max_bytes=max_bytes)
    remaining = iter(orders)
    waiting: deque[tuple[ReadingOrder, Future[FilmReading]]] = deque()
    pool = make_pool(n_processes)
    try:
        while True:
            for order in islice(remaining, n_processes * N_WAITING - len(waiting)):
                waiting.append((order, _submit(pool, order, max_seconds)))
            if not waiting:
                return
            order, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                # Any of the waiting files may be the one: each gets a worker of its own.
                pool.shutdown(wait=False)
                for suspect in [order, *(each for each, _ in waiting)]:
                    yield _read_alone(suspect, max_seconds, make_pool)
                waiting.clear()
                pool = make_pool(n_processes)
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, order: ReadingOrder, max_seconds: int
) -> Future[FilmReading]:
    try:
        return pool.submit(_read_within_limits, order, max_seconds)
    except BrokenProcessPool as error:
        future: Future[FilmReading] = Future()
        future.set_exception(error)
        return future


def _read_alone(
    order: ReadingOrder, max_seconds: int, make_pool: Callable[[int], ProcessPoolExecutor]
) -> FilmReading:
    with make_pool(1) as pool:
        try:
            return pool.submit(_read_within_limits, order, max_seconds).result()
        except BrokenProcessPool:
            sha256 = hash_file(order.path) if order.path.is_file() else ""
            fault = f"decoding killed its worker or took more than {max_seconds} s"
            return FilmReading(path=order.path, source_sha256=sha256, fault=fault)


def _make_pool(n_processes: int, *, cached_sha256: Set[str], max_bytes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etl.film_reading"])
    return ProcessPoolExecutor(
        max_workers=n_processes,
        mp_context=context,
        initializer=_start_worker,
        initargs=(frozenset(cached_sha256), max_bytes),
    )


def _start_worker(cached_sha256: frozenset[str], max_bytes: int) -> None:
    global _cached_sha256  # noqa: PLW0603 - one set for a process, instead of one with every order
    _cached_sha256 = cached_sha256
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with_parent() -> None:
    """Without this, the workers of an ingest that is killed would wait for orders for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_within_limits(order: ReadingOrder, max_seconds: int) -> FilmReading:
    # The default action of SIGALRM ends the process, also while a decoder never returns.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(max_seconds)
    try:
        return order.read(_cached_sha256)
    finally:
        signal.alarm(0)
