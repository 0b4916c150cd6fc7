"""The loops of softmax.py, each compiled when it first meets a type of matrix: seconds, once; then cached."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"})

CLOSE = 0.01  # a step that moves log-odds by no more is the last: the error left is about its square
MOST_STEPS = 500  # for log-odds of thousands
SHORT = 1e-6  # a step that moves log-odds by less needs no damping


@_compiled
def epoch(indptr, indices, data, order, weight, variance, of_intercept, offset, coef, intercept, dual):  # type: ignore[no-untyped-def]
    """One visit of every row, in this order, to its dual probabilities; coef and intercept follow.

    variance (d,): 1 / precision of each row of coef. of_intercept: that of the intercept.
    """
    outputs = np.uintp(coef.shape[1])
    raw, wanted, found, change = np.empty(outputs), np.empty(outputs), np.empty(outputs), np.empty(outputs)
    for i in order:
        begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
        size = of_intercept
        for k in range(outputs):
            raw[k] = intercept[k] + offset[i, k]
        for at in range(begin, end):
            x, j = float(data[at]), np.uintp(indices[at])
            size += x * x * variance[j]
            for k in range(outputs):
                raw[k] += x * coef[j, k]
        pull = weight[i] * size
        for k in range(outputs):
            wanted[k] = raw[k] + pull * dual[i, k]
        settle(raw, pull, wanted, found, change)
        for k in range(outputs):
            change[k] = weight[i] * (dual[i, k] - found[k])
            dual[i, k] = found[k]
            intercept[k] += of_intercept * change[k]
        for at in range(begin, end):
            j = np.uintp(indices[at])
            x = data[at] * variance[j]
            for k in range(outputs):
                coef[j, k] += x * change[k]


@_compiled
def settle(u, pull, wanted, found, step):  # type: ignore[no-untyped-def]
    """Moves u to where u + pull softmax(u) = wanted; found = softmax(u) there. step: room to work in.

    Newton's method on the strictly convex |u - wanted|^2 / 2 + pull log sum e^u, its Hessian a diagonal less a
    product; steps damped to ln(1 + r) / r, r the log-odds they move, under which it falls (Bach 2010,
    doi:10.1214/09-EJS521).
    """
    outputs = np.uintp(len(u))
    for _ in range(MOST_STEPS):
        _softmax(u, found)
        along = across = 0.0
        for k in range(outputs):
            step[k] = wanted[k] - u[k] - pull * found[k]
            share = found[k] / (1 + pull * found[k])
            along += share * step[k]
            across += share
        shared = pull * along / across
        low, high = math.inf, -math.inf
        for k in range(outputs):
            step[k] = (step[k] + shared * found[k]) / (1 + pull * found[k])
            low, high = min(low, step[k]), max(high, step[k])
        reach = high - low
        damping = math.log1p(reach) / reach if reach > SHORT else 1.0
        for k in range(outputs):
            u[k] += damping * step[k]
        if reach <= CLOSE:
            break
    _softmax(u, found)


@_compiled
def _softmax(logits, out):  # type: ignore[no-untyped-def]
    """out = softmax(logits)."""
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
