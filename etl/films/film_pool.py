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
from dataclasses import dataclass
from functools import partial
from itertools import islice

import cv2

from etl.films.film_reading import FilmReading, ReadingOrder, hash_file

FATAL = "decoding killed its worker or took more time than it may"
# Films that may wait for their turn, per worker; bounds the memory that they take.
N_WAITING = 8
_cached_sha256: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """What one file may take.

    Attributes:
        cpu_seconds: Processor time, so that a busy machine refuses no file.
        wall_seconds: Time by the clock, for a file that is never delivered.
        n_bytes: Address space of a worker; a JPEG 2000 film of 64 million pixels takes 1.3 GiB.
    """

    cpu_seconds: int = 120
    wall_seconds: int = 900
    n_bytes: int = 4 * 2**30


def read_films(
    orders: Iterable[ReadingOrder],
    *,
    n_processes: int,
    cached_sha256: Set[str] = frozenset(),
    limits: WorkerLimits = WorkerLimits(),
) -> Iterator[FilmReading]:
    """Read files in worker processes and yield the readings in the order given.

    Args:
        orders: What to read.
        n_processes: Workers; the readings do not depend on it.
        cached_sha256: Source hashes whose film is in the cache already; each worker gets them once.
        limits: What one file may take.
    """
    make_pool = partial(_make_pool, cached_sha256=frozenset(cached_sha256), limits=limits)
    remaining = iter(orders)
    waiting: deque[tuple[ReadingOrder, Future[FilmReading]]] = deque()
    pool = make_pool(n_processes)
    try:
        while True:
            for order in islice(remaining, n_processes * N_WAITING - len(waiting)):
                waiting.append((order, _submit(pool, order, limits)))
            if not waiting:
                return
            order, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                # Any of the waiting files may be the one: each is read with no other beside it.
                pool.shutdown(wait=False)
                yield from _read_singly([order, *(each for each, _ in waiting)], limits, make_pool)
                waiting.clear()
                pool = make_pool(n_processes)
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, order: ReadingOrder, limits: WorkerLimits
) -> Future[FilmReading]:
    try:
        return pool.submit(_read_within_limits, order, limits)
    except BrokenProcessPool as error:
        future: Future[FilmReading] = Future()
        future.set_exception(error)
        return future


def _read_singly(
    orders: Iterable[ReadingOrder],
    limits: WorkerLimits,
    make_pool: Callable[[int], ProcessPoolExecutor],
) -> Iterator[FilmReading]:
    pool = make_pool(1)
    try:
        for order in orders:
            try:
                yield pool.submit(_read_within_limits, order, limits).result()
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                pool = make_pool(1)
                sha256 = hash_file(order.path) if order.path.is_file() else ""
                yield FilmReading(path=order.path, source_sha256=sha256, fault=FATAL)
    finally:
        pool.shutdown(cancel_futures=True)


def _make_pool(
    n_processes: int, *, cached_sha256: frozenset[str], limits: WorkerLimits
) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etl.films.film_pool"])
    return ProcessPoolExecutor(
        max_workers=n_processes,
        mp_context=context,
        initializer=_start_worker,
        initargs=(cached_sha256, limits),
    )


def _start_worker(cached_sha256: frozenset[str], limits: WorkerLimits) -> None:
    global _cached_sha256  # noqa: PLW0603 - one set for a process, instead of one with every order
    _cached_sha256 = cached_sha256
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_AS, (limits.n_bytes, limits.n_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with_parent() -> None:
    """Without this, the workers of an ingest that is killed would wait for orders for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_within_limits(order: ReadingOrder, limits: WorkerLimits) -> FilmReading:
    # The default action of both signals ends the process, also while a decoder never returns.
    for each in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(each, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds)
    try:
        return order.read(_cached_sha256)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
