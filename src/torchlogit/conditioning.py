"""Conditioned columns: x'_j = scale_j (x_j - center_j), on which F is computed where X's own columns lose digits.

In a column such as seconds since 1970 the mean takes most of the digits of float64, and few are left for the
deviations from it. Subtracting a center changes no value that F can take, since the intercept, which has no penalty,
makes up for the shift. Parameters are returned for the columns as given. The conversions below add up exactly and round
once, so that the parameters returned and the point whose F is computed are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Steps, in units in the last place, by which a coefficient may be moved so that the intercept that belongs to it rounds
# better. More: intercepts nearer to the best one, in more time; 64 steps leave about a hundredth of the rounding error.
NUDGES = 64
# The rounding error of an intercept, in log-odds, up to which no coefficient is moved. F changes by its square.
HARMLESS = 1e-9
LARGEST = np.finfo(np.float64).max  # the largest float64


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """x'_j = scale_j (x_j - center_j) for each feature; center and scale (n_features,), scale a power of two or zero.

    A scale of zero replaces a column that is constant by zeros: its coefficient is zero. rounded: those of these
    columns that are constant only up to rounding. bounded (n_features,) or None: booleans, the features whose
    coefficients have bounds, and are not moved to make an intercept round better.

    >>> moved = Conditioning(np.array([4.0]), np.array([1.0]))
    >>> [part.tolist() for part in moved.own(np.array([[0.5]]), np.array([1.0]))]
    [[[0.5]], [-1.0]]
    """

    center: Array
    scale: Array
    rounded: tuple[int, ...] = ()
    bounded: NDArray[np.bool_] | None = None

    def own(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """coef (n_features, n_outputs) and intercept (n_outputs,) for the columns as given.

        Coefficients beyond the range of floats, which columns below 1e-300 may ask for, end at its largest number.
        """
        with np.errstate(over="ignore"):
            coef = (coef * self.scale[:, None]).clip(-LARGEST, LARGEST)
        moved = np.flatnonzero(self.center)
        if not len(moved):
            return coef, intercept.copy()
        at_zero = [_exact_sum(b, -self.center[moved], w) for b, w in zip(intercept, coef[moved].T, strict=True)]
        middle = float(sum(at_zero) / len(at_zero)) if len(at_zero) > 1 else 0.0  # softmax: the sum of all is free
        free = np.ones(len(moved), dtype=bool) if self.bounded is None else ~self.bounded[moved]
        rounded = [
            _rounded_well(value - Fraction(middle), self.center[moved], coef[moved, k], free)
            for k, value in enumerate(at_zero)
        ]
        for k, (_, w) in enumerate(rounded):
            coef[moved, k] = w
        return coef, np.array([b for b, _ in rounded])

    def conditioned(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """coef and intercept for the conditioned columns, from those for the columns as given."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(self.scale[:, None] > 0, coef / self.scale[:, None], 0.0)
        return scaled, intercept_at(self.center, coef, intercept)

    def any_center(self) -> Array | None:
        """The center, or None if it is zero for all features."""
        return self.center if self.center.any() else None

    def columns(self, indices: NDArray[Any]) -> Conditioning:
        """The conditioning of these features alone."""
        rounded = tuple(np.flatnonzero(np.isin(indices, self.rounded)).tolist())
        bounded = None if self.bounded is None else self.bounded[indices]
        return Conditioning(self.center[indices], self.scale[indices], rounded, bounded)


def intercept_at(center: Array, coef: Array, intercept: Array) -> Array:
    """The raw prediction at x = center, intercept + center' coef, (n_outputs,): added up exactly, and rounded once.

    >>> intercept_at(np.array([1e16]), np.array([[1.0]]), np.array([1.0 - 1e16])).tolist()
    [0.0]
    """
    moved = np.flatnonzero(center)
    if not len(moved) or not np.isfinite(coef[moved]).all() or not np.isfinite(intercept).all():
        return intercept + center @ coef
    columns = zip(intercept, coef[moved].T, strict=True)
    return np.array([float(_exact_sum(b, center[moved], w)) for b, w in columns])


def _exact_sum(first: float, left: Array, right: Array) -> Fraction:
    """first + left' right, without rounding."""
    products = (Fraction(a) * Fraction(b) for a, b in zip(left.tolist(), right.tolist(), strict=True))
    return sum(products, Fraction(float(first)))


def _rounded_well(
    intercept: Fraction, center: Array, coef: Array, free: NDArray[np.bool_]
) -> tuple[float, Array]:
    """An intercept in float64 and coefficients close to `coef` with nearly the same raw prediction at the center.

    Where the intercept is large, its rounding error moves every row. Moving one coefficient by some units in the last
    place hardly changes its slope, and leads to other intercepts, some of which round much better. Only `free` ones are
    moved.
    """
    best, error = float(intercept), abs(Fraction(float(intercept)) - intercept)
    if error <= HARMLESS or not free.any():
        return best, coef
    j = int(np.argmax(np.abs(coef * center) * free))
    unit, chosen = Fraction(float(np.spacing(coef[j]))), 0
    for steps in range(-NUDGES, NUDGES + 1):
        value = intercept - steps * unit * Fraction(float(center[j]))
        if abs(Fraction(float(value)) - value) < error:
            best, error, chosen = float(value), abs(Fraction(float(value)) - value), steps
    coef = coef.copy()
    coef[j] = float(Fraction(float(coef[j])) + chosen * unit)
    return best, coef
