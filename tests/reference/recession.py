"""Separation by enumeration, in rational arithmetic: all extreme rays of the cone of separating directions.

For tables of a few rows and columns whose columns are independent. Every ray is determined by size - 1 inequalities
that hold with equality, so all subsets of that many inequalities are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

Vector = list[Fraction]


@dataclass(frozen=True)
class Recession:
    """Whether the classes are separated and completely so, and the signs of the infinite parameters.

    signs: (column, output, sign), columns as in `rows`, of the parameters that go to infinity with F to its infimum.
    independent: whether the columns are; without that nothing else is known.
    """

    independent: bool
    separated: bool = False
    complete: bool = False
    signs: frozenset[tuple[int, int, int]] = frozenset()


def recession(rows: Sequence[Sequence[float]], target: Sequence[Sequence[float]]) -> Recession:
    """rows (n, p), the intercept's ones among the columns; target (n, 1) or (n, classes), as in the package."""
    outputs, p = len(target[0]), len(rows[0])
    free = max(outputs - 1, 1)  # the last of several classes has parameters of zero
    exact = [[Fraction(float(v)) for v in row] for row in rows]
    margins = [tuple(m) for x, y in zip(exact, target, strict=True) for m in _margins(x, y, free)]
    distinct = [list(m) for m in dict.fromkeys(margins) if any(m)]
    size = p * free
    if _rank(distinct, size) < size:
        return Recession(independent=False)
    rays = list(_rays(distinct, size))
    middle = [sum(column, Fraction(0)) for column in zip(*rays, strict=True)] if rays else []
    complete = bool(rays) and all(_dot(m, middle) > 0 for m in margins)
    signs = set()
    for j in range(p):
        for k in range(outputs):
            values = [_parameter(ray, j, k, p, outputs) for ray in rays]
            if any(values) and (min(values) >= 0 or max(values) <= 0):
                signs.add((j, k, 1 if max(values) > 0 else -1))
    return Recession(True, bool(rays), complete, frozenset(signs))


def _margins(x: Vector, y: Sequence[float], free: int) -> Iterator[Vector]:
    """The linear functions of the parameters, output by output, that a separating direction does not make negative."""
    zero = [Fraction(0)] * len(x)
    if len(y) == 1:
        if y[0] > 0:
            yield x
        if y[0] < 1:
            yield [-v for v in x]
        return
    for k, share in enumerate(y):
        for m in range(len(y)) if share > 0 else ():
            if m != k:
                blocks = [x if b == k else [-v for v in x] if b == m else zero for b in range(free)]
                yield [v for block in blocks for v in block]


def _parameter(ray: Vector, j: int, k: int, p: int, outputs: int) -> Fraction:
    """The parameter of column j and output k along the ray; those of several outputs sum to zero."""
    if outputs == 1:
        return ray[j]
    values = [ray[b * p + j] for b in range(outputs - 1)] + [Fraction(0)]
    return values[k] - sum(values, Fraction(0)) / outputs


def _rays(margins: list[Vector], size: int) -> Iterator[Vector]:
    for chosen in combinations(margins, size - 1):
        ray = _null_vector([list(row) for row in chosen], size)
        if ray is None:
            continue
        values = [_dot(m, ray) for m in margins]
        if min(values) >= 0:
            yield ray
        elif max(values) <= 0:
            yield [-v for v in ray]


def _dot(first: Sequence[Fraction], second: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(first, second, strict=True) if a and b), Fraction(0))


def _eliminated(matrix: list[Vector], size: int) -> list[int]:
    """The columns of the pivots; the matrix is reduced in place, a row for each pivot first."""
    pivots = list[int]()
    for j in range(size):
        at = next((i for i in range(len(pivots), len(matrix)) if matrix[i][j]), None)
        if at is None:
            continue
        here = len(pivots)
        matrix[here], matrix[at] = matrix[at], matrix[here]
        pivot = matrix[here][j]
        matrix[here] = [v / pivot for v in matrix[here]]
        for i, row in enumerate(matrix):
            if i != here and row[j]:
                matrix[i] = [a - row[j] * b for a, b in zip(row, matrix[here], strict=True)]
        pivots.append(j)
    return pivots


def _rank(rows: list[Vector], size: int) -> int:
    return len(_eliminated([list(row) for row in rows], size))


def _null_vector(rows: list[Vector], size: int) -> Vector | None:
    """The direction that is orthogonal to these size - 1 rows, None where they are dependent."""
    pivots = _eliminated(rows, size)
    if len(pivots) < size - 1:
        return None
    free = next(j for j in range(size) if j not in pivots)
    result = [Fraction(0)] * size
    result[free] = Fraction(1)
    for row, j in zip(rows, pivots, strict=False):
        result[j] = -row[free]
    return result
