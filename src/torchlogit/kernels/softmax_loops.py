"""The compiled epoch of dual ascent for softmax, and the equation of one row.

Compiled when first called with a type of matrix, in some seconds, then cached.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"})

LOGIT_TOL = 0.01  # Newton's method ends after a step of at most this many log-odds; the error is about the square
MAX_STEPS = 500  # the most Newton steps for one row, enough for log-odds of thousands
UNDAMPED = 1e-6  # steps of up to this many log-odds are not damped: ln(1 + r) / r is within r / 2 of 1


@_compiled
def epoch(  # type: ignore[no-untyped-def]
    indptr, indices, data, order, weight, variance, intercept_variance, offset, coef, intercept, dual
):
    """Visit every row of a CSR matrix in this order, and move its probabilities to the maximum of the dual over it.

    weight (n,). variance (d,): 1 / precision of each row of coef; intercept_variance: that of the intercept. offset
    (n, K). Changes dual (n, K), and with it coef (d, K) and intercept (K,), in place.
    """
    outputs = np.uintp(coef.shape[1])
    raw, shifted, softmax, change = np.empty(outputs), np.empty(outputs), np.empty(outputs), np.empty(outputs)
    for i in order:
        begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
        size = intercept_variance
        for k in range(outputs):
            raw[k] = intercept[k] + offset[i, k]
        for at in range(begin, end):
            x, j = float(data[at]), np.uintp(indices[at])
            size += x * x * variance[j]
            for k in range(outputs):
                raw[k] += x * coef[j, k]
        curvature = weight[i] * size
        for k in range(outputs):
            shifted[k] = raw[k] + curvature * dual[i, k]
        solve_softmax(raw, curvature, shifted, softmax, change)
        for k in range(outputs):
            change[k] = weight[i] * (dual[i, k] - softmax[k])
            dual[i, k] = softmax[k]
            intercept[k] += intercept_variance * change[k]
        for at in range(begin, end):
            j = np.uintp(indices[at])
            x = data[at] * variance[j]
            for k in range(outputs):
                coef[j, k] += x * change[k]


@_compiled
def solve_softmax(u, curvature, shifted, softmax, step):  # type: ignore[no-untyped-def]
    """Move u to the root of u + curvature softmax(u) = shifted, and set softmax to softmax(u). step: overwritten.

    By Newton's method on the strictly convex |u - shifted|^2 / 2 + curvature log sum e^u, whose Hessian is a diagonal
    less a matrix of rank one. Steps are damped to ln(1 + r) / r, r the log-odds they move, under which the function
    falls (Bach 2010, doi:10.1214/09-EJS521).
    """
    outputs = np.uintp(len(u))
    for _ in range(MAX_STEPS):
        _softmax(u, softmax)
        along = across = 0.0
        for k in range(outputs):
            step[k] = shifted[k] - u[k] - curvature * softmax[k]
            share = softmax[k] / (1 + curvature * softmax[k])
            along += share * step[k]
            across += share
        shared = curvature * along / across
        low, high = math.inf, -math.inf
        for k in range(outputs):
            step[k] = (step[k] + shared * softmax[k]) / (1 + curvature * softmax[k])
            low, high = min(low, step[k]), max(high, step[k])
        reach = high - low
        damping = math.log1p(reach) / reach if reach > UNDAMPED else 1.0
        for k in range(outputs):
            u[k] += damping * step[k]
        if reach <= LOGIT_TOL:
            break
    _softmax(u, softmax)


@_compiled
def _softmax(logits, out):  # type: ignore[no-untyped-def]
    """Set out to softmax(logits)."""
    top = logits[0]
    outputs = np.uintp(len(logits))
    for k in range(outputs):
        top = max(top, logits[k])
    total = 0.0
    for k in range(outputs):
        out[k] = math.exp(logits[k] - top)
        total += out[k]
    for k in range(outputs):
        out[k] /= total
