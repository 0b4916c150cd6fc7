"""Whether classes overlap, in integers: no rounding at all.

Rows overlap, so that a finite maximum likelihood estimate exists, if and only if there are weights >= 1 for all
inequalities a_i'd >= 0 of a separating direction d with sum_i weight_i a_i = 0 (Stiemke 1915; Albert and Anderson
1984). That is a linear program in the form of the simplex method's first phase, solved here with Bland's rule.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

Integers = list[list[int]]


def overlap(X: NDArray[np.float64], target: NDArray[np.float64], signs: NDArray[np.int64]) -> bool:
    """Whether no direction separates the classes, not even quasi-completely.

    X (n, d): the columns without a penalty, as given, a column of ones among them where there is an intercept. target
    (n, k): k = 1 for two classes. signs (d,): 1 or -1 where a coefficient may run off to that infinity only, else 0.
    """
    columns = [_integers(column) for column in X.T]
    inequalities = list(dict.fromkeys(_inequalities(list(zip(*columns, strict=True)), target)))
    if not inequalities:
        return True
    outputs = target.shape[1]
    matrix = [list(row) for row in zip(*inequalities, strict=True)]
    right = [-sum(row) for row in matrix]
    for k in range(outputs):
        for j, sign in enumerate(signs):
            if sign:
                for i, row in enumerate(matrix):
                    row.append(int(sign) if i == k * len(signs) + j else 0)
    return _feasible(matrix, right)


def _integers(column: NDArray[np.float64]) -> list[int]:
    """The column times a positive number that makes every entry an integer."""
    parts = [Fraction(float(v)) for v in column]
    common = lcm(*(part.denominator for part in parts))
    whole = [int(part * common) for part in parts]
    divisor = gcd(*whole) or 1
    return [v // divisor for v in whole]


def _inequalities(rows: list[tuple[int, ...]], target: NDArray[np.float64]) -> list[tuple[int, ...]]:
    """The vectors a for which a separating direction d has a'd >= 0, of length d * outputs, output by output."""
    found = []
    for row, y in zip(rows, target, strict=True):
        if len(y) == 1:
            if y[0] > 0:
                found.append(row)
            if y[0] < 1:
                found.append(tuple(-v for v in row))
            continue
        for k in np.flatnonzero(y > 0):
            for m in range(len(y)):
                if m != k:
                    vector = [0] * (len(row) * len(y))
                    vector[k * len(row) : (k + 1) * len(row)] = row
                    vector[m * len(row) : (m + 1) * len(row)] = [-v for v in row]
                    found.append(tuple(vector))
    return [vector for vector in found if any(vector)]


def _feasible(matrix: Integers, right: list[int]) -> bool:
    """Whether matrix x = right has a solution x >= 0. All entries of the tableau share one denominator."""
    rows = [[*row, b] if b >= 0 else [*(-v for v in row), -b] for row, b in zip(matrix, right, strict=True)]
    width = len(rows[0]) - 1
    basis: list[int] = [width + 1 + i for i in range(len(rows))]  # artificial variables
    cost = [-sum(column) for column in zip(*rows, strict=True)]  # of the artificial variables, reduced
    denominator = 1
    while True:
        enter = next((j for j in range(width) if cost[j] < 0), None)
        if enter is None or cost[-1] == 0:
            return cost[-1] == 0
        leave = None
        for i, row in enumerate(rows):
            if row[enter] > 0:
                if leave is None:
                    leave = i
                    continue
                mine, best = row[-1] * rows[leave][enter], rows[leave][-1] * row[enter]
                if mine < best or (mine == best and basis[i] < basis[leave]):
                    leave = i
        assert leave is not None, "the sum of artificial variables is bounded"
        pivot_row, pivot = rows[leave], rows[leave][enter]
        for i, row in enumerate(rows):
            if i != leave and (row[enter] or pivot != denominator):
                rows[i] = _eliminated(row, pivot_row, pivot, row[enter], denominator)
        cost = _eliminated(cost, pivot_row, pivot, cost[enter], denominator)
        basis[leave], denominator = enter, pivot


def _eliminated(row: list[int], pivot_row: list[int], pivot: int, factor: int, denominator: int) -> list[int]:
    """Edmonds' integer pivoting: the division leaves no remainder."""
    return [(pivot * v - factor * u) // denominator for v, u in zip(row, pivot_row, strict=True)]
