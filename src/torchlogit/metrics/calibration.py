"""Calibration: of the rows with predicted probability 0.3, do three in ten belong to the class?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BINS = 10  # of equal width; bin k holds probabilities p with k / BINS <= p < (k + 1) / BINS, the last bin also p = 1


@dataclass(frozen=True, slots=True)
class Reliability:
    """Sums over the rows in each bin of the predicted probability, (n_outputs, BINS) each; `+` adds those of blocks.

    weight: the total weight of the rows. predicted: the weighted sum of their predicted probabilities. observed: the
    total weight of those rows that belong to the class.
    """

    weight: Array
    predicted: Array
    observed: Array

    @classmethod
    def of(cls, probability: Array, target: Array, weight: Array) -> Reliability:
        """The sums of rows with these probabilities and targets (0 or 1), (n, n_outputs), and weights (n,)."""
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
        """The expected calibration error.

        It is the weighted mean over bins of |mean predicted probability - share of rows that belong to the class|; for
        several classes, the mean over the classes, each against the rest.

        References
        ----------
        Naeini, Cooper and Hauskrecht, AAAI 2015, doi:10.1609/aaai.v29i1.9602; for several classes Kull et al.,
        arXiv:1910.12656.

        Examples
        --------
        >>> half = Reliability.of(np.full((4, 1), 0.5), np.array([[0.0], [0.0], [0.0], [1.0]]), np.ones(4))
        >>> half.error()
        0.25
        """
        return float(np.abs(self.predicted - self.observed).sum() / self.weight.sum())
