"""Work in pieces on torch's number of threads, with the same bits whatever that number.

Pieces depend on the shape of the work alone; partial sums are added in the pieces' order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

PIECES = 16  # of a block of rows; each is a partial sum
MIN_PIECE = 256  # rows
PARTIAL_VALUES = 1 << 24  # of all partial sums together


def pieces(n: int, values: int = 1, least: int = 1) -> list[slice]:
    """n rows in pieces, each worth a partial sum of so many values; none but the last has fewer rows than `least`."""
    count = max(1, min(PIECES, PARTIAL_VALUES // values))
    size = max(MIN_PIECE, least, -(-n // count))
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def each(task: Callable[[int, slice], None], parts: list[slice]) -> None:
    """Runs the task for every piece, on as many threads as torch has."""
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for i, part in enumerate(parts):
            task(i, part)
        return
    shares = [range(t * len(parts) // threads, (t + 1) * len(parts) // threads) for t in range(threads)]

    def work(share: range) -> None:
        for i in share:
            task(i, parts[i])

    others = [_pool(os.getpid(), threads - 1).submit(work, share) for share in shares[1:]]
    try:
        work(shares[0])
    finally:  # an interrupted task leaves nothing running that still writes
        wait(others)
    for other in others:
        other.result()


def added(parts: Array) -> Array:
    """The partial sums added in their order."""
    total: Array = parts[0]
    for part in parts[1:]:
        total += part
    return total


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads do not survive a fork: each process has its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="torchlogit")
