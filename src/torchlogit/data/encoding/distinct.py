"""Distinct texts: counted by text up to a limit; beyond it how many there are, by their hashes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MOST_BYTES = 1 << 27  # of the texts that are kept
MOST_EXACT = 1 << 20  # hashes that are kept
LEAST_HASHES = 1 << 14  # kept beyond that: the estimate's standard error is 1 / 2^7


class CountedTexts:
    """How often each text was seen, in order of appearance, up to so many texts.

    >>> counted = CountedTexts(1)
    >>> counted.add(pa.array(["a", "b"]), np.array([1, 2])); counted.add(pa.array(["c"]), np.array([3]))
    >>> counted.texts, counted.counts.tolist(), counted.total, counted.is_full
    (['a', 'b'], [1, 2], 6, True)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, int] = {}
        self._counts: NDArray[np.int64] = np.empty(0, np.int64)
        self._n_bytes = 0
        self.total = 0
        self.is_full = False

    @property
    def texts(self) -> list[str]:
        """The texts."""
        return list(self._places)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each was seen, while there were not too many."""
        return self._counts[: len(self._places)]

    def add(self, texts: pa.Array, counts: NDArray[np.int64]) -> None:
        """Counts distinct texts, seen so many times each."""
        self.total += int(counts.sum())
        if self.is_full:
            return
        known, places = len(self._places), self._places
        found = [places.setdefault(text, len(places)) for text in texts.to_pylist()]
        if len(places) > len(self._counts):
            more = np.full(max(len(places), 2 * len(self._counts)), 0, np.int64)
            more[:known] = self._counts[:known]
            self._counts = more
        self._counts[found] += counts
        if len(places) > known:
            self._n_bytes += texts.nbytes
            self.is_full = len(places) > self._most or self._n_bytes > MOST_BYTES


class DistinctTexts:
    """How many texts are distinct: exactly up to MOST_EXACT of them, and an estimate beyond.

    The estimate is (k - 1) 2^64 / h_k, h_k being the k-th smallest hash (Bar-Yossef et al. 2002,
    doi:10.1007/3-540-45726-7_1): the same in whatever order the texts come.

    >>> seen = DistinctTexts()
    >>> seen.add(pa.array(["a", "b"])); seen.add(pa.array(["b", "c"])); seen.count
    3
    """

    def __init__(self) -> None:
        self._table: NDArray[np.uint64] = np.empty(0, np.uint64)  # of hashes, while all are kept
        self._least: NDArray[np.uint64] | None = None  # of the hashes, in order, beyond that
        self._n_kept = 0

    @property
    def is_empty(self) -> bool:
        """Whether there are none yet."""
        return not self._n_kept

    @property
    def count(self) -> int:
        """How many there are."""
        if self._least is None:
            return self._n_kept
        return round((len(self._least) - 1) * 2.0**64 / float(self._least[-1]))

    def add(self, texts: pa.Array) -> None:
        """Looks at more texts."""
        from torchlogit.kernels.hash_loops import insert
        from torchlogit.kernels.hashes import hashes_64

        hashes = hashes_64(texts)
        if self._least is not None:
            self._keep_least(hashes[hashes <= self._least[-1]])
            return
        if 2 * (self._n_kept + len(hashes)) > len(self._table):
            kept = self._table[self._table != 0]
            self._table = np.full(1 << int(4 * (self._n_kept + len(hashes))).bit_length(), 0, np.uint64)
            insert(self._table, kept)
        self._n_kept += insert(self._table, hashes)
        if self._n_kept > MOST_EXACT:
            self._keep_least(self._table[self._table != 0])
            self._table = np.empty(0, np.uint64)

    def _keep_least(self, hashes: NDArray[np.uint64]) -> None:
        held = hashes if self._least is None else np.concatenate([self._least, hashes])
        self._least = np.unique(held)[:LEAST_HASHES]
