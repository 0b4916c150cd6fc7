"""Whether whole numbers are all different and close together, as those of an id are: a bit for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchlogit.data.columns import Floats

MAX_BITS = 1 << 28  # 32 MiB; numbers that are further apart are not looked at


class DistinctNumbers:
    """Whole numbers seen so far, for as long as no two are alike: `differ` says whether that still holds.

    >>> seen = DistinctNumbers()
    >>> seen.update(np.array([3.0, 1.0])); seen.differ
    True
    >>> seen.update(np.array([3.0])); seen.differ
    False
    """

    def __init__(self) -> None:
        self.differ = True
        self._bits: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._start = 0.0  # the number of the first bit, a multiple of 8 where there is one

    def update(self, numbers: Floats) -> None:
        """Looks at more numbers."""
        if self.differ and len(numbers) and not self._add(numbers):
            self.differ, self._bits = False, np.empty(0, np.uint8)

    def _add(self, numbers: Floats) -> bool:
        if numbers[0] != np.floor(numbers[0]) or np.any(numbers != np.floor(numbers)):
            return False
        low, high = float(numbers.min()), float(numbers.max())
        if high - low + 1 < len(numbers) or not self._reaches(low, high):
            return False
        places = np.sort((numbers - self._start).astype(np.int64))
        if np.any(places[1:] == places[:-1]):
            return False
        where, bits = places >> 3, np.left_shift(1, places & 7).astype(np.uint8)
        if np.any(self._bits[where] & bits):
            return False
        np.bitwise_or.at(self._bits, where, bits)
        return True

    def _reaches(self, low: float, high: float) -> bool:
        """Makes room for numbers between these; False where they are too far apart."""
        start, size = self._start, 8 * len(self._bits)
        if size and start <= low and high < start + size:
            return True
        first, stop = (min(start, low), max(start + size, high + 1)) if size else (low, high + 1)
        if not stop - first <= MAX_BITS - 8:
            return False
        # Twice the room that there was, so that it is seldom moved.
        roomy = first - size * (first < start), stop + size * (stop > start + size)
        if size and roomy[1] - roomy[0] <= MAX_BITS - 8:
            first, stop = roomy
        first -= first % 8
        bits = np.full(int(stop - first) // 8 + 1, 0, np.uint8)
        at = int(start - first) // 8
        bits[at : at + len(self._bits)] = self._bits
        self._bits, self._start = bits, first
        return True
