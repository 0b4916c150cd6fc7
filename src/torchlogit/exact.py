"""Signs of sums and solutions of linear equations without any rounding.

A float64 is an integer times a power of two, so sums of products of them are computed exactly in Python's integers, as
long as that is needed for few rows. For many rows it is first shown that every operation in float64 is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.object_]

DIGITS = 53  # the binary digits of a float64
STEEP_STEPS = 20  # steps for each equation after which the simplex method takes the slower rule that cannot cycle


def signs(rows: Array, direction: Sequence[int]) -> NDArray[np.int8]:
    """The sign of every entry of rows @ direction: rows (m, size), direction (size,) integers of any length.

    >>> signs(np.array([[0.1, 0.2, -0.3]]), [1, 1, 1]).tolist()
    [1]
    """
    factors = np.array([_as_float(factor) for factor in direction])
    sums, exact = _sums(rows, factors)
    result = np.sign(np.where(exact, sums, 0.0)).astype(np.int8)
    if not exact.all():
        patterns, which = np.unique(rows[~exact], axis=0, return_inverse=True)
        found = np.array([_sign(pattern, direction) for pattern in patterns.tolist()], dtype=np.int8)
        result[~exact] = found[which.reshape(-1)]
    return result


def _as_float(value: int) -> float:
    """The integer as a float64, NaN where it has too many digits."""
    try:
        return float(value) if float(value) == value else math.nan
    except OverflowError:
        return math.nan


def _sums(rows: Array, factors: Array) -> tuple[Array, NDArray[np.bool_]]:
    """rows @ factors, and whether each sum is exact, whatever the order in which its terms are added.

    It is where all terms are multiples of a power of two, and the sum of their sizes is below 2^53 times that power.
    """
    with np.errstate(all="ignore"):
        terms = rows * factors
        units = np.where(rows != 0, _last_digit(rows) * _last_digit(factors), np.inf)
        units = np.where(factors != 0, units, np.inf)
        unit = units.min(axis=1, initial=np.inf)
        exact = np.abs(terms).sum(axis=1) <= 2.0 ** (DIGITS - 1) * unit
        return terms.sum(axis=1), exact & (unit > np.finfo(np.float64).tiny)


def _last_digit(values: Array) -> Array:
    """The largest power of two of which each value is a multiple; 0 for 0, NaN for NaN."""
    mantissa, exponent = np.frexp(values)
    whole = np.where(np.isfinite(mantissa), np.ldexp(mantissa, DIGITS), 0).astype(np.int64)
    last = np.ldexp((whole & -whole).astype(np.float64), exponent - DIGITS)
    return np.where(np.isfinite(values), last, np.nan)


def _sign(row: Sequence[float], direction: Sequence[int]) -> int:
    parts = [(*math.frexp(value), factor) for value, factor in zip(row, direction, strict=True) if value and factor]
    lowest = min((exponent for _, exponent, _ in parts), default=0)
    total = sum((int(m * 2**DIGITS) << (exponent - lowest)) * factor for m, exponent, factor in parts)
    return (total > 0) - (total < 0)


def integers(row: Sequence[Fraction]) -> list[int]:
    """The row times the smallest positive number that makes every entry an integer.

    >>> integers([Fraction(1, 2), Fraction(-3)])
    [1, -6]
    """
    common = math.lcm(*(part.denominator for part in row))
    return _shortened([int(part * common) for part in row])


def null_vector(rows: Sequence[Sequence[int]], near: Sequence[int]) -> list[int]:
    """A vector v with rows v = 0 that is a positive multiple of `near` in as many entries as can be chosen freely.

    >>> null_vector([[1, 1, 0]], [5, -4, 7])
    [4, -4, 7]
    """
    matrix, pivots, divisor = _reduced(_matrix(rows, len(near)), len(near))
    free = [j for j in range(len(near)) if j not in set(pivots)]
    result = [abs(divisor) * value for value in near]
    for row, pivot in zip(matrix, pivots, strict=False):
        total = sum(int(row[j]) * near[j] for j in free if row[j])
        result[pivot] = -total if divisor > 0 else total
    return _shortened(result)


def combination(rows: Sequence[Sequence[int]], target: Sequence[int]) -> list[Fraction] | None:
    """Factors with sum_i factor_i rows_i = target, or None where there are none. Factors that are free are zero.

    >>> combination([[1, 0], [1, 1]], [0, 2])
    [Fraction(-2, 1), Fraction(2, 1)]
    """
    if not rows:
        return None if any(target) else []
    equations = [[*column, right] for column, right in zip(zip(*rows, strict=True), target, strict=True)]
    matrix, pivots, divisor = _reduced(_matrix(equations, len(rows) + 1), len(rows))
    if any(row[-1] for row in matrix[len(pivots) :]):
        return None
    factors = [Fraction(0)] * len(rows)
    for row, pivot in zip(matrix, pivots, strict=False):
        factors[pivot] = Fraction(int(row[-1]), divisor)
    return factors


def alternative(rows: Sequence[Sequence[int]], target: Sequence[int]) -> list[int] | None:
    """A vector v with rows v >= 0 and target' v < 0, or None where target is a sum of rows with factors >= 0.

    One of them is true, and not both (Farkas' lemma). It is decided by the first phase of the simplex method, in
    integers. The column that enters is the steepest one; after many steps, which may be a cycle, it is that of Bland's
    rule (1977, doi:10.1287/moor.2.2.103).

    >>> alternative([[1, 0], [1, 1]], [3, 2]), alternative([[1, 0], [1, 1]], [0, 1])
    (None, [1, -1])
    """
    size, m = len(target), len(rows)
    side = [-1 if value < 0 else 1 for value in target]
    tableau = np.zeros((size + 1, m + size + 1), dtype=object)
    for i in range(size):
        tableau[i, :m] = [side[i] * row[i] for row in rows]
        tableau[i, m + i], tableau[i, -1] = 1, abs(target[i])
    tableau[size, :m], tableau[size, -1] = -tableau[:size, :m].sum(axis=0), -sum(map(abs, target))
    basis, divisor, steps = [m + i for i in range(size)], 1, 0
    lengths = [math.hypot(*_floats(row)) for row in rows]
    while tableau[size, -1]:
        enter, steps = _entering(tableau[size, :m], lengths, steps < STEEP_STEPS * size), steps + 1
        if enter is None:
            prices = [divisor - int(tableau[size, m + i]) for i in range(size)]
            return _shortened([-s * price for s, price in zip(side, prices, strict=True)])
        candidates = [i for i in range(size) if tableau[i, enter] > 0]
        leave = min(candidates, key=lambda i: (Fraction(int(tableau[i, -1]), int(tableau[i, enter])), basis[i]))
        row, pivot = tableau[leave].copy(), tableau[leave, enter]
        tableau = (pivot * tableau - np.outer(tableau[:, enter], row)) // divisor
        tableau[leave], basis[leave], divisor = row, enter, pivot
    return None


def _entering(costs: Integers, lengths: list[float], steepest: bool) -> int | None:
    """A column of negative cost: that of the largest cost per length, or the first one; None where there is none."""
    negative = np.flatnonzero(costs < 0)
    if not len(negative):
        return None
    if not steepest:
        return int(negative[0])
    steepness = np.array(_floats([int(-cost) for cost in costs[negative]])) / np.array(lengths)[negative]
    return int(negative[np.argmax(steepness)])


def _floats(values: Sequence[int]) -> list[float]:
    """The values in float64, divided by some power of two if they are too large for it."""
    shift = max(max(abs(value).bit_length() for value in values) - 1000, 0)
    return [float(value >> shift) for value in values]


def _shortened(vector: list[int]) -> list[int]:
    """The vector divided by the greatest common divisor of its entries."""
    shared = math.gcd(*vector) or 1
    return [value // shared for value in vector]


def _matrix(rows: Sequence[Sequence[int]], width: int) -> Integers:
    matrix = np.zeros((len(rows), width), dtype=object)
    for i, row in enumerate(rows):
        matrix[i] = row
    return matrix


def _reduced(matrix: Integers, width: int) -> tuple[Integers, list[int], int]:
    """The matrix after elimination, its pivots' columns, row by row, and the number that all pivots are equal to.

    Pivots are in the first `width` columns, the largest entry of a row. Divisions leave no remainder (Bareiss 1968,
    doi:10.2307/2004533).
    """
    pivots, divisor, done = list[int](), 1, 0
    for _ in range(len(matrix)):
        row = matrix[done]
        pivot = max(range(width), key=lambda j: abs(row[j]), default=None)
        if pivot is None or not row[pivot]:
            matrix = np.concatenate([matrix[:done], matrix[done + 1 :], matrix[done : done + 1]])
            continue
        value = row[pivot]
        others = np.arange(len(matrix)) != done
        matrix[others] = (value * matrix[others] - np.outer(matrix[others, pivot], row)) // divisor
        divisor, done = value, done + 1
        pivots.append(pivot)
    return matrix, pivots, divisor
