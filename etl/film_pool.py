"""Films read in worker processes, in order, with limits; a file that kills its worker costs itself.

Workers come from a fork server, which has no threads, locks or secrets of the parent.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import cv2

from etl.film_reading import FilmReading, ReadingOrder

MAX_WORKER_BYTES = 6 * 2**30
MAX_SECONDS = 120
# Films that may wait for their turn, per worker; bounds the memory that they take.
N_WAITING = 8


def read_films(
    orders: Iterable[ReadingOrder], *, n_processes: int, max_seconds: int = MAX_SECONDS
) -> Iterator[FilmReading]:
    """Read files in worker processes and yield the readings in the order given.

    Args:
        orders: What to read.
        n_processes: Workers; the readings do not depend on it.
        max_seconds: Time that one file may take.
    """
    remaining = iter(orders)
    waiting: deque[tuple[ReadingOrder, Future[FilmReading]]] = deque()
    pool = _make_pool(n_processes)
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
                    yield _read_alone(suspect, max_seconds)
                waiting.clear()
                pool = _make_pool(n_processes)
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


def _read_alone(order: ReadingOrder, max_seconds: int) -> FilmReading:
    with _make_pool(1) as pool:
        try:
            return pool.submit(_read_within_limits, order, max_seconds).result()
        except BrokenProcessPool:
            fault = f"decoding killed its worker or took more than {max_seconds} s"
            return FilmReading(path=order.path, source_sha256=_hash(order), fault=fault)


def _hash(order: ReadingOrder) -> str:
    if not order.path.is_file():
        return ""
    with order.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_pool(n_processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etl.film_reading"])
    return ProcessPoolExecutor(
        max_workers=n_processes, mp_context=context, initializer=_limit_worker
    )


def _limit_worker() -> None:
    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_WORKER_BYTES, MAX_WORKER_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read_within_limits(order: ReadingOrder, max_seconds: int) -> FilmReading:
    # The default action of SIGALRM ends the process, also while a decoder never returns.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(max_seconds)
    try:
        return order.read()
    finally:
        signal.alarm(0)
