"""The row-by-row experts of StreamingNewton, as a compiled loop: implicit gradient steps at several learning rates.

Compiling takes some seconds at the first call and is cached.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.dual_loops import solve_residual
from torchlogit.kernels.softmax_loops import solve_softmax

_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")

# A column's unit follows its standard deviation where the latter's square has grown by this factor. Larger: a model is
# extrapolated further along a column that grows with time, and the unit changes in fewer rows.
GROWTH = 1.1


@_compiled
def follow(  # type: ignore[no-untyped-def]
    X, target, weight, offset, rates, intercept_free, seen, mean, square, coef, intercept, raws
):
    """Set raws (f, n, outputs) to the prediction of each row by each of f experts, which then take a step from it.

    A step minimises  s loss(t) + |t - w|^2 / (2 rate)  over the coefficients t, where the distance is measured in units
    of the columns' running standard deviations, sqrt(square / seen). coef (f, outputs, d), intercept (f, outputs),
    seen (1,), the weight of all rows so far, and the columns' running mean and centred sum of squares, mean and square
    (d,), are updated in place. intercept_free: whether the model has an intercept.

    The mean and the standard deviation change before a row is predicted, and the coefficients per standard deviation
    stay: with a column that grows with time, a model is not extrapolated. A standard deviation that falls leaves the
    coefficients alone, so that those of a level that has not occurred for long do not grow.
    """
    n, d = X.shape
    outputs = target.shape[1]
    u, residual = np.empty(d), np.empty(outputs)
    shifted, step, raw = np.empty(outputs), np.empty(outputs), np.empty(outputs)
    unit, limit, known = np.ones(d), np.zeros(d), seen[0]
    for j in range(d):
        if square[j] > 0.0:
            unit[j], limit[j] = math.sqrt(square[j] / known), GROWTH * square[j] / known
    inverse = 1.0 / unit
    _change_units(coef, intercept, unit, mean, 1.0)
    for i in range(n):
        s = weight[i]
        length, grown = 1.0 if intercept_free else 0.0, False
        known += s
        share = s / known if intercept_free and s > 0.0 else 0.0
        for j in range(d):
            change = X[i, j] - mean[j]
            mean[j] += share * change
            centred = X[i, j] - mean[j]
            square[j] += s * change * centred
            grown |= square[j] > limit[j] * known
            u[j] = centred * inverse[j]
            length += u[j] * u[j]
        if grown:
            length = 1.0 if intercept_free else 0.0
            for j in range(d):
                if square[j] > limit[j] * known:
                    deviation = math.sqrt(square[j] / known)
                    if limit[j] == 0.0:  # the column's first values: the coefficient itself stays
                        coef[:, :, j] *= deviation * inverse[j]
                    unit[j], inverse[j], limit[j] = deviation, 1.0 / deviation, GROWTH * square[j] / known
                    u[j] = (X[i, j] - mean[j]) * inverse[j]
                length += u[j] * u[j]
        for e in range(len(rates)):
            for k in range(outputs):
                z = 0.0
                for j in range(d):
                    z += coef[e, k, j] * u[j]
                raws[e, i, k] = z + intercept[e, k] + offset[i, k]
        if s == 0.0:
            continue
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
                    coef[e, k, j] += move * u[j]
                if intercept_free:
                    intercept[e, k] += move
    seen[0] = known
    _change_units(coef, intercept, 1.0 / unit, mean, -1.0)


@_compiled
def _change_units(coef, intercept, unit, mean, sign):  # type: ignore[no-untyped-def]
    """Multiply the coefficients by unit (d,) and add sign * mean @ coef, per own unit, to the intercept."""
    for e in range(coef.shape[0]):
        for k in range(coef.shape[1]):
            for j in range(coef.shape[2]):
                changed = coef[e, k, j] * unit[j]
                intercept[e, k] += sign * mean[j] * (coef[e, k, j] if sign > 0.0 else changed)
                coef[e, k, j] = changed
