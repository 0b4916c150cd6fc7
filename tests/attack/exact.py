"""F on the numbers as given, to 400 bits, and points with a lower F, by Newton's method in the same arithmetic.

Theta is a list of parameters per output, the intercept last. Nothing of the package is used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

BITS = 400  # of the arithmetic: enough for columns that agree to 1e-15 of deviations that are 1e-15 of their mean
SINGULAR = mpf(2) ** -300  # a pivot below this share of its diagonal entry is zero: the column is a combination
SAME = mpf(2) ** -350  # F may rise by that, by rounding, where a step ends at a kink that is next to its start
FLAT = 1e6  # a logit beyond this has e^-|z| < 1e-434294: it is taken as zero
MAX_STEPS = 80  # of Newton's method; with a line search, it reaches the minimum within about 20

Theta = list[list[mpf]]


def exact(x: float) -> mpf:
    """The float as it is."""
    return mpf(float(x))


@dataclass(frozen=True)
class Point:
    """F at theta, the derivative of the losses and l2 by theta, and the rows' probabilities."""

    theta: Theta
    value: mpf
    gradient: Theta
    probabilities: list[list[mpf]]  # one list of n per output


class Exact:
    """F for rows as given.

    X (n, d): columns of floats; a column of ones is appended for an intercept. target (n, k): k = 1 for two classes;
    shares of several classes are divided by their sum. l2, l1, lower, upper (d,): of the penalty on each column.
    """

    def __init__(
        self,
        X: NDArray[np.float64],
        target: NDArray[np.float64],
        weight: NDArray[np.float64],
        offset: NDArray[np.float64],
        *,
        intercept: bool,
        l2: Sequence[mpf],
        l1: Sequence[mpf],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
    ) -> None:
        kept = weight > 0
        X, target, weight, offset = X[kept], target[kept], weight[kept], offset[kept]
        if intercept:
            X = np.column_stack([X, np.ones(len(X))])
            l2, l1 = [*l2, mpf(0)], [*l1, mpf(0)]
            lower, upper = np.append(lower, -np.inf), np.append(upper, np.inf)
        self.rows = [[exact(v) for v in row] for row in X]
        self.columns = [list(column) for column in zip(*self.rows, strict=True)]
        self.weight, self.offset = [exact(w) for w in weight], [[exact(v) for v in o] for o in offset.T]
        self.outputs = target.shape[1]
        with mp.workprec(BITS):
            self.target = [[exact(v) for v in column] for column in target.T]
            if self.outputs > 1:
                sums = [mp.fsum(row) for row in zip(*self.target, strict=True)]
                self.target = [[v / s for v, s in zip(column, sums, strict=True)] for column in self.target]
            self.products = {
                (a, b): [u * v for u, v in zip(self.columns[a], self.columns[b], strict=True)]
                for a in range(len(self.columns))
                for b in range(a + 1)
            }
        self.l2, self.l1 = list(l2), list(l1)
        self.lower, self.upper = [mpf(float(v)) for v in lower], [mpf(float(v)) for v in upper]
        self.smooth = not any(self.l1) and all(map(mp.isinf, self.lower + self.upper))

    # -- F ------------------------------------------------------------------------------------------

    def raw(self, theta: Theta) -> list[list[mpf]]:
        """X theta + offset, one list of n per output."""
        with mp.workprec(BITS):
            return [
                [mp.fdot(zip(row, own, strict=True)) + o for row, o in zip(self.rows, offset, strict=True)]
                for own, offset in zip(theta, self.offset, strict=True)
            ]

    def _losses(self, raw: list[list[mpf]]) -> tuple[mpf, list[list[mpf]], list[list[mpf]]]:
        """The sum of the losses, the residuals and the probabilities."""
        losses, residuals, probabilities = [], [], []
        for z, y in zip(zip(*raw, strict=True), zip(*self.target, strict=True), strict=True):
            loss, residual, p = _binary(z[0], y[0]) if len(z) == 1 else _softmax(z, y)
            losses.append(loss)
            residuals.append(residual)
            probabilities.append(p)
        value = mp.fdot(zip(self.weight, losses, strict=True))
        return value, *([list(part) for part in zip(*parts, strict=True)] for parts in (residuals, probabilities))

    def value(self, theta: Theta) -> mpf:
        """F(theta)."""
        with mp.workprec(BITS):
            return self._losses(self.raw(theta))[0] + self._penalty(theta)

    def _penalty(self, theta: Theta) -> mpf:
        return mp.fsum(
            q * v * v / 2 + r * abs(v) for own in theta for q, r, v in zip(self.l2, self.l1, own, strict=True)
        )

    def point(self, theta: Theta) -> Point:
        """F and its derivatives."""
        with mp.workprec(BITS):
            value, residuals, probabilities = self._losses(self.raw(theta))
            gradient = []
            for own, residual in zip(theta, residuals, strict=True):
                weighted = [w * r for w, r in zip(self.weight, residual, strict=True)]
                gradient.append(
                    [
                        mp.fdot(zip(column, weighted, strict=True)) + q * v
                        for column, q, v in zip(self.columns, self.l2, own, strict=True)
                    ]
                )
            return Point(theta, value + self._penalty(theta), gradient, probabilities)

    def _hessian(self, point: Point, free: list[tuple[int, int]]) -> list[list[mpf]]:
        variances = {}
        for k in range(self.outputs):
            for m in range(k + 1):
                p, q = point.probabilities[k], point.probabilities[m]
                if k == m:
                    variances[k, m] = [w * a * (1 - a) for w, a in zip(self.weight, p, strict=True)]
                else:
                    variances[k, m] = [-w * a * b for w, a, b in zip(self.weight, p, q, strict=True)]
        size = len(free)
        hessian = [[mpf(0)] * size for _ in range(size)]
        for i, (k, a) in enumerate(free):
            for j, (m, b) in enumerate(free[: i + 1]):
                variance, product = variances[max(k, m), min(k, m)], self.products[max(a, b), min(a, b)]
                hessian[i][j] = hessian[j][i] = mp.fdot(zip(variance, product, strict=True))
            hessian[i][i] += self.l2[a]
        return hessian

    # -- better points ------------------------------------------------------------------------------

    def lower_value(self, theta: Theta, fixed: Sequence[int] = (), target: mpf | None = None) -> tuple[mpf, mpf]:
        """The lowest value of F that is found from theta, and an estimate of how far that still is from the minimum.

        The search ends early once F is below `target`, or F less twice the estimate is above it. The coefficients in
        `fixed` are not moved.
        """
        with mp.workprec(BITS):
            point, left = self.point(theta), mp.inf
            for _ in range(MAX_STEPS):
                direction, left = self._direction(point, set(fixed))
                decided = target is not None and (point.value < target or point.value - 2 * left > target)
                if decided or left < mpf(2) ** -200 * point.value:
                    break
                moved = self._moved(point, direction)
                if moved is None:
                    break
                point = moved
            return point.value, left

    def _slope(self, point: Point, k: int, j: int) -> tuple[mpf, int]:
        """The derivative of F by one parameter in the direction in which F falls, and that sign; 0 where none does."""
        v, g, rate = point.theta[k][j], point.gradient[k][j], self.l1[j]
        up = g + (rate if v >= 0 else -rate)
        down = g + (rate if v > 0 else -rate)
        if up < 0 and v < self.upper[j]:
            return up, 1
        if down > 0 and v > self.lower[j]:
            return down, -1
        return mpf(0), 0

    def _direction(self, point: Point, fixed: set[int]) -> tuple[dict[tuple[int, int], mpf], mpf]:
        """The Newton step of the coordinates that may move, and half the squared decrement.

        Coordinates on a kink or bound that would leave it to the wrong side are taken out.
        """
        every = [(k, j) for k in range(self.outputs) for j in range(len(self.columns)) if j not in fixed]
        slopes = {c: self._slope(point, *c) for c in every}
        inside = {c for c in every if self._inside(point, *c)}
        free = [c for c in every if c in inside or slopes[c][1]]
        while True:
            gradient = [self._derivative(point, slopes, c) for c in free]
            step = _solve(self._hessian(point, free), [-g for g in gradient])
            wrong = [
                i for i, c in enumerate(free) if c not in inside and step[i] * slopes[c][1] < 0
            ]
            if not wrong:
                decrement = -mp.fdot(zip(gradient, step, strict=True)) / 2
                return dict(zip(free, step, strict=True)), decrement
            free = [c for i, c in enumerate(free) if i not in wrong]

    def _inside(self, point: Point, k: int, j: int) -> bool:
        """Whether a parameter is strictly between its kink and its bounds."""
        v = point.theta[k][j]
        return self.lower[j] < v < self.upper[j] and not (v == 0 and self.l1[j])

    def _derivative(self, point: Point, slopes: dict[tuple[int, int], tuple[mpf, int]], c: tuple[int, int]) -> mpf:
        (k, j), (slope, sign) = c, slopes[c]
        if sign:
            return slope
        v = point.theta[k][j]
        return point.gradient[k][j] + self.l1[j] * mp.sign(v)

    def _moved(self, point: Point, direction: dict[tuple[int, int], mpf]) -> Point | None:
        """The point after a step of the line search, which stops at kinks and bounds; None where F does not fall."""
        longest, at, end = mpf(1), None, mpf(0)
        for (k, j), d in direction.items():
            v = point.theta[k][j]
            ends = [self.upper[j] if d > 0 else self.lower[j]]
            if self.l1[j] and v * d < 0:
                ends.append(mpf(0))
            for stop in ends:
                if d and mp.isfinite(stop) and (stop - v) / d < longest:
                    longest, at, end = (stop - v) / d, (k, j), stop
        share = longest
        for _ in range(60):
            theta = [list(own) for own in point.theta]
            for (k, j), d in direction.items():
                theta[k][j] += share * d
            stopped = share == longest and at is not None
            if stopped:
                theta[at[0]][at[1]] = end
            moved = self.point(theta)
            if moved.value < point.value + (SAME if stopped else 0):
                return moved
            share /= 4
        return None


def _binary(z: mpf, y: mpf) -> tuple[mpf, tuple[mpf], tuple[mpf]]:
    size = abs(z)
    small = mp.exp(-size) if size < FLAT else mpf(0)
    p = (1 if z >= 0 else small) / (1 + small)
    other = 1 - y if z >= 0 else y
    return mp.log(1 + small) + other * size, (p - y,), (p,)


def _softmax(z: Sequence[mpf], y: Sequence[mpf]) -> tuple[mpf, list[mpf], list[mpf]]:
    top = max(z)
    e = [mp.exp(v - top) if top - v < FLAT else mpf(0) for v in z]
    total = mp.fsum(e)
    p = [v / total for v in e]
    loss = mp.log(total) + mp.fsum(a * (top - v) for a, v in zip(y, z, strict=True))
    return loss, [a - b for a, b in zip(p, y, strict=True)], p


def _solve(matrix: list[list[mpf]], right: list[mpf]) -> list[mpf]:
    """A solution by elimination with symmetric pivoting; coordinates whose pivot vanishes are left at zero."""
    n = len(right)
    a, b = [list(row) for row in matrix], list(right)
    diagonal = [a[i][i] for i in range(n)]
    left, order = set(range(n)), []
    while left:
        shares = {i: a[i][i] / diagonal[i] if diagonal[i] > 0 else mpf(0) for i in left}
        pivot = max(shares, key=shares.__getitem__)
        if shares[pivot] <= SINGULAR:
            break
        left.remove(pivot)
        order.append(pivot)
        for i in left:
            factor = a[i][pivot] / a[pivot][pivot]
            if factor:
                b[i] -= factor * b[pivot]
                for j in left:
                    a[i][j] -= factor * a[pivot][j]
    x = [mpf(0)] * n
    for place, pivot in reversed(list(enumerate(order))):
        later = order[place + 1 :]
        x[pivot] = (b[pivot] - mp.fsum(a[pivot][j] * x[j] for j in later)) / a[pivot][pivot]
    return x
