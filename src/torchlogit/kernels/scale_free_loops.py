"""The loop of the scale-free online method, compiled when it first meets a type of matrix; then cached."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.dual_loops import nearest
from torchlogit.kernels.softmax_loops import settle

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")


@_compiled
def learn(  # type: ignore[no-untyped-def]
    indptr,
    indices,
    data,
    target,
    weight,
    offset,
    precision,
    intercept,
    rates,
    power,
    totals,
    scale,
    squares,
    coef,
    drawn,
    raws,
):
    """raws (2 e, rows, outputs) = what is said of each row, from which every expert then steps.

    The steps are implicit, in the metric of the expert's own gradients. The last row of scale (p,), squares (p, e),
    coef and drawn (p, e, outputs) is the intercept's, precision (p,) of the prior. drawn / totals[3] is what the mean
    of the points lags behind coef. totals: rows, weight, size, mean_weight.
    """
    outputs, experts, last = target.shape[1], len(rates), len(scale) - 1
    own = np.empty((2 * experts, outputs))
    residual, wanted, step = np.empty((experts, outputs)), np.empty(outputs), np.empty(outputs)
    pull = np.empty(experts)
    for i in range(len(indptr) - 1):
        begin, end = indptr[i], indptr[i + 1]
        stop = end + 1 if intercept else end
        s, lag = weight[i], (1.0 / totals[3] if totals[3] > 0.0 else 0.0)
        for e in range(2 * experts):
            for k in range(outputs):
                own[e, k] = offset[i, k]
        size = 0.0
        for at in range(begin, stop):
            j, x = (indices[at], float(data[at])) if at < end else (last, 1.0)
            if s > 0.0:
                if abs(x) > scale[j]:
                    _rescale(coef[j], drawn[j], scale[j] / abs(x), totals[3])
                    scale[j] = abs(x)
                if x != 0.0:
                    size += (x / scale[j]) ** 2
            for e in range(experts):
                for k in range(outputs):
                    own[e, k] += x * coef[j, e, k]
                    own[experts + e, k] += x * (coef[j, e, k] - lag * drawn[j, e, k])
        for e in range(2 * experts):
            for k in range(outputs):
                raws[e, i, k] = own[e, k]
        totals[0] += 1.0
        if s == 0.0:
            continue
        totals[1] += s
        totals[2] += s * size
        density = math.sqrt(totals[2] / totals[1])
        for e in range(experts):
            pull[e] = 0.0
            _implicit(own[e], 0.0, target[i], residual[e], wanted, step)
        for at in range(begin, stop):
            j, x = (indices[at], float(data[at])) if at < end else (last, 1.0)
            if x == 0.0:
                continue
            for e in range(experts):
                for k in range(outputs):
                    squares[j, e] += s * (residual[e, k] * x) ** 2
                held = precision[j] + math.sqrt(squares[j, e]) * scale[j] * density / rates[e]
                if held > 0.0:
                    pull[e] += s * x * x / held
        for e in range(experts):
            _implicit(own[e], pull[e], target[i], residual[e], wanted, step)
        for at in range(begin, stop):
            j, x = (indices[at], float(data[at])) if at < end else (last, 1.0)
            if x == 0.0:
                continue
            for e in range(experts):
                held = precision[j] + math.sqrt(squares[j, e]) * scale[j] * density / rates[e]
                if held > 0.0:
                    for k in range(outputs):
                        move = -s * residual[e, k] * x / held
                        coef[j, e, k] += move
                        drawn[j, e, k] += totals[3] * move
        totals[3] += s * totals[1] ** power


@_compiled
def _rescale(coef, drawn, factor, mean_weight):  # type: ignore[no-untyped-def]
    """A column's coefficients once its largest value has grown by 1 / factor."""
    for e in range(coef.shape[0]):
        for k in range(coef.shape[1]):
            move = (factor - 1.0) * coef[e, k]
            coef[e, k] += move
            drawn[e, k] += mean_weight * move


@_compiled
def _implicit(raw, pull, target, residual, wanted, step):  # type: ignore[no-untyped-def]
    """residual = that of the point to which a step of this pull leads from raw, which softmax moves there."""
    if len(raw) == 1:
        residual[0] = nearest(raw[0], pull, 0.0, target[0])
        return
    for k in range(len(raw)):
        wanted[k] = raw[k] + pull * target[k]
    settle(raw, pull, wanted, residual, step)
    for k in range(len(raw)):
        residual[k] -= target[k]
