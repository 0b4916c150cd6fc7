"""Mean and standard deviation in one reading: those of pieces, merged in the root form of Chan's formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchlogit.data.columns import Floats


@dataclass(frozen=True, slots=True)
class Moments:
    """So many numbers, their mean (that is mean + rest), standard deviation (ddof 0), least and largest."""

    count: int
    mean: float
    rest: float
    deviation: float
    low: float
    high: float

    def __add__(self, other: Moments) -> Moments:
        """Of both together (Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115).

        deviation^2 = (n_1 s_1^2 + n_2 s_2^2) / n + n_1 n_2 d^2 / n^2, d = mean_2 - mean_1: of roots, so that nothing
        underflows, and of differences, so that a large mean does not eat the digits.
        """
        count = self.count + other.count
        here, there = self.count / count, other.count / count
        apart = other.mean - self.mean + (other.rest - self.rest)
        move = self.rest + apart * there
        mean = self.mean + move
        moved = mean - self.mean
        rest = (self.mean - (mean - moved)) + (move - moved)  # what the sum lost (Knuth's TwoSum)
        deviation = math.hypot(
            self.deviation * math.sqrt(here), other.deviation * math.sqrt(there), apart * math.sqrt(here * there)
        )
        return Moments(count, mean, rest, deviation, min(self.low, other.low), max(self.high, other.high))


def moments(values: Floats) -> Moments:
    """Those of some numbers.

    >>> both = moments(np.array([1.0, 2.0])) + moments(np.array([3.0]))
    >>> both.count, both.mean, round(both.deviation, 12)
    (3, 2.0, 0.816496580928)
    """
    low, high, mean = float(values.min()), float(values.max()), float(np.mean(values))
    if low == high:
        return Moments(values.size, low, 0.0, 0.0, low, high)
    largest = max(mean - low, high - mean)
    # In units of a power of two near the largest no square underflows; and a deviation must not round to 0.
    unit = math.ldexp(0.5, math.frexp(largest)[1])
    away = values - mean
    away /= unit
    rest = float(np.mean(away))  # what rounding took from the mean
    np.square(away, out=away)
    deviation = unit * math.sqrt(max(float(np.mean(away)) - rest * rest, 0.0)) or largest
    return Moments(values.size, mean, unit * rest, deviation, low, high)
