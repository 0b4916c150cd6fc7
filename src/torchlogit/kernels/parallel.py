"""Rows divided into shares that run on torch's number of threads, with the same bits whatever that number.

Shares depend on the shape of the work alone, and their partial sums are added in the shares' order.
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

SHARES = 16  # the most shares of a block of rows; larger: more threads can be used, and more partial sums are held
MIN_ROWS = 256  # the fewest rows of a share, except the last; larger: fewer shares of a small block
PARTIAL_VALUES = 1 << 24  # the most float64 values in all partial sums together, 128 MiB; larger: more shares


def shares(n: int, values: int = 1, min_rows: int = 1) -> list[slice]:
    """n rows in equal shares, for partial sums of `values` values each; only the last has fewer than min_rows rows."""
    count = max(1, min(SHARES, PARTIAL_VALUES // values))
    size = max(MIN_ROWS, min_rows, -(-n // count))
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def each(task: Callable[[int, slice], None], parts: list[slice]) -> None:
    """Run task(i, parts[i]) for every i, on as many threads as torch has."""
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for i, part in enumerate(parts):
            task(i, part)
        return
    by_thread = [range(t * len(parts) // threads, (t + 1) * len(parts) // threads) for t in range(threads)]

    def work(indices: range) -> None:
        for i in indices:
            task(i, parts[i])

    others = [_pool(os.getpid(), threads - 1).submit(work, indices) for indices in by_thread[1:]]
    try:
        work(by_thread[0])
    finally:  # also after an interrupt: no thread may write to the arrays once this function has returned
        wait(others)
    for other in others:
        other.result()


def sum_in_order(partial_sums: Array) -> Array:
    """The sum over the first axis, from first to last. It overwrites the first entry."""
    total: Array = partial_sums[0]
    for part in partial_sums[1:]:
        total += part
    return total


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of a process; they do not survive a fork, so every process makes its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="torchlogit")
