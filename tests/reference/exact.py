"""F, its minimum and the certificate's bound in mpmath with 50 digits, one row at a time: for small cases."""

from __future__ import annotations

import numpy as np
from mpmath import matrix, mp, mpf

from reference import losses
from reference.objective import Array, Plain

DIGITS = 50


def number(x: object) -> mpf:
    """A longdouble, a float or an mpf, exactly."""
    if isinstance(x, mpf):
        return x
    high = float(x)  # type: ignore[arg-type]
    with mp.workdps(DIGITS):
        return mpf(high) + mpf(float(x - np.longdouble(high))) if isinstance(x, np.longdouble) else mpf(high)


def _rows(array: Array) -> list[list[mpf]]:
    return [[number(v) for v in row] for row in array]


def raw(plain: Plain, theta: list[list[mpf]]) -> list[list[mpf]]:
    """X theta + offset, row by row."""
    outputs, rows = range(plain.target.shape[1]), zip(_rows(plain.x), _rows(plain.offset), strict=True)
    return [[mp.fsum(a * theta[j][k] for j, a in enumerate(row)) + offset[k] for k in outputs] for row, offset in rows]


def value(plain: Plain, theta: Array) -> mpf:
    """F(theta)."""
    with mp.workdps(DIGITS):
        point = _rows(theta)
        target, weight = _rows(plain.target), [number(w) for w in plain.weight]
        total = mp.fsum(w * losses.value(z, y) for w, z, y in zip(weight, raw(plain, point), target, strict=True))
        squares = (number(q) * v * v / 2 for q, row in zip(plain.precision, point, strict=True) for v in row)
        kinks = (number(r) * abs(v) for r, row in zip(plain.rate, point, strict=True) for v in row)
        return total + mp.fsum(squares) + mp.fsum(kinks)


def pull(plain: Plain, theta: Array) -> mpf:
    """How fast F falls, at most, where one entry of theta moves within its bounds: not at all at a minimum.

    Per unit of the column's length.
    """
    with mp.workdps(DIGITS):
        x, point, fastest = _rows(plain.x), _rows(theta), mpf(0)
        weight, target = [number(w) for w in plain.weight], _rows(plain.target)
        moved = [losses.residual(z, y) for z, y in zip(raw(plain, point), target, strict=True)]
        for j, row in enumerate(point):
            length = mp.sqrt(mp.fsum(w * a[j] ** 2 for w, a in zip(weight, x, strict=True)))
            rate, lower, upper = number(plain.rate[j]), mpf(float(plain.lower[j])), mpf(float(plain.upper[j]))
            for k, v in enumerate(row):
                assert lower <= v <= upper
                slope = mp.fsum(w * a[j] * r[k] for w, a, r in zip(weight, x, moved, strict=True))
                slope += number(plain.precision[j]) * v
                growing = -(slope + (rate if v >= 0 else -rate)) if v < upper else 0
                shrinking = slope + (rate if v > 0 else -rate) if v > lower else 0
                fastest = max(fastest, growing / length, shrinking / length)
        return fastest


def minimum(plain: Plain, start: Array, steps: int = 6) -> mpf:
    """min F of a binary problem by Newton's method from a start that is already close."""
    assert plain.target.shape[1] == 1
    n, p = plain.x.shape
    with mp.workdps(DIGITS):
        x, y = _rows(plain.x), [row[0] for row in _rows(plain.target)]
        weight, precision = [number(w) for w in plain.weight], [number(q) for q in plain.precision]
        theta = [row[0] for row in _rows(start)]
        for _ in range(steps):
            z = [mp.fsum(a * b for a, b in zip(row, theta, strict=True)) for row in x]
            q = [1 / (1 + mp.exp(-v)) for v in z]
            gradient, hessian = matrix(p, 1), matrix(p, p)
            for i in range(n):
                for a in range(p):
                    gradient[a] += weight[i] * (q[i] - y[i]) * x[i][a]
                    for b in range(p):
                        hessian[a, b] += weight[i] * q[i] * (1 - q[i]) * x[i][a] * x[i][b]
            for a in range(p):
                gradient[a] += precision[a] * theta[a]
                hessian[a, a] += precision[a]
            step = mp.lu_solve(hessian, -gradient)
            theta = [theta[a] + step[a] for a in range(p)]
        return value(plain, np.array([[t] for t in theta], dtype=object))


def bound(plain: Plain, theta: Array, residual: Array) -> mpf:
    """The certificate by its definition: sum_i s_i KL(q_i || p_i) + Omega(w) + Omega*(u) - <w, u>.

    q = target + residual as given; u = -X'(s residual) on the penalised columns, where Omega* = u^2 / (2 precision).
    """
    with mp.workdps(DIGITS):
        point, moved, target = _rows(theta), _rows(residual), _rows(plain.target)
        total = mpf(0)
        for w, z, r, y in zip(plain.weight, raw(plain, point), moved, target, strict=True):
            total += number(w) * losses.divergence([a + b for a, b in zip(y, r, strict=True)], z)
        x = _rows(plain.x)
        for j, q in enumerate(plain.precision):
            if q > 0:
                for k in range(plain.target.shape[1]):
                    rows = zip(plain.weight, x, moved, strict=True)
                    u = -mp.fsum(number(w) * row[j] * r[k] for w, row, r in rows)
                    total += number(q) / 2 * (point[j][k] - u / number(q)) ** 2
        return total
