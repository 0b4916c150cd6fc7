"""Finds out whether a column's values are whole numbers, all different and close together, like ids: a set of bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchlogit.data.columns import Floats

MAX_BITS = 1 << 28  # the largest range of numbers that is tracked, one bit each (32 MiB); wider ones are not ids


class DistinctNumbers:
    """A set of whole numbers. differ: whether all numbers so far are whole, different and in a range of MAX_BITS.

    >>> seen = DistinctNumbers()
    >>> seen.update(np.array([3.0, 1.0])); seen.differ
    True
    >>> seen.update(np.array([3.0])); seen.differ
    False
    """

    def __init__(self) -> None:
        self.differ = True
        self._bits: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._start = 0.0  # the number of the first bit, a multiple of 8

    def update(self, numbers: Floats) -> None:
        """Adds numbers."""
        if self.differ and len(numbers) and not self._add(numbers):
            self.differ, self._bits = False, np.empty(0, np.uint8)

    def _add(self, numbers: Floats) -> bool:
        if numbers[0] != np.floor(numbers[0]) or np.any(numbers != np.floor(numbers)):
            return False
        low, high = float(numbers.min()), float(numbers.max())
        if high - low + 1 < len(numbers) or not self._fits(low, high):
            return False
        places = np.sort((numbers - self._start).astype(np.int64))
        if np.any(places[1:] == places[:-1]):
            return False
        where, bits = places >> 3, np.left_shift(1, places & 7).astype(np.uint8)
        if np.any(self._bits[where] & bits):
            return False
        np.bitwise_or.at(self._bits, where, bits)
        return True

    def _fits(self, low: float, high: float) -> bool:
        """Extends the range of the bits to include low..high; False if that would take more than MAX_BITS."""
        start, size = self._start, 8 * len(self._bits)
        if size and start <= low and high < start + size:
            return True
        first, stop = (min(start, low), max(start + size, high + 1)) if size else (low, high + 1)
        if not stop - first <= MAX_BITS - 8:
            return False
        # At least doubled, so that the bits are seldom copied.
        doubled = first - size * (first < start), stop + size * (stop > start + size)
        if size and doubled[1] - doubled[0] <= MAX_BITS - 8:
            first, stop = doubled
        first -= first % 8
        bits = np.full(int(stop - first) // 8 + 1, 0, np.uint8)
        at = int(start - first) // 8
        bits[at : at + len(self._bits)] = self._bits
        self._bits, self._start = bits, first
        return True
