"""Do rows predicted with a probability of .3 come true three times in ten? A table of sums by bins of probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BINS = 10  # of equal width; a probability of k / BINS is in the bin above it


@dataclass(frozen=True, slots=True)
class Reliability:
    """Sums by bins of the predicted probability, one line of BINS for each output, (n_outputs, BINS).

    `weight` of the rows; `predicted`, the weighted sum of their probabilities; `observed`, the weight of those that
    came true. `+` merges.
    """

    weight: Array
    predicted: Array
    observed: Array

    @classmethod
    def of(cls, probability: Array, target: Array, weight: Array) -> Reliability:
        """The sums of rows with these probabilities and truths (0 or 1), (n, n_outputs), and weights (n,)."""
        n_outputs = probability.shape[1]
        bins = np.minimum((probability * BINS).astype(np.intp), BINS - 1) + BINS * np.arange(n_outputs)
        by_output = np.broadcast_to(weight[:, None], probability.shape)

        def summed(values: Array) -> Array:
            total = np.bincount(bins.ravel(), weights=values.ravel(), minlength=BINS * n_outputs)
            return total.astype(np.float64, copy=False).reshape(n_outputs, BINS)

        return cls(summed(by_output), summed(by_output * probability), summed(by_output * target))

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.weight + other.weight, self.predicted + other.predicted, self.observed + other.observed)

    def error(self) -> float:
        """The expected calibration error: how far, on average over rows, the mean probability of a row's bin is from
        the share of its rows that came true; with several classes, the mean over them of each against the rest.

        Naeini, Cooper, Hauskrecht, AAAI 2015, doi:10.1609/aaai.v29i1.9602; by classes: Kull et al., arXiv:1910.12656.

        >>> half = Reliability.of(np.full((4, 1), 0.5), np.array([[0.0], [0.0], [0.0], [1.0]]), np.ones(4))
        >>> half.error()
        0.25
        """
        return float(np.abs(self.predicted - self.observed).sum() / self.weight.sum())
