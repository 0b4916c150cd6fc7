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
    the steps.
    """

    def __init__(self, rates: Array, outputs: int, d: int) -> None:
        f = len(rates)
        self.rates, self.moments = rates, np.zeros((2, d))
        self.coef, self.intercept = np.zeros((f, outputs, d)), np.zeros((f, outputs))

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {"coef": self.coef, "intercept": self.intercept, "moment": self.moments}

    def go_on_from(self, coef: Array, intercept: Array) -> None:
        """Start all of them at coef (d, outputs) and intercept (outputs,)."""
        self.coef[:], self.intercept[:] = coef.T, intercept

    def predict_and_learn(
        self, X: Array, target: Array, weight: Array, offset: Array, intercept: bool, seen: float, raws: Array
    ) -> None:
        """Write the prediction of each row to raws (f, n, outputs), then take a step from that row.

        intercept: whether the model has one. seen: the weight of all rows before these.
        """
        from torchlogit.kernels import follower_loops

        moving: Any = self.moments[0], self.moments[1], self.coef, self.intercept, raws
        follower_loops.follow(X, target, weight, offset, self.rates, intercept, seen, *moving)
