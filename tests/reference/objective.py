"""F, its gradient and its Hessian as plain sums in extended precision, and the optimum by full Newton steps.

With kinks and bounds the optimum is found by an active set: Newton steps of the coordinates between them, those on
them released one at a time, until the conditions of optimality hold for every coordinate.

Everything is numpy's longdouble (64 bits of mantissa on x86, eps = 1.1e-19), four orders below float64's rounding,
so that differences of F in float64's last digits can still be told apart. `EXTENDED` says whether it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.design import Dense, Sparse
from torchlogit.objective import Objective

Real = np.longdouble
Array = NDArray[Any]
EPS = float(np.finfo(Real).eps)
EXTENDED = EPS < 1e-18
REASON = "numpy's longdouble is no longer than float64 here"


@dataclass(frozen=True, slots=True)
class Plain:
    """x (n, p), its last column 1 where there is an intercept; target (n, k); weight (n,); precision (p,).

    rate, lower, upper (p,): of the penalty rate |theta|, and the bounds of theta. offset (n, k): added to X theta.
    """

    x: Array
    target: Array
    weight: Array
    precision: Array
    rate: Array
    lower: Array
    upper: Array
    offset: Array

    @classmethod
    def of(cls, objective: Objective) -> Plain:
        """The same problem, read off its parts."""
        design = objective.design
        assert isinstance(design, Dense | Sparse)
        x = (design.values.numpy() if isinstance(design, Dense) else design.values.toarray()).astype(Real)
        penalty, d = objective.penalty, x.shape[1]
        of_features = penalty.precision(d), penalty.l1_rates(d), *penalty.box(d)
        if objective.design.has_intercept:
            x = np.concatenate([x, np.ones((len(x), 1), Real)], axis=1)
        of_intercept = [[value] for value in (0, 0, -np.inf, np.inf)] if objective.design.has_intercept else [[]] * 4
        precision, rate, lower, upper = (
            np.append(part.numpy(), last).astype(Real) for part, last in zip(of_features, of_intercept, strict=True)
        )
        target, weight = objective.target.numpy().astype(Real), objective.weight.numpy().astype(Real)
        offset = np.zeros_like(target) if objective.offset is None else objective.offset.numpy().astype(Real)
        return cls(x, target, weight, precision, rate, lower, upper, offset)

    @property
    def smooth(self) -> bool:
        """No kinks and no bounds."""
        return not (self.rate.any() or np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    # -- rows -------------------------------------------------------------------------------------

    def raw(self, theta: Array) -> Array:
        """X theta + offset."""
        return self.x @ theta + self.offset

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
        """sum_j precision_j / 2 * theta_j^2 + rate_j |theta_j|."""
        return (self.precision[:, None] * theta * theta / 2 + self.rate[:, None] * np.abs(theta)).sum()

    def rounding(self, theta: Array) -> float:
        """A bound on the rounding error of `value`: that of each x_ij theta_j moves the loss no more than itself."""
        n, p = self.x.shape
        absolute = np.abs(self.x) @ np.abs(theta) + np.abs(self.offset)
        rows = (self.weight * (self.losses(self.raw(theta)) + (p + 2) * absolute.max(axis=1))).sum()
        return 4 * EPS * float(rows + (p + 2) * self.penalty(theta)) * (1 + n / 1e4)

    def gradient(self, theta: Array) -> Array:
        """dF / dtheta but for the kinks, (p, k)."""
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

    def root(self, theta: Array, basis: Array) -> Array:
        """J with J'J = d2F / dfree2, free = (theta basis)' row by row: so that the Hessian need not be squared."""
        p = self.probability(raw := self.raw(theta))
        if p.shape[1] == 1:
            root = np.sqrt(self.weight[:, None] * p * _sigmoid(-raw))[:, :, None]
        else:  # diag p - p p' = sum_k p_k (e_k - p)(e_k - p)'
            away = np.eye(p.shape[1], dtype=Real) - p[:, None, :]
            root = np.sqrt(self.weight[:, None] * p)[:, :, None] * (away @ basis)
        n_free, columns = basis.shape[1], self.x.shape[1]
        rows = (root[:, :, :, None] * self.x[:, None, None, :]).reshape(-1, n_free * columns)
        return np.concatenate([rows, np.diag(np.tile(np.sqrt(self.precision), n_free))])

    def newton_step(self, theta: Array) -> tuple[Array, Real]:
        """The step d of (J'J) d = -gradient, by QR of J, and half the decrement."""
        basis = self.basis()
        gradient = (self.gradient(theta) @ basis).T.reshape(-1)
        step = -_solve_normal(self.root(theta, basis), gradient)
        return step.reshape(basis.shape[1], -1).T @ basis.T, -(step * gradient).sum() / 2

    def damping(self, step: Array) -> Real:
        """ln(1 + r) / r, r the log-odds that a step moves at most: under it Newton's step lowers F, however long.

        Bach 2010, doi:10.1214/09-EJS521.
        """
        moved = self.x @ step
        reach = (np.ptp(moved, axis=1) if moved.shape[1] > 1 else np.abs(moved)).max()
        return Real(1) if reach == 0 else np.log1p(reach) / reach

    # -- kinks and bounds -------------------------------------------------------------------------

    def pull(self, theta: Array) -> tuple[Array, Array]:
        """How fast F falls where each entry of theta grows, and where it shrinks; -inf where a bound stops it."""
        gradient, rate = self.gradient(theta), self.rate[:, None]
        growing = -(gradient + np.where(theta >= 0, rate, -rate))
        shrinking = gradient + np.where(theta > 0, rate, -rate)
        may_grow, may_shrink = theta < self.upper[:, None], theta > self.lower[:, None]
        return np.where(may_grow, growing, -np.inf), np.where(may_shrink, shrinking, -np.inf)

    def violation(self, theta: Array) -> Array:
        """By how much each entry violates the conditions of optimality: 0 where F falls neither way.

        In units of a column of length one; between kinks and bounds it is the derivative's size.
        """
        length = np.sqrt((self.weight[:, None] * self.x * self.x).sum(axis=0) + self.precision)[:, None]
        return np.maximum(*self.pull(theta)).clip(0) / np.where(length > 0, length, 1)


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where Newton's method ended. error: how far F may still be above its minimum, rounding included."""

    theta: Array
    value: Real
    error: float
    finite: bool


def optimum(plain: Plain) -> Optimum:
    """The minimum of F, to the last digits of extended precision.

    finite: whether it converged, rather than run off towards an infimum (separated classes).
    """
    found = _smooth_optimum(plain) if plain.smooth else _kinked_optimum(plain)
    return replace(found, finite=found.finite and not _rules_a_class_out(plain))


def _rules_a_class_out(plain: Plain) -> bool:
    """Whether F falls for ever as one coefficient grows that makes a class without any target ever less probable.

    Such a coefficient has no penalty, no bound in its way, and a column of one sign: an intercept, say. Newton's steps
    may well settle far out, where the class's probabilities are zero to the last digit.
    """
    x, target = plain.x[plain.weight > 0], plain.target[plain.weight > 0]
    free = (plain.precision == 0) & (plain.rate == 0)
    falls = free & ((x > 0).all(axis=0) & (plain.lower == -np.inf) | (x < 0).all(axis=0) & (plain.upper == np.inf))
    rises = free & ((x > 0).all(axis=0) & (plain.upper == np.inf) | (x < 0).all(axis=0) & (plain.lower == -np.inf))
    absent = bool((target == 0).all(axis=0).any())
    return (absent and bool(falls.any())) or (target.shape[1] == 1 and bool((target == 1).all() and rises.any()))


def _smooth_optimum(plain: Plain, max_steps: int = 200) -> Optimum:
    """By full Newton steps, damped where that does not lower F, until no step does in extended precision."""
    theta = np.zeros((plain.x.shape[1], plain.target.shape[1]), Real)
    value = plain.value(theta)
    decrement, last = Real(np.inf), Real(np.inf)
    for _ in range(max_steps):
        step, decrement = plain.newton_step(theta)
        t, moved = Real(1), plain.value(theta + step)
        while not moved <= value and t > 1e-12:
            t = min(t / 2, plain.damping(step))
            moved = plain.value(theta + t * step)
        if not moved <= value:
            break
        theta, value = theta + t * step, moved
        if decrement <= EPS * value / 16 or (decrement <= 1e-15 * value and decrement > last / 4):
            break
        last = decrement
    error = float(abs(decrement)) + plain.rounding(theta)
    return Optimum(theta, value, error, bool(float(abs(decrement)) <= 1e-13 * float(value) and value > 1e-30))


def _kinked_optimum(plain: Plain, max_changes: int = 1000, max_steps: int = 60) -> Optimum:
    """By an active set: entries of theta between kinks and bounds take Newton steps, the others rest there.

    A step ends where the first of them arrives: there it rests. Once the moving ones have settled, the one at rest that
    violates the conditions of optimality most is released, until none does. max_changes: of the moving ones. max_steps:
    between two of those; an infimum far away takes more.
    """
    lower, upper, rate = (part[:, None] for part in (plain.lower, plain.upper, plain.rate))
    theta = np.zeros((plain.x.shape[1], plain.target.shape[1]), Real).clip(lower, upper)
    moving = (lower < theta) & (theta < upper) & ((rate == 0) | (theta != 0))
    sign, value, decrement = np.sign(theta), plain.value(theta), Real(np.inf)
    settled, last, kept = False, Real(np.inf), 1e-17 * np.sqrt(plain.weight.sum())
    changes = steps = 0
    while changes < max_changes and steps < max_steps:
        if settled:
            violation = np.where(moving, 0, plain.violation(theta))
            if violation.max(initial=0) <= kept:
                break
            freed = np.unravel_index(violation.argmax(), violation.shape)
            moving[freed], changes, steps = True, changes + 1, 0
            growing, shrinking = plain.pull(theta)
            sign[freed] = 1 if growing[freed] > shrinking[freed] else -1
        step, decrement = _face_step(plain, theta, moving, sign)
        low = np.where((rate > 0) & (sign > 0), np.maximum(lower, 0), lower)
        high = np.where((rate > 0) & (sign < 0), np.minimum(upper, 0), upper)
        edge = np.where(step > 0, high, low)
        room = np.where(moving & (step != 0), (edge - theta) / np.where(step == 0, 1, step), np.inf).clip(0)
        t = longest = min(Real(1), room.min(initial=np.inf))
        stay = theta
        while True:
            theta = np.where(moving, (stay + t * step).clip(low, high), stay)
            arrived = moving & (room <= longest) if t == longest else np.zeros_like(moving)
            theta = np.where(arrived, edge, theta)
            moved = plain.value(theta)
            if moved <= value or t <= 1e-6 * longest:
                break
            t /= 2
        if not moved <= value:
            theta, settled = stay, True
            continue
        value, moving = moved, moving & ~arrived
        small = decrement <= EPS * value / 16 or (decrement <= 1e-15 * value and decrement > last / 4)
        settled, last = not arrived.any() and bool(small), decrement
        changes, steps = changes + bool(arrived.any()), 0 if arrived.any() else steps + 1
    error = float(abs(decrement)) + plain.rounding(theta)
    converged = settled and float(plain.violation(theta).max(initial=0)) <= 1e-7 * float(value) ** 0.5
    finite = converged and float(abs(decrement)) <= 1e-13 * float(value) and value > 1e-30 and np.isfinite(error)
    return Optimum(theta, value, error, bool(finite))


def _face_step(plain: Plain, theta: Array, moving: Array, sign: Array) -> tuple[Array, Real]:
    """The Newton step of the moving entries, the signs of those with a kink given, and half its decrement.

    A little damping gives a singular Hessian a direction along which a kink's slope can be followed to its end.
    """
    place = moving.T.reshape(-1)
    root = plain.root(theta, np.eye(theta.shape[1], dtype=Real))[:, place]
    damping = np.diag(np.sqrt(1e-15 * (root * root).sum(axis=0)))
    gradient = (plain.gradient(theta) + plain.rate[:, None] * sign).T.reshape(-1)[place]
    step = np.zeros(len(place), Real)
    step[place] = -_solve_normal(np.concatenate([root, damping]), gradient)
    return step.reshape(theta.shape[1], -1).T, -(step[place] * gradient).sum() / 2


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
