"""Hashes of texts, computed by the compiled loops of hash_loops.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def hashes_32(texts: pa.Array) -> NDArray[np.int32]:
    """MurmurHash3, 32 bits, seed 0, of each text's UTF-8, as a signed number.

    >>> hashes_32(pa.array(["job=clerk", "\\u00e9"])).tolist()
    [-724272385, 269551495]
    """
    from torchlogit.kernels.hash_loops import murmur_32

    return _hashed(texts, murmur_32, np.empty(len(texts), np.int32))


def hashes_64(texts: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of each text, never 0. Two texts have the same hash with a probability of about 5e-20."""
    from torchlogit.kernels.hash_loops import murmur_64

    return _hashed(texts, murmur_64, np.empty(len(texts), np.uint64))


def _hashed(texts: pa.Array, loop: Callable[..., None], out: NDArray[Any]) -> NDArray[Any]:
    if len(texts):
        large = texts.cast(pa.large_string())
        _, offset_buffer, data = large.buffers()
        offsets = np.frombuffer(offset_buffer, np.int64)[large.offset : large.offset + len(large) + 1]
        loop(np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8), offsets, out)
    return out
