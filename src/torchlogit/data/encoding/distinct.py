"""Counts the distinct texts of a column: each text up to a limit, and beyond it only their number, from hashes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAX_BYTES = 1 << 27  # the most bytes of text that a `CountedTexts` holds; beyond them it counts only the total


class CountedTexts:
    """Counts how often each text occurs, in order of appearance.

    is_full: whether more than max_texts texts, or more than MAX_BYTES bytes of them, have been seen. From then on only
    the total is counted.

    >>> counted = CountedTexts(1)
    >>> counted.add(pa.array(["a", "b"]), np.array([1, 2])); counted.add(pa.array(["c"]), np.array([3]))
    >>> counted.texts, counted.counts.tolist(), counted.total, counted.is_full
    (['a', 'b'], [1, 2], 6, True)
    """

    def __init__(self, max_texts: int) -> None:
        self._max_texts = max_texts
        self._places: dict[str, int] = {}
        self._counts: NDArray[np.int64] = np.empty(0, np.int64)
        self._n_bytes = 0
        self.total = 0
        self.is_full = False

    @property
    def texts(self) -> list[str]:
        """The distinct texts."""
        return list(self._places)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each text was seen, until `is_full` became True."""
        return self._counts[: len(self._places)]

    def add(self, texts: pa.Array, counts: NDArray[np.int64]) -> None:
        """Adds counts of distinct texts."""
        self.total += int(counts.sum())
        if self.is_full:
            return
        known, places = len(self._places), self._places
        found = [places.setdefault(text, len(places)) for text in texts.to_pylist()]
        if len(places) > len(self._counts):
            grown = np.full(max(len(places), 2 * len(self._counts)), 0, np.int64)
            grown[:known] = self._counts[:known]
            self._counts = grown
        self._counts[found] += counts
        if len(places) > known:
            self._n_bytes += texts.nbytes
            self.is_full = len(places) > self._max_texts or self._n_bytes > MAX_BYTES


class DistinctTexts:
    """Counts distinct texts: exactly up to max_exact of them, and by an estimate beyond.

    The estimate is (k - 1) 2^64 / h_k, h_k being the k-th smallest hash and k = n_kept (Bar-Yossef et al. 2002,
    doi:10.1007/3-540-45726-7_1). It does not depend on the order of the texts.

    >>> seen = DistinctTexts(max_exact=1 << 20, n_kept=1 << 14)
    >>> seen.add(pa.array(["a", "b"])); seen.add(pa.array(["b", "c"])); seen.count
    3
    """

    def __init__(self, max_exact: int, n_kept: int) -> None:
        self._max_exact, self._max_kept = max_exact, n_kept
        self._table: NDArray[np.uint64] = np.empty(0, np.uint64)  # all hashes, while they are counted exactly
        self._smallest: NDArray[np.uint64] | None = None  # the smallest hashes in order, beyond that
        self._n_kept = 0

    @property
    def is_empty(self) -> bool:
        """Whether no text was added yet."""
        return not self._n_kept

    @property
    def count(self) -> int:
        """The number of distinct texts."""
        if self._smallest is None:
            return self._n_kept
        return round((len(self._smallest) - 1) * 2.0**64 / float(self._smallest[-1]))

    def add(self, texts: pa.Array) -> None:
        """Adds texts."""
        from torchlogit.kernels.hash_loops import insert
        from torchlogit.kernels.hashes import hashes_64

        hashes = hashes_64(texts)
        if self._smallest is not None:
            self._keep_smallest(hashes[hashes <= self._smallest[-1]])
            return
        if 2 * (self._n_kept + len(hashes)) > len(self._table):
            kept = self._table[self._table != 0]
            self._table = np.full(1 << int(4 * (self._n_kept + len(hashes))).bit_length(), 0, np.uint64)
            insert(self._table, kept)
        self._n_kept += insert(self._table, hashes)
        if self._n_kept > self._max_exact:
            self._keep_smallest(self._table[self._table != 0])
            self._table = np.empty(0, np.uint64)

    def _keep_smallest(self, hashes: NDArray[np.uint64]) -> None:
        candidates = hashes if self._smallest is None else np.concatenate([self._smallest, hashes])
        self._smallest = np.unique(candidates)[: self._max_kept]
