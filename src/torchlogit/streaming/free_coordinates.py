"""Points of a stream in free coordinates: those of objective.py, in numpy, with the columns centred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.records import Params
from torchlogit.streaming.stream import StreamProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FreeCoordinates:
    """A model's coefficients and intercepts as one vector (size,): p entries for each column of the basis.

    basis (outputs, n_free): the loss's. p: the number of columns, the intercept's included.
    """

    basis: Array
    p: int
    intercept: bool

    @classmethod
    def of(cls, problem: StreamProblem) -> FreeCoordinates:
        """The coordinates of a stream's models."""
        return cls(problem.loss.basis().numpy(), len(problem.precision) + problem.intercept, problem.intercept)

    @property
    def size(self) -> int:
        """The number of free coordinates."""
        return self.p * int(self.basis.shape[1])

    def raw_predictions(self, X: Array, points: Array) -> Array:
        """X theta of several points (points, size), without offsets: (points, n, outputs)."""
        along = points.reshape(-1, X.shape[1]) @ X.T  # (points * n_free, n)
        raws: Array = along.reshape(len(points), -1, len(X)).transpose(0, 2, 1) @ self.basis.T
        return raws

    def of_params(self, coef: Array, intercept: Array) -> Array:
        """The point (size,) of coef (d, outputs) and intercept (outputs,), for centred columns."""
        theta = np.vstack([coef, intercept]) if self.intercept else coef
        return np.ascontiguousarray((theta @ self.basis).T).reshape(-1)

    def of_followers(self, coef: Array, intercept: Array) -> Array:
        """The points (f, size) of coef (f, outputs, d) and intercept (f, outputs), for centred columns."""
        parts = [coef, intercept[:, :, None]] if self.intercept else [coef]
        free = self.basis.T @ np.concatenate(parts, axis=2)
        return free.reshape(len(coef), self.size)

    def params(self, point: Array, center: Array) -> Params:
        """The coefficients and the intercept for columns from which center (d,) has not been subtracted."""
        theta = point.reshape(-1, self.p).T @ self.basis.T
        coef, intercept = theta[: len(center)], theta[len(center) :].sum(axis=0)
        uncentred = intercept - center @ coef
        return Params(torch.from_numpy(np.ascontiguousarray(coef)), torch.from_numpy(uncentred))
