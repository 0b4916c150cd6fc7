"""The loops of dual.py, compiled when they are first called with a type of matrix, in a second or two, then cached.

The values of row i are data[indptr[i]:indptr[i + 1]], their columns the same part of indices. Indices are unsigned, as
in csr_loops.py.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.csr_loops import dot

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
_inlined = njit(inline="always")

# Halley's method ends after a step of at most this many log-odds; the error is below half the cube of that.
LOGIT_TOL = 0.005
MAX_STEPS = 50  # the most Halley steps for one row
MIN_VARIANCE = 1e-12  # replaces smaller variances of a label where the code divides by them


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
def _product(indices, data, begin, end, v, thresholds):  # type: ignore[no-untyped-def]
    """The row times the coefficients: S(v, thresholds), or v where there are none."""
    if thresholds is None:
        return dot(indices, data, begin, end, v)
    total = 0.0
    for at in range(begin, end):
        j = np.uintp(indices[at])
        total += data[at] * (v[j] - min(max(v[j], -thresholds[j]), thresholds[j]))
    return total


@_compiled
def squared_norms(indptr, data, out):  # type: ignore[no-untyped-def]
    """Set out_i to |x_i|^2."""
    for i in range(len(out)):
        square = 0.0
        for at in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            square += float(data[at]) * data[at]
        out[i] = square


@_compiled
def solve_residual(z, q, r, y):  # type: ignore[no-untyped-def]
    """The residual r(t) at the root of t + q (r(t) - r) = z, by Halley's method in the logit t, within a bracket.

    The root lies between z + q (r + y) - q and z + q (r + y), since 0 < r(t) + y < 1. A step that leaves the bracket,
    or is more than half as long as the last, is replaced by one to the middle of the bracket.
    """
    high = z + q * (r + y)
    low = high - q
    t = min(max(z, low), high)
    new, last = _residual(t, y), high - low
    for _ in range(MAX_STEPS):
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
        if abs(step) <= LOGIT_TOL:
            break
    return new


@_compiled
def sweep(  # type: ignore[no-untyped-def]
    indptr,
    indices,
    data,
    starts,
    size,
    target,
    weight,
    offset,
    squared_norm,
    rate,
    thresholds,
    intercept,
    intercept_rate,
    residual,
    v,
):
    """Dual ascent over the rows of some blocks: changes residual and v, and returns the intercept and the dual's gain.

    The coefficients are v, or S(v, thresholds) where there are thresholds. The gain is the sum of that of every row's
    step, to second order.
    """
    n, gain = len(indptr) - 1, 0.0
    for start in starts:
        for i in range(start, min(start + size, n)):
            s = weight[i]
            if s == 0.0:
                continue
            begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
            z = intercept + offset[i] + _product(indices, data, begin, end, v, thresholds)
            q, old = s * (rate * squared_norm[i] + intercept_rate), residual[i]
            new = solve_residual(z, q, old, target[i])
            residual[i] = new
            p = new + target[i]
            gain += 0.5 * s * (new - old) * (new - old) * (q + 1.0 / max(p * (1.0 - p), MIN_VARIANCE))
            move = -s * (new - old)
            intercept += intercept_rate * move
            move *= rate
            for at in range(begin, end):
                v[np.uintp(indices[at])] += move * data[at]
    return intercept, gain


@_compiled
def merge(v, copies, share, low, high):  # type: ignore[no-untyped-def]
    """Add `share` times the sum of the copies' changes to v, and set the copies to v, in the columns low..high - 1."""
    for j in range(low, high):
        change = 0.0
        for k in range(len(copies)):
            change += copies[k, j] - v[j]
        v[j] += share * change
        for k in range(len(copies)):
            copies[k, j] = v[j]
