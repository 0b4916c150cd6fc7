"""A function over many items, on some threads, its results in the items' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    function: Callable[[T], R], items: Iterable[T], *, ahead: int, ready: Callable[[], bool] = lambda: True
) -> Iterator[R]:
    """function(item) for each item, up to `ahead` of them computed before they are asked for.

    The items themselves are drawn in the caller's thread, so that one that waits for a pipe can be interrupted. What
    was drawn comes first where drawing the next one fails, or would have to wait, as `ready` tells.

    >>> list(in_order(str, range(3), ahead=2))
    ['0', '1', '2']
    """
    pool = ThreadPoolExecutor(_threads())
    coming: deque[Future[R]] = deque()
    failed: Exception | None = None
    source = iter(items)
    try:
        while failed is None:
            while coming and (len(coming) > ahead or coming[0].done() or not ready()):
                yield coming.popleft().result()
            try:
                coming.append(pool.submit(function, next(source)))
            except StopIteration:
                break
            except Exception as error:
                failed = error
        while coming:
            yield coming.popleft().result()
        if failed is not None:
            raise failed
    finally:
        pool.shutdown(cancel_futures=True)


def _threads() -> int:
    """Those this process may use; more than eight outrun what hands them their work."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
