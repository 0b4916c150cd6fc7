"""Iterators that compute items in threads before they are asked for, in order, with few results waiting in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Seconds that a closed generator waits for its thread, which may still be making an item or waiting for input. After
# them the thread is left alone and ends with the process. A longer time delays an exit on Ctrl-C.
CLOSE_TIMEOUT = 2.0

# The most threads that `map_in_threads` starts. More would be idle: they parse text faster than one thread reads it.
MAX_THREADS = 8


@dataclass(frozen=True, slots=True)
class _End:
    """Put after the last item. error: the exception that ended the iteration, if one did."""

    error: BaseException | None


def prefetched(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order; while the caller works on an item, a thread makes the next one.

    An exception is raised in place of the item that could not be made. Closing this generator ends the thread, unless
    the thread is waiting for input.

    >>> list(prefetched("abc"))
    ['a', 'b', 'c']
    """
    queue: SimpleQueue[T | _End] = SimpleQueue()
    n_taken = Semaphore(0)
    closed = Event()

    def fill() -> None:
        source = iter(items)
        try:
            for item in source:
                queue.put(item)
                del item
                n_taken.acquire()
                if closed.is_set():
                    break
            queue.put(_End(None))
        except BaseException as error:
            queue.put(_End(error))
        finally:
            if isinstance(source, Generator):
                source.close()  # this also closes the generators that it reads from, and so ends their threads

    thread = Thread(target=fill, daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            n_taken.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        n_taken.release()
        thread.join(CLOSE_TIMEOUT)


def map_in_threads(
    function: Callable[[T], R], items: Iterable[T], *, max_pending: int, ready: Callable[[], bool] = lambda: True
) -> Iterator[R]:
    """function(item) for each item, in the order of the items, computed in threads.

    Items are drawn in the caller's thread, so that Ctrl-C interrupts a read from a pipe. If drawing an item raises an
    exception, the results of the items before it come first.

    Parameters
    ----------
    max_pending
        How many results may be computed before they are asked for. A larger number keeps more threads busy and takes
        more memory.
    ready
        Whether the next item can be drawn without waiting. While it cannot, pending results are returned.

    Examples
    --------
    >>> list(map_in_threads(str, range(3), max_pending=2))
    ['0', '1', '2']
    """
    pool = ThreadPoolExecutor(_n_threads())
    pending: deque[Future[R]] = deque()
    failure: Exception | None = None
    source = iter(items)
    try:
        while failure is None:
            while pending and (len(pending) > max_pending or pending[0].done() or not ready()):
                yield pending.popleft().result()
            try:
                pending.append(pool.submit(function, next(source)))
            except StopIteration:
                break
            except Exception as error:
                failure = error
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        # Waiting could deadlock: the garbage collector may close this generator in a thread that is just starting and
        # that holds a lock which the pool's threads need in order to end.
        pool.shutdown(wait=False, cancel_futures=True)


def _n_threads() -> int:
    """The number of cores that this process may use, at most MAX_THREADS."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_THREADS, n_cores)
