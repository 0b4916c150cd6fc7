"""The area under the ROC curve, from the weights of positive and negative rows by score, in bounded memory.

Up to MAX_BINS different scores have a bin each, and the area is exact. If there are more, bins are joined. Each score
is mapped to a 64-bit integer, its key, in the same order (the bits of an IEEE 754 number, inverted below zero). A bin
holds the scores whose keys agree except for the last `shift` bits, so that all bins have about the same relative width.
Within a joined bin the order of scores is unknown: its (positive, negative) pairs count one half, and the error of the
area is at most half of the share of such pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Keys = NDArray[np.int64]

MAX_BINS = 1 << 17  # 32 bytes each, 4 MiB in all; more bins make the area more exact, with this number to about 1e-5


@dataclass(frozen=True, slots=True)
class Ranking:
    """The bins in ascending order. `+` merges those of several blocks; with whole weights, their order does not matter.

    max_bins: at least 2. shift: the number of last bits of the keys that are ignored. least, greatest: the smallest and
    the largest key in each bin. positive, negative: the total weight of the positive and of the other rows in each bin.

    >>> few = Ranking.of(np.array([1.0, 2.0, 2.0]), np.array([False, False, True]), np.ones(3))
    >>> few.area()
    (0.75, 0.0)
    """

    max_bins: int
    shift: int
    least: Keys
    greatest: Keys
    positive: Array
    negative: Array

    @classmethod
    def of(cls, score: Array, is_positive: NDArray[np.bool_], weight: Array, max_bins: int = MAX_BINS) -> Ranking:
        """The bins of these rows, (n,) each; rows of weight zero are left out."""
        counted = weight > 0
        if not counted.all():
            score, is_positive, weight = score[counted], is_positive[counted], weight[counted]
        key = _keys(score)
        order = np.argsort(key)
        key, positive = key[order], np.where(is_positive, weight, 0.0)[order]
        return cls(max_bins, 0, key, key, positive, weight[order] - positive)._joined(0)

    def __add__(self, other: Ranking) -> Ranking:
        least = np.concatenate([self.least, other.least])
        order = np.argsort(least, kind="stable")  # fast here: it merges two sorted sequences
        return Ranking(
            min(self.max_bins, other.max_bins),
            0,
            least[order],
            np.concatenate([self.greatest, other.greatest])[order],
            np.concatenate([self.positive, other.positive])[order],
            np.concatenate([self.negative, other.negative])[order],
        )._joined(max(self.shift, other.shift))

    def _joined(self, shift: int) -> Ranking:
        """These bins (sorted), joined by the smallest shift, at least the given one, that leaves at most max_bins."""
        starts = _starts(self.least >> shift)
        while len(starts) > self.max_bins:
            shift += 1
            starts = _starts(self.least >> shift)
        return Ranking(
            self.max_bins,
            shift,
            self.least[starts],
            np.maximum.reduceat(self.greatest, starts),
            np.add.reduceat(self.positive, starts),
            np.add.reduceat(self.negative, starts),
        )

    def area(self) -> tuple[float, float] | None:
        """The area under the ROC curve, and a bound on its error; None if all rows are positive or all are negative.

        The area is the share, by weight, of the (positive, negative) pairs in which the positive row has the larger
        score; ties count one half.
        """
        pairs = float(self.positive.sum() * self.negative.sum())
        if pairs <= 0:
            return None
        below = np.cumsum(self.negative) - self.negative
        joined = self.least < self.greatest
        undecided = float((self.positive * self.negative)[joined].sum())
        return float((self.positive * (below + self.negative / 2)).sum() / pairs), undecided / 2 / pairs


def _keys(score: Array) -> Keys:
    """Integers in the order of the scores."""
    bits = (np.ascontiguousarray(score, dtype=np.float64) + 0.0).view(np.int64)  # -0.0 is 0.0
    return bits ^ ((bits >> 63) & np.iinfo(np.int64).max)


def _starts(bins: Keys) -> Keys:
    """The indices where a new bin begins."""
    return np.flatnonzero(np.diff(bins, prepend=~bins[:1]))
