"""How well scores rank: the weight of either side by score, in memory that does not grow with the rows.

As long as at most MOST different scores were met, each has a bin of its own, and the area is exact. Beyond that, bins
are joined: scores are taken as whole numbers of 64 bits in the same order (the bits of an IEEE 754 number, turned round
below zero), and a bin is those that agree but for their last `shift` bits, the same share of a score's size
everywhere. Of what is joined it is not known which score is the larger, and so a bin's (positive, other) pairs count
one half, and half of them is the most by which the area can be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Keys = NDArray[np.int64]

MOST = 1 << 17  # bins: at 32 bytes each, 4 MiB; some 1e-5 of area where joined


@dataclass(frozen=True, slots=True)
class Ranking:
    """Bins in order, at most `most` (2 or more): the `least` and `greatest` score met in each, as keys, and the weight
    of the positive rows (`up`) and of the others (`down`). `+` merges: exactly, and in any order, but for the rounding
    of weights that are no whole numbers.

    >>> few = Ranking.of(np.array([1.0, 2.0, 2.0]), np.array([False, False, True]), np.ones(3))
    >>> few.area()
    (0.75, 0.0)
    """

    most: int
    shift: int
    least: Keys
    greatest: Keys
    up: Array
    down: Array

    @classmethod
    def of(cls, score: Array, positive: NDArray[np.bool_], weight: Array, most: int = MOST) -> Ranking:
        """The bins of these rows, (n,) each; those without weight are left out."""
        counted = weight > 0
        if not counted.all():
            score, positive, weight = score[counted], positive[counted], weight[counted]
        key = _keys(score)
        order = np.argsort(key)
        key, up = key[order], np.where(positive, weight, 0.0)[order]
        return cls(most, 0, key, key, up, weight[order] - up)._joined(0)

    def __add__(self, other: Ranking) -> Ranking:
        least = np.concatenate([self.least, other.least])
        order = np.argsort(least, kind="stable")  # two runs that are in order: merging them is quick
        return Ranking(
            min(self.most, other.most),
            0,
            least[order],
            np.concatenate([self.greatest, other.greatest])[order],
            np.concatenate([self.up, other.up])[order],
            np.concatenate([self.down, other.down])[order],
        )._joined(max(self.shift, other.shift))

    def _joined(self, shift: int) -> Ranking:
        """Entries in order of `least` put into bins, by the smallest shift, from this one on, that gives few enough."""
        starts = _starts(self.least >> shift)
        while len(starts) > self.most:
            shift += 1
            starts = _starts(self.least >> shift)
        return Ranking(
            self.most,
            shift,
            self.least[starts],
            np.maximum.reduceat(self.greatest, starts),
            np.add.reduceat(self.up, starts),
            np.add.reduceat(self.down, starts),
        )

    def area(self) -> tuple[float, float] | None:
        """The area under the ROC curve, and by how much at most it may be wrong; None where a side has no weight.

        The area is the share, by weight, of (positive, other) pairs of which the positive row has the larger score,
        ties counting one half.
        """
        pairs = float(self.up.sum() * self.down.sum())
        if pairs <= 0:
            return None
        below = np.cumsum(self.down) - self.down
        mixed = self.least < self.greatest
        unknown = float((self.up * self.down)[mixed].sum())
        return float((self.up * (below + self.down / 2)).sum() / pairs), unknown / 2 / pairs


def _keys(score: Array) -> Keys:
    """Whole numbers in the order of the scores."""
    bits = (np.ascontiguousarray(score, dtype=np.float64) + 0.0).view(np.int64)  # -0.0 is 0.0
    return bits ^ ((bits >> 63) & np.iinfo(np.int64).max)


def _starts(bins: Keys) -> Keys:
    """Where a new bin begins."""
    return np.flatnonzero(np.diff(bins, prepend=~bins[:1]))
