"""F, its gradient and its Hessian as plain sums in extended precision, and the optimum by full Newton steps.

Everything is numpy's longdouble (64 bits of mantissa on x86, eps = 1.1e-19), four orders below float64's rounding,
so that differences of F in float64's last digits can still be told apart. `EXTENDED` says whether it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.design import Dense
from torchlogit.objective import Objective

Real = np.longdouble
Array = NDArray[Any]
EPS = float(np.finfo(Real).eps)
EXTENDED = EPS < 1e-18
REASON = "numpy's longdouble is no longer than float64 here"


@dataclass(frozen=True, slots=True)
class Plain:
    """x (n, p), its last column 1 where there is an intercept; target (n, k); weight (n,); precision (p,)."""

    x: Array
    target: Array
    weight: Array
    precision: Array

    @classmethod
    def of(cls, objective: Objective) -> Plain:
        """The same problem, read off its parts."""
        assert isinstance(objective.design, Dense)
        x = objective.design.values.numpy().astype(Real)
        d = x.shape[1]
        precision = objective.penalty.precision(d).numpy().astype(Real)
        if objective.design.has_intercept:
            x = np.concatenate([x, np.ones((len(x), 1), Real)], axis=1)
            precision = np.append(precision, Real(0))
        return cls(x, objective.target.numpy().astype(Real), objective.weight.numpy().astype(Real), precision)

    # -- rows -------------------------------------------------------------------------------------

    def raw(self, theta: Array) -> Array:
        """X theta."""
        return self.x @ theta

    def losses(self, raw: Array) -> Array:
        """(1 - y) log(1 + e^z) + y log(1 + e^-z); softmax: sum_k y_k log sum_l e^(z_l - z_k)."""
        if raw.shape[1] == 1:
            z, y = raw[:, 0], self.target[:, 0]
            return (1 - y) * np.logaddexp(0, z) + y * np.logaddexp(0, -z)
        k = raw.shape[1]
        total = np.zeros(len(raw), Real)
        for wanted in range(k):
            others = np.logaddexp.reduce([raw[:, other] - raw[:, wanted] for other in range(k) if other != wanted])
            total += self.target[:, wanted] * np.logaddexp(0, others)
        return total

    def probability(self, raw: Array) -> Array:
        """sigma(z), or softmax(z)."""
        if raw.shape[1] == 1:
            return _sigmoid(raw)
        e = np.exp(raw - raw.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def residual(self, raw: Array) -> Array:
        """Probability - target; for one logit (1 - y) sigma(z) - y sigma(-z)."""
        if raw.shape[1] == 1:
            return (1 - self.target) * _sigmoid(raw) - self.target * _sigmoid(-raw)
        return self.probability(raw) - self.target

    # -- sums -------------------------------------------------------------------------------------

    def value(self, theta: Array) -> Real:
        """F(theta)."""
        return (self.weight * self.losses(self.raw(theta))).sum() + self.penalty(theta)

    def penalty(self, theta: Array) -> Real:
        """sum_j precision_j / 2 * theta_j^2."""
        return (self.precision[:, None] * theta * theta).sum() / 2

    def rounding(self, theta: Array) -> float:
        """A bound on the rounding error of `value`: that of each x_ij theta_j moves the loss no more than itself."""
        n, p = self.x.shape
        absolute = np.abs(self.x) @ np.abs(theta)
        rows = (self.weight * (self.losses(self.raw(theta)) + (p + 2) * absolute.max(axis=1))).sum()
        return 4 * EPS * float(rows + (p + 2) * self.penalty(theta)) * (1 + n / 1e4)

    def gradient(self, theta: Array) -> Array:
        """dF / dtheta, (p, k)."""
        return self.x.T @ (self.weight[:, None] * self.residual(self.raw(theta))) + self.precision[:, None] * theta

    def curvature(self, raw: Array) -> Array:
        """diag p - p p' of each row, (n, k, k)."""
        p = self.probability(raw)
        if p.shape[1] == 1:
            return (p * _sigmoid(-raw))[:, :, None]
        return p[:, :, None] * np.eye(p.shape[1], dtype=Real) - p[:, :, None] * p[:, None, :]

    def hessian(self, theta: Array) -> Array:
        """d2F / dtheta2 as (k, p, k, p), by its formula."""
        curvature = self.curvature(self.raw(theta)) * self.weight[:, None, None]
        hessian = np.einsum("ikl,ia,ib->kalb", curvature, self.x, self.x)
        for k in range(self.target.shape[1]):
            for j, precision in enumerate(self.precision):
                hessian[k, j, k, j] += precision
        return hessian

    # -- the optimum ------------------------------------------------------------------------------

    def basis(self) -> Array:
        """Orthonormal (k, k - 1) columns that sum to zero (cosines); [[1]] for one logit."""
        k = self.target.shape[1]
        if k == 1:
            return np.ones((1, 1), Real)
        pi = np.arccos(Real(-1))
        at, frequency = np.arange(k, dtype=Real)[:, None], np.arange(1, k, dtype=Real)[None, :]
        return np.sqrt(Real(2) / k) * np.cos(pi * (at + Real(0.5)) * frequency / k)

    def newton_step(self, theta: Array) -> tuple[Array, Real]:
        """The step d of (J'J + precision) d = -gradient, J'J by QR of J (never squared), and half the decrement."""
        raw, basis = self.raw(theta), self.basis()
        p = self.probability(raw)
        if p.shape[1] == 1:
            root = np.sqrt(self.weight[:, None] * p * _sigmoid(-raw))[:, :, None]
        else:  # diag p - p p' = sum_k p_k (e_k - p)(e_k - p)'
            away = np.eye(p.shape[1], dtype=Real) - p[:, None, :]
            root = np.sqrt(self.weight[:, None] * p)[:, :, None] * (away @ basis)
        n_free, columns = basis.shape[1], self.x.shape[1]
        rows = (root[:, :, :, None] * self.x[:, None, None, :]).reshape(-1, n_free * columns)
        prior = np.diag(np.tile(np.sqrt(self.precision), n_free))
        gradient = (self.gradient(theta) @ basis).T.reshape(-1)
        step = -_solve_normal(np.concatenate([rows, prior]), gradient)
        return step.reshape(n_free, columns).T @ basis.T, -(step * gradient).sum() / 2


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where Newton's method ended. error: how far F may still be above its minimum, rounding included."""

    theta: Array
    value: Real
    error: float
    finite: bool


def optimum(plain: Plain, max_steps: int = 200) -> Optimum:
    """The minimum of F by full Newton steps, halved until F falls, until no step lowers F in extended precision.

    finite: whether it converged, rather than run off towards an infimum (separated classes).
    """
    theta = np.zeros((plain.x.shape[1], plain.target.shape[1]), Real)
    value = plain.value(theta)
    decrement, last = Real(np.inf), Real(np.inf)
    for _ in range(max_steps):
        step, decrement = plain.newton_step(theta)
        t, moved = Real(1), plain.value(theta + step)
        while not moved <= value and t > 1e-6:
            t /= 2
            moved = plain.value(theta + t * step)
        if not moved <= value:
            break
        theta, value = theta + t * step, moved
        if decrement <= EPS * value / 16 or (decrement <= 1e-15 * value and decrement > last / 4):
            break
        last = decrement
    error = float(abs(decrement)) + plain.rounding(theta)
    return Optimum(theta, value, error, bool(float(abs(decrement)) <= 1e-13 * float(value) and value > 1e-30))


def _sigmoid(raw: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-raw))


def _solve_normal(matrix: Array, right: Array) -> Array:
    """(A'A)^+ right by Householder QR of A with column pivoting, its columns scaled to length one first."""
    size = np.sqrt((matrix * matrix).sum(axis=0))
    seen = np.flatnonzero(size > 0)
    a, r = matrix[:, seen] / size[seen], right[seen] / size[seen]
    order = np.arange(len(seen))
    rank = 0
    for j in range(min(a.shape)):
        lengths = np.sqrt((a[j:, j:] * a[j:, j:]).sum(axis=0))
        best = j + int(lengths.argmax())
        if lengths[best - j] <= 1e-16:
            break
        a[:, [j, best]], order[[j, best]] = a[:, [best, j]], order[[best, j]]
        v = a[j:, j].copy()
        v[0] += np.copysign(lengths[best - j], v[0])
        v /= np.sqrt((v * v).sum())
        a[j:, j:] -= 2 * np.outer(v, v @ a[j:, j:])
        rank += 1
    upper, wanted = a[:rank, :rank], r[order[:rank]]
    half = np.zeros(rank, Real)
    for i in range(rank):  # R' half = right
        half[i] = (wanted[i] - (upper[:i, i] * half[:i]).sum()) / upper[i, i]
    solved = np.zeros(rank, Real)
    for i in reversed(range(rank)):  # R solved = half
        solved[i] = (half[i] - (upper[i, i + 1 :] * solved[i + 1 :]).sum()) / upper[i, i]
    out = np.zeros(len(right), Real)
    out[seen[order[:rank]]] = solved / size[seen[order[:rank]]]
    return out
