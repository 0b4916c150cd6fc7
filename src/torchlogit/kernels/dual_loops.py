"""The loops of dual.py, compiled when they first meet a type of matrix: a second or two, once; then cached.

Row i has its values in data[indptr[i]:indptr[i + 1]], of the columns in indices. Places are unsigned, as they are in
csr_loops.py.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.csr_loops import dot

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
_inlined = njit(inline="always")

CLOSE = 0.005  # a step in the logit so short is the last: the error left is less than half its cube
MOST_STEPS = 50
RARE = 1e-12  # the least variance of a row that a gain is divided by


@_inlined
def _residual(t, y):  # type: ignore[no-untyped-def]
    """(1 - y) sigma(t) - y sigma(-t)."""
    e = math.exp(-abs(t))
    large = 1.0 / (1.0 + e)
    small = e * large
    if t > 0.0:
        return (1.0 - y) * large - y * small
    return (1.0 - y) * small - y * large


@_compiled
def _product(indices, data, begin, end, v, kinks):  # type: ignore[no-untyped-def]
    """The row times S(v, kinks), or v where there are no kinks."""
    if kinks is None:
        return dot(indices, data, begin, end, v)
    total = 0.0
    for at in range(begin, end):
        j = np.uintp(indices[at])
        total += data[at] * (v[j] - min(max(v[j], -kinks[j]), kinks[j]))
    return total


@_compiled
def lengths(indptr, data, out):  # type: ignore[no-untyped-def]
    """out_i = |x_i|^2."""
    for i in range(len(out)):
        square = 0.0
        for at in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            square += float(data[at]) * data[at]
        out[i] = square


@_compiled
def nearest(z, q, r, y):  # type: ignore[no-untyped-def]
    """The residual r(t) at the root of t + q (r(t) - r) = z: Halley's steps in the logit t, within a bracket.

    The root lies between z + q (r + y) - q and z + q (r + y), since 0 < r(t) + y < 1. A step that leaves the bracket,
    or is more than half as long as the last, is replaced by one to its middle.
    """
    high = z + q * (r + y)
    low = high - q
    t = min(max(z, low), high)
    new, last = _residual(t, y), high - low
    for _ in range(MOST_STEPS):
        g = t + q * (new - r) - z
        if g > 0.0:
            high = t
        else:
            low = t
        p = new + y
        bend = q * max(p * (1.0 - p), 0.0)
        slope = 1.0 + bend
        step = -g * slope / (slope * slope - 0.5 * g * bend * (1.0 - 2.0 * p))
        if not low <= t + step <= high or abs(step) > 0.5 * last:
            step = 0.5 * (low + high) - t
        t, last = t + step, abs(step)
        new = _residual(t, y)
        if abs(step) <= CLOSE:
            break
    return new


@_compiled
def sweep(  # type: ignore[no-untyped-def]
    indptr, indices, data, starts, size, target, weight, offset, square, rate, kinks, intercept, give, residual, v
):
    """Dual ascent over the rows of some blocks; moves residual and v, and returns the intercept and the dual's gain.

    The coefficients are v, or S(v, kinks) where there are kinks. The gain is that of each row's own step, to second
    order.
    """
    n, gain = len(indptr) - 1, 0.0
    for start in starts:
        for i in range(start, min(start + size, n)):
            s = weight[i]
            if s == 0.0:
                continue
            begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
            z = intercept + offset[i] + _product(indices, data, begin, end, v, kinks)
            q, old = s * (rate * square[i] + give), residual[i]
            new = nearest(z, q, old, target[i])
            residual[i] = new
            p = new + target[i]
            gain += 0.5 * s * (new - old) * (new - old) * (q + 1.0 / max(p * (1.0 - p), RARE))
            move = -s * (new - old)
            intercept += give * move
            move *= rate
            for at in range(begin, end):
                v[np.uintp(indices[at])] += move * data[at]
    return intercept, gain


@_compiled
def merge(v, copies, share, low, high):  # type: ignore[no-untyped-def]
    """Adds this share of all copies' changes to v, on the columns from low to before high, and makes them alike."""
    for j in range(low, high):
        change = 0.0
        for k in range(len(copies)):
            change += copies[k, j] - v[j]
        v[j] += share * change
        for k in range(len(copies)):
            copies[k, j] = v[j]
