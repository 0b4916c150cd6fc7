"""The row-by-row steps of ScaleFree, as a compiled loop. Compiling takes seconds at the first call and is cached."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.dual_loops import solve_residual
from torchlogit.kernels.softmax_loops import solve_softmax

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
    intercept_free,
    rates,
    power,
    totals,
    scale,
    gradient_squares,
    coef,
    lag,
    raws,
):
    """Set raws (2 e, n, outputs) to the prediction of each row by 2 e experts, which then take a step from it.

    The first e experts are the points at rates (e,); the other e predict with the means of those points so far, each
    point weighted by (weight so far)^power. The last entry of precision (p,) of the penalty, of scale (p,), the largest
    |x| of each column, of gradient_squares (p, e), and of coef and lag (p, e, outputs) is the intercept's.
    The mean of the points is coef - lag / totals[3]. totals: number of rows, sum of weights s, sum of s times the
    row's squared length after scaling, and the total weight in the means. All of these are updated in place.
    """
    outputs, experts, last = target.shape[1], len(rates), len(scale) - 1
    raw = np.empty((2 * experts, outputs))
    residual, shifted, step = np.empty((experts, outputs)), np.empty(outputs), np.empty(outputs)
    step_size = np.empty(experts)
    for i in range(len(indptr) - 1):
        begin, end = indptr[i], indptr[i + 1]
        stop = end + 1 if intercept_free else end
        s, per_mean_weight = weight[i], (1.0 / totals[3] if totals[3] > 0.0 else 0.0)
        for e in range(2 * experts):
            for k in range(outputs):
                raw[e, k] = offset[i, k]
        length = 0.0
        for at in range(begin, stop):
            j, x = (indices[at], float(data[at])) if at < end else (last, 1.0)
            if s > 0.0:
                if abs(x) > scale[j]:
                    _rescale(coef[j], lag[j], scale[j] / abs(x), totals[3])
                    scale[j] = abs(x)
                if x != 0.0:
                    length += (x / scale[j]) ** 2
            for e in range(experts):
                for k in range(outputs):
                    raw[e, k] += x * coef[j, e, k]
                    raw[experts + e, k] += x * (coef[j, e, k] - per_mean_weight * lag[j, e, k])
        for e in range(2 * experts):
            for k in range(outputs):
                raws[e, i, k] = raw[e, k]
        totals[0] += 1.0
        if s == 0.0:
            continue
        totals[1] += s
        totals[2] += s * length
        root_density = math.sqrt(totals[2] / totals[1])
        for e in range(experts):
            step_size[e] = 0.0
            _implicit_residual(raw[e], 0.0, target[i], residual[e], shifted, step)
        for at in range(begin, stop):
            j, x = (indices[at], float(data[at])) if at < end else (last, 1.0)
            if x == 0.0:
                continue
            for e in range(experts):
                for k in range(outputs):
                    gradient_squares[j, e] += s * (residual[e, k] * x) ** 2
                metric = precision[j] + math.sqrt(gradient_squares[j, e]) * scale[j] * root_density / rates[e]
                if metric > 0.0:
                    step_size[e] += s * x * x / metric
        for e in range(experts):
            _implicit_residual(raw[e], step_size[e], target[i], residual[e], shifted, step)
        for at in range(begin, stop):
            j, x = (indices[at], float(data[at])) if at < end else (last, 1.0)
            if x == 0.0:
                continue
            for e in range(experts):
                metric = precision[j] + math.sqrt(gradient_squares[j, e]) * scale[j] * root_density / rates[e]
                if metric > 0.0:
                    for k in range(outputs):
                        move = -s * residual[e, k] * x / metric
                        coef[j, e, k] += move
                        lag[j, e, k] += totals[3] * move
        totals[3] += s * totals[1] ** power


@_compiled
def _rescale(coef, lag, factor, mean_weight):  # type: ignore[no-untyped-def]
    """Multiply a column's coefficients by factor, since its largest value has grown by 1 / factor."""
    for e in range(coef.shape[0]):
        for k in range(coef.shape[1]):
            move = (factor - 1.0) * coef[e, k]
            coef[e, k] += move
            lag[e, k] += mean_weight * move


@_compiled
def _implicit_residual(raw, step_size, target, residual, shifted, step):  # type: ignore[no-untyped-def]
    """Set residual to that at the end of an implicit step of this size from raw; for softmax, raw is overwritten."""
    if len(raw) == 1:
        residual[0] = solve_residual(raw[0], step_size, 0.0, target[0])
        return
    for k in range(len(raw)):
        shifted[k] = raw[k] + step_size * target[k]
    solve_softmax(raw, step_size, shifted, residual, step)
    for k in range(len(raw)):
        residual[k] -= target[k]
