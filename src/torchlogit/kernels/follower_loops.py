"""The row-by-row experts of StreamingNewton, as a compiled loop: implicit gradient steps at several learning rates.

Compiling takes some seconds at the first call and is cached.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from torchlogit.kernels.dual_loops import solve_residual
from torchlogit.kernels.softmax_loops import solve_softmax

_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


@_compiled
def follow(  # type: ignore[no-untyped-def]
    X, target, weight, offset, rates, intercept_free, seen, mean, square, coef, intercept, raws
):
    """Set raws (f, n, outputs) to the prediction of each row by each of f experts, which then take a step from it.

    A step minimises  s loss(t) + |t - w|^2 / (2 rate)  over the coefficients t, where the distance is measured in units
    of the columns' running standard deviations, sqrt(square / seen). coef (f, outputs, d), intercept (f, outputs) and
    the columns' running mean and centred sum of squares, mean and square (d,), are updated in place.
    seen: the weight of all rows before these. intercept_free: whether the model has an intercept.
    """
    n, d = X.shape
    outputs = target.shape[1]
    direction, residual = np.empty(d), np.empty(outputs)
    shifted, step, raw = np.empty(outputs), np.empty(outputs), np.empty(outputs)
    for i in range(n):
        for e in range(len(rates)):
            for k in range(outputs):
                z = 0.0
                for j in range(d):
                    z += coef[e, k, j] * X[i, j]
                raws[e, i, k] = z + intercept[e, k] + offset[i, k]
        s = weight[i]
        if s == 0.0:
            continue
        seen += s
        share = s / seen if intercept_free else 0.0
        length = at_zero = 1.0 if intercept_free else 0.0
        for j in range(d):
            value = X[i, j]
            change = value - mean[j]
            mean[j] += share * change
            centred = value - mean[j]
            square[j] += s * change * centred
            direction[j] = centred * seen / square[j] if square[j] > 0.0 else 0.0
            length += direction[j] * centred
            at_zero -= direction[j] * mean[j]
        for e in range(len(rates)):
            rate = s * rates[e]
            step_size = rate * length  # how far the row's raw prediction moves per unit of residual
            if outputs == 1:
                residual[0] = solve_residual(raws[e, i, 0], step_size, 0.0, target[i, 0])
            else:
                for k in range(outputs):
                    raw[k] = raws[e, i, k]
                    shifted[k] = raw[k] + step_size * target[i, k]
                solve_softmax(raw, step_size, shifted, residual, step)
                for k in range(outputs):
                    residual[k] -= target[i, k]
            for k in range(outputs):
                move = -rate * residual[k]
                for j in range(d):
                    coef[e, k, j] += move * direction[j]
                intercept[e, k] += move * at_zero
