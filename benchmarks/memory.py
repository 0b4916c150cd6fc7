"""The memory bandwidth of this machine, and the peak memory of a call."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

Values = NDArray[np.float32] | NDArray[np.float64]
READINGS = 5  # sums, of which the fastest counts
SAMPLED_EVERY = 0.001  # seconds
_STATM = Path("/proc/self/statm")


def plain_read(values: Values) -> float:
    """The memory bandwidth in bytes per second: the fastest of five sums of the array with all threads."""
    rows = torch.from_numpy(values)
    seconds = []
    for _ in range(READINGS):
        began = time.perf_counter()
        rows.sum()
        seconds.append(time.perf_counter() - began)
    return values.nbytes / min(seconds)


def peak_beyond(call: Callable[[], object]) -> int | None:
    """The largest rise of this process's resident memory while `call` runs, in bytes; None if not on Linux.

    A thread samples it every millisecond, so shorter peaks are missed.
    """
    if sys.platform != "linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else freed memory would be used again and not show up
    before = peak = _resident()
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(SAMPLED_EVERY):
            peak = max(peak, _resident())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        call()
    finally:
        done.set()
        sampler.join()
    return max(peak, _resident()) - before


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
