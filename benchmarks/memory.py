"""How fast this machine reads memory, and how much of it a call takes."""

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
READINGS = 5
SAMPLED_EVERY = 0.001  # seconds
_STATM = Path("/proc/self/statm")


def plain_read(values: Values) -> float:
    """Bytes a second of the fastest of a few sums of an array, all threads at work."""
    rows = torch.from_numpy(values)
    seconds = []
    for _ in range(READINGS):
        began = time.perf_counter()
        rows.sum()
        seconds.append(time.perf_counter() - began)
    return values.nbytes / min(seconds)


def peak_beyond(call: Callable[[], object]) -> int | None:
    """Bytes by which the resident memory of this process rises at most while `call` runs; None if not on Linux.

    Sampled every millisecond by a thread of its own: a shorter peak is missed.
    """
    if sys.platform != "linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed would be taken again unseen
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
