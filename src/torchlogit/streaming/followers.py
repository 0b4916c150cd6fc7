"""The experts of StreamingNewton that learn row by row, for targets that change within a few hundred rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Followers:
    """Linear models at f learning rates, each of which takes one implicit gradient step per row.

    rates (f,): learning rates, divided by the number of columns. coef (f, outputs, d), intercept (f, outputs): for
    centred columns, at first zero. moments (2, d): the columns' running mean and centred sum of squares, which scale
    the steps, over rows of weight seen (1,).
    """

    def __init__(self, rates: Array, outputs: int, d: int) -> None:
        f = len(rates)
        self.rates, self.moments, self.seen = rates, np.zeros((2, d)), np.zeros(1)
        self.coef, self.intercept = np.zeros((f, outputs, d)), np.zeros((f, outputs))

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {"coef": self.coef, "intercept": self.intercept, "moment": self.moments, "moment_weight": self.seen}

    def go_on_from(self, coef: Array, intercept: Array, X: Array, weight: Array, start_weight: float) -> None:
        """Start all of them at coef (d, outputs) and intercept (outputs,).

        The columns' moments are those of the first rows X (n, d), whose means are zero, with the weight start_weight.
        """
        self.coef[:], self.intercept[:] = coef.T, intercept
        if weight.any():
            self.moments[1] = weight @ np.square(X) * (start_weight / weight.sum())
            self.seen[:] = start_weight

    def predict_and_learn(
        self, X: Array, target: Array, weight: Array, offset: Array, intercept: bool, raws: Array
    ) -> None:
        """Write the prediction of each row to raws (f, n, outputs), then take a step from that row.

        intercept: whether the model has one.
        """
        from torchlogit.kernels import follower_loops

        moving: Any = self.seen, self.moments[0], self.moments[1], self.coef, self.intercept, raws
        follower_loops.follow(X, target, weight, offset, self.rates, intercept, *moving)
