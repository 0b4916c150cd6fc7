"""The loop of streaming Newton that goes row by row: experts that follow a drift.

Compiled when it first meets its arrays: some seconds, once; then cached.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from torchlogit.kernels.dual_loops import nearest
from torchlogit.kernels.softmax_loops import settle

_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


@_compiled
def follow(X, target, weight, offset, rates, centered, seen, mean, square, coef, intercept, raws):  # type: ignore[no-untyped-def]
    """raws (f, n, outputs) = what those that follow say of each row before they move by it.

    coef (f, outputs, d) and intercept (f, outputs) take a step that minimises s loss(t) + |t - w|^2 / (2 rate), the
    distance in units of the columns' running mean and variance (square / seen). seen: the weight of the rows so far.
    """
    n, d = X.shape
    outputs = target.shape[1]
    x, r, wanted, step, u = np.empty(d), np.empty(outputs), np.empty(outputs), np.empty(outputs), np.empty(outputs)
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
        share = s / seen if centered else 0.0
        size = at_zero = 1.0 if centered else 0.0
        for j in range(d):
            value = X[i, j]
            change = value - mean[j]
            mean[j] += share * change
            after = value - mean[j]
            square[j] += s * change * after
            x[j] = after * seen / square[j] if square[j] > 0.0 else 0.0
            size += x[j] * after
            at_zero -= x[j] * mean[j]
        for e in range(len(rates)):
            rate = s * rates[e]
            pull = rate * size
            if outputs == 1:
                r[0] = nearest(raws[e, i, 0], pull, 0.0, target[i, 0])
            else:
                for k in range(outputs):
                    u[k] = raws[e, i, k]
                    wanted[k] = u[k] + pull * target[i, k]
                settle(u, pull, wanted, r, step)
                for k in range(outputs):
                    r[k] -= target[i, k]
            for k in range(outputs):
                move = -rate * r[k]
                for j in range(d):
                    coef[e, k, j] += move * x[j]
                intercept[e, k] += move * at_zero
