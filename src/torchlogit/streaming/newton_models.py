"""The experts of StreamingNewton that learn block by block: quadratic models of all rows so far, or of recent ones.

A block of rows moves a model theta' A theta / 2 - b' theta of all earlier rows to the minimum of its sum with the
block's own losses and the penalty. There the block joins the model, with its Hessian G and its exact gradient g:

    A <- f A + G,   b <- f b + G theta - g,   f = (seen / (seen + block))^kappa  or  exp(-block / window)

where seen and block are weights of rows. kappa = 0 weighs all blocks alike; kappa = 1 down-weights old blocks, whose
quadratic models were built far from the present coefficients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from torchlogit.streaming.free_coordinates import FreeCoordinates

Array = NDArray[np.float64]

# Rows of a column's typical value that stand in for a penalty where a column has none: they keep the Hessian regular.
# Larger: unpenalised coefficients are pulled towards zero more.
PSEUDO_ROWS = 0.01
# A Newton step that changes no row's log-odds by more than this is a block's last one. The second number is for the
# first block. Larger: fewer steps, less exact. A last step of 1 is a sixth faster and leaves a model .02 standard units
# from the exact recursion (docs/decisions/0017-streams.md).
LAST_STEP, LAST_STEP_FIRST = 0.3, 0.01
# Models whose raw predictions of a block differ by at most this (log-odds, root mean square) share the block's Hessian,
# and so do the steps of one model. Larger: fewer Hessians, poorer steps. Measured in docs/decisions/0017-streams.md.
REUSE_WITHIN = 0.3
MAX_STEPS = 20  # the most Newton steps for one block
TRACE_EVERY = 8  # one block in this many is used to estimate trace(H^-1 S), which costs about as much as a Newton step


class CentredRows(NamedTuple):
    """A block of rows: X (n, p) with the columns centred and the intercept's 1, target, weight, offset."""

    X: Array
    target: Array
    weight: Array
    offset: Array


class NewtonModels:
    """e quadratic models of q free coordinates: one for each kappa, then one for each window (rows).

    Before the first row all their arrays are zero. precision (d,): the l2 penalty of each column, without the
    intercept. hessian (e, q, q) and linear (e, q): A and b. minimum (e, q). mean (e, q) with total weight mean_weight
    (e,): the mean of a model's minima, later ones weighing more, or for kappa = 0 and windows the last minimum.
    rows_counted (e,): the weight of rows that A stands for. column_squares (2, p): sums of x^2, and numbers of
    nonzeros. trace (2,): estimates of trace(H^-1 S), a sum and its weight. start_weight: the weight of the rows that
    the start was fitted to, 0 where there is none.
    """

    def __init__(
        self, coordinates: FreeCoordinates, kappas: tuple[float, ...], windows: tuple[float, ...], precision: Array,
        start_weight: float,
    ) -> None:  # fmt: skip
        self.coordinates, self.kappas, self.windows = coordinates, kappas, windows
        self.precision, self.start_weight = precision, start_weight
        e, q = len(kappas) + len(windows), coordinates.size
        self.hessian, self.linear = np.zeros((e, q, q)), np.zeros((e, q))
        self.minimum, self.mean = np.zeros((e, q)), np.zeros((e, q))
        self.mean_weight, self.rows_counted = np.zeros(e), np.zeros(e)
        self.column_squares, self.trace = np.zeros((2, coordinates.p)), np.zeros(2)

    def __len__(self) -> int:
        return len(self.mean)

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {
            "A": self.hessian,
            "b": self.linear,
            "theta": self.minimum,
            "mean": self.mean,
            "mean_weight": self.mean_weight,
            "effective": self.rows_counted,
            "typical": self.column_squares,
            "trace": self.trace,
        }

    def join(self, rows: CentredRows, seen: float, block: int) -> None:
        """Add a block to every model. seen: the weight of all rows before it. block: how many blocks came before."""
        from torchlogit.kernels import newton_loops

        newton_loops.add_squares(rows.X, rows.weight, self.column_squares)
        weight = float(rows.weight.sum())
        precision, before = self._precision(), seen + self.start_weight
        after = before + weight
        limits = (LAST_STEP, REUSE_WITHIN, MAX_STEPS) if before > 0 else (LAST_STEP_FIRST, 0.0, MAX_STEPS)
        size = self.coordinates.size
        shared = np.full_like(rows.target, np.nan), np.empty((size, size)), np.empty_like(rows.X)
        for e, fade in enumerate(self._fades(before, after)):
            self.rows_counted[e] = self.rows_counted[e] * fade + weight
            share = self.rows_counted[e] / after if e < len(self.kappas) else 1.0
            self.hessian[e] *= fade
            self.linear[e] *= fade
            model = self.hessian[e], self.linear[e], self.minimum[e]
            factor = newton_loops.join(*rows, self.coordinates.basis, *model, share * precision, *limits, *shared)
            self._average(e, weight, after)
            if e == 0 and block % TRACE_EVERY == 0:
                trace = self.rows_counted[e] * self._trace(rows, self.minimum[e], *factor)
                self.trace = self.trace * (before / after) ** 2 + (trace, weight)

    def go_on_from(self, coef: Array, intercept: Array, rows: CentredRows) -> None:
        """Start all models at this point, as if start_weight earlier rows had been distributed like these.

        The minimum of each model, penalty included, is this point.
        coef (d, outputs), intercept (outputs,): for centred columns.
        """
        from torchlogit.kernels import newton_loops

        X, target, weight, offset = rows
        point = self.coordinates.of_params(coef, intercept)
        residual = np.empty_like(target)
        newton_loops.residuals(self.coordinates.raw_predictions(X, point[None])[0] + offset, target, residual)
        A, scratch = self.hessian[0], (np.empty_like(X), np.empty(len(X)))
        newton_loops.hessian(X, residual, target, weight, self.coordinates.basis, *scratch, A)
        A *= self.start_weight / max(weight.sum(), 1.0)
        newton_loops.add_squares(X, weight, self.column_squares)
        b = A @ point + self._precision() * point
        self.column_squares[:] = 0
        self.hessian[:], self.linear[:], self.minimum[:], self.mean[:] = A.copy(), b, point, point
        self.rows_counted[:] = self.mean_weight[:] = self.start_weight

    def _fades(self, before: float, after: float) -> list[float]:
        """The factor f by which each model down-weights its earlier rows."""
        if before == 0:
            return [0.0] * len(self)
        powers = [(before / after) ** kappa for kappa in self.kappas]
        return powers + [math.exp((before - after) / window) for window in self.windows]

    def _average(self, e: int, weight: float, after: float) -> None:
        """Add the e-th model's minimum to its mean with weight block * seen^kappa; for kappa = 0 replace the mean."""
        kappa = self.kappas[e] if e < len(self.kappas) else 0.0
        own_weight = weight * after**kappa
        self.mean_weight[e] = self.mean_weight[e] + own_weight if kappa > 0 else own_weight
        self.mean[e] += (self.minimum[e] - self.mean[e]) * (own_weight / self.mean_weight[e])

    def _precision(self) -> Array:
        """The penalty of each free coordinate (q,), or, where there is none, PSEUDO_ROWS of the column."""
        squares, counts = self.column_squares
        typical = PSEUDO_ROWS * np.divide(squares, counts, out=np.ones_like(squares), where=counts > 0)
        penalty = np.append(self.precision, [0.0] * self.coordinates.intercept)
        return np.tile(np.where(penalty > 0, penalty, typical), self.coordinates.basis.shape[1])

    def _trace(self, rows: CentredRows, point: Array, lower: Array, scale: Array) -> float:
        """sum_i s_i g_i' H^-1 g_i over these rows, where g_i is the gradient of a row's loss: part of trace(H^-1 S)."""
        from torchlogit.kernels import newton_loops

        X, target, weight, offset = rows
        residual = np.empty_like(target)
        newton_loops.residuals(self.coordinates.raw_predictions(X, point[None])[0] + offset, target, residual)
        gradients = ((residual @ self.coordinates.basis)[:, :, None] * X[:, None, :]).reshape(len(X), -1) / scale
        solved = solve_triangular(lower, gradients.T, lower=True, check_finite=False)
        return float(np.square(solved).sum(axis=0) @ weight)
