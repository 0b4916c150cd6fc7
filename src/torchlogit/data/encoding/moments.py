"""Mean and standard deviation in one reading: those of blocks are merged by Chan's formula, computed by hypot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchlogit.data.columns import Floats


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean, standard deviation (ddof 0), minimum and maximum of some numbers.

    The mean to more than double precision is mean + rest, where rest is the rounding error of mean.
    """

    count: int
    mean: float
    rest: float
    deviation: float
    low: float
    high: float

    def __add__(self, other: Moments) -> Moments:
        """The moments of both together (Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115).

        deviation^2 = (n_1 s_1^2 + n_2 s_2^2) / n + n_1 n_2 d^2 / n^2, d = mean_2 - mean_1. It is computed by hypot, so
        that no square underflows, and from the difference of the means, so that a large mean causes no cancellation.
        """
        count = self.count + other.count
        share, other_share = self.count / count, other.count / count
        difference = other.mean - self.mean + (other.rest - self.rest)
        move = self.rest + difference * other_share
        mean = self.mean + move
        moved = mean - self.mean
        rest = (self.mean - (mean - moved)) + (move - moved)  # the sum's rounding error (Knuth's TwoSum)
        deviation = math.hypot(
            self.deviation * math.sqrt(share),
            other.deviation * math.sqrt(other_share),
            difference * math.sqrt(share * other_share),
        )
        return Moments(count, mean, rest, deviation, min(self.low, other.low), max(self.high, other.high))


def moments(values: Floats) -> Moments:
    """The moments of some numbers.

    >>> both = moments(np.array([1.0, 2.0])) + moments(np.array([3.0]))
    >>> both.count, both.mean, round(both.deviation, 12)
    (3, 2.0, 0.816496580928)
    """
    low, high, mean = float(values.min()), float(values.max()), float(np.mean(values))
    if low == high:
        return Moments(values.size, low, 0.0, 0.0, low, high)
    largest = max(mean - low, high - mean)
    # Deviations are divided by a power of two near the largest, so that their squares do not underflow. If the result
    # is 0 all the same, the largest deviation is returned.
    unit = math.ldexp(0.5, math.frexp(largest)[1])
    scaled = values - mean
    scaled /= unit
    rest = float(np.mean(scaled))  # the rounding error of the mean
    np.square(scaled, out=scaled)
    deviation = unit * math.sqrt(max(float(np.mean(scaled)) - rest * rest, 0.0)) or largest
    return Moments(values.size, mean, unit * rest, deviation, low, high)
