"""The penalty by its definition, on arrays of mpmath or other numbers: value, conjugate and proximal point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # (n_features, n_outputs), numpy of any float dtype, object (mpmath) included
Number = Any
INF = float("inf")


@dataclass(frozen=True, slots=True)
class Scalar:
    """phi(w) = rate |w| + precision / 2 w^2 for lower <= w <= upper."""

    rate: Number
    precision: Number
    lower: Number
    upper: Number

    def value(self, w: Number) -> Number:
        """phi(w), w within the bounds."""
        return self.rate * abs(w) + self.precision * w * w / 2

    def conjugate(self, u: Number) -> Number:
        """sup u v - phi(v): a concave function's maximum is at a kink, at a bound, or where its slope is zero."""
        if self.precision == 0:
            if (u > self.rate and self.upper == INF) or (u < -self.rate and self.lower == -INF):
                return INF
            flat = []
        else:
            flat = [(u - self.rate) / self.precision, (u + self.rate) / self.precision]
        candidates = [0 * u, *flat, *(end + 0 * u for end in (self.lower, self.upper) if abs(end) < INF)]
        return max(u * v - self.value(v) for v in candidates if self.lower <= v <= self.upper)

    def prox(self, x: Number, step: Number, width: Number) -> Number:
        """The minimiser of (v - x)^2 / (2 step) + phi(v), by ternary search over |v| <= width."""
        low, high = max(self.lower, -width), min(self.upper, width)
        return ternary(lambda v: (v - x) ** 2 / (2 * step) + self.value(v), low + 0 * x, high + 0 * x)


def ternary(f: Callable[[Number], Number], low: Number, high: Number) -> Number:
    """The minimiser of a convex function of one number between low and high."""
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if f(left) <= f(right):
            high = right
        else:
            low = left
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Separable:
    """The sum of phi over features and outputs; what is given per feature is a tuple, or empty for the default."""

    l1: float = 0.0
    l2: float = 0.0
    factors: tuple[float, ...] = ()
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    ridge: tuple[float, ...] = ()

    def feature(self, j: int, zero: Number = 0) -> Scalar:
        """phi of feature j, in the numbers that `zero` is one of."""
        factor = zero + (self.factors[j] if self.factors else 1)
        precision = factor * self.l2 + (self.ridge[j] if self.ridge else 0)
        lower, upper = self.lower[j] if self.lower else -INF, self.upper[j] if self.upper else INF
        return Scalar(factor * self.l1, precision, lower, upper)

    def value(self, coef: Array) -> Number:
        """Omega(coef)."""
        return self._sum(lambda phi, w: phi.value(w), coef)

    def smooth_value(self, coef: Array) -> Number:
        """The quadratic part of Omega(coef)."""
        return self._sum(lambda phi, w: phi.precision * w * w / 2, coef)

    def conjugate(self, dual: Array) -> Number:
        """Omega*(dual)."""
        return self._sum(lambda phi, u: phi.conjugate(u), dual)

    def prox(self, coef: Array, step: Number) -> Array:
        """argmin |u - coef|^2 / (2 step) + Omega(u)."""
        width = 10 * abs(coef).max() + 1
        return np.array(
            [[self.feature(j, 0 * w).prox(w, step, width) for w in row] for j, row in enumerate(coef)], dtype=object
        )

    def _sum(self, term: Callable[[Scalar, Number], Number], array: Array) -> Number:
        return sum(term(self.feature(j, 0 * v), v) for j, row in enumerate(array) for v in row)
