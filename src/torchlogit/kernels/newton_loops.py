"""The loops of streaming Newton that join a block of rows to a model of the past, over the BLAS that scipy has.

Compiled when they first meet their arrays: some seconds, once; then cached. Free coordinates are those of objective.py:
theta (n_free p,), one output after another, basis (outputs, n_free).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.fast_math import exp_below

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")

SHORT = 1e-6  # a step that moves log-odds by less needs no damping
DAMPING = 1e-11  # of a unit diagonal: what gives a singular matrix a Cholesky factor


@_compiled
def residuals(raw, target, out):  # type: ignore[no-untyped-def]
    """out = probability - target, of a logit where there is one output, of softmax where there are more."""
    n, outputs = raw.shape
    if outputs == 1:
        z, y, r = raw.reshape(n), target.reshape(n), out.reshape(n)
        for i in range(n):
            e = exp_below(-abs(z[i]))
            large = 1.0 / (1.0 + e)
            small = e * large
            up, down = (large, small) if z[i] > 0.0 else (small, large)
            r[i] = (1.0 - y[i]) * up - y[i] * down
        return
    for i in range(n):
        top = raw[i, 0]
        for k in range(1, outputs):
            top = max(top, raw[i, k])
        total = 0.0
        for k in range(outputs):
            out[i, k] = math.exp(raw[i, k] - top)
            total += out[i, k]
        for k in range(outputs):
            out[i, k] = out[i, k] / total - target[i, k]


@_compiled
def curvatures(residual, target, weight, basis, k, m, out):  # type: ignore[no-untyped-def]
    """out = weight times the covariance of the probabilities along columns k and m of the basis."""
    n, outputs = residual.shape
    for i in range(n):
        if outputs == 1:
            q = residual[i, 0] + target[i, 0]
            out[i] = weight[i] * max(q * (1.0 - q), 0.0)
            continue
        first = second = both = 0.0
        for o in range(outputs):
            q = residual[i, o] + target[i, o]
            first += q * basis[o, k]
            second += q * basis[o, m]
            both += q * basis[o, k] * basis[o, m]
        out[i] = weight[i] * (both - first * second)


@_compiled
def gram(X, residual, target, weight, basis, room, curvature, out):  # type: ignore[no-untyped-def]
    """out = the Hessian of the rows' losses at the probabilities that residual carries. room (n, p), curvature (n,)."""
    n, p = X.shape
    n_free = basis.shape[1]
    for k in range(n_free):
        for m in range(k + 1):
            curvatures(residual, target, weight, basis, k, m, curvature)
            for i in range(n):
                for j in range(p):
                    room[i, j] = X[i, j] * curvature[i]
            block = np.dot(room.T, X)
            for j in range(p):
                for other in range(p):
                    out[k * p + j, m * p + other] = block[j, other]
                    out[m * p + other, k * p + j] = block[j, other]


@_compiled
def score(X, residual, weight, basis, out):  # type: ignore[no-untyped-def]
    """out = the gradient of the rows' losses."""
    n, p = X.shape
    pulled = np.empty(n)
    for k in range(basis.shape[1]):
        for i in range(n):
            total = 0.0
            for o in range(basis.shape[0]):
                total += residual[i, o] * basis[o, k]
            pulled[i] = weight[i] * total
        out[k * p : (k + 1) * p] = np.dot(pulled, X)


@_compiled
def typical(X, weight, out):  # type: ignore[no-untyped-def]
    """out (2, p) += sums of x^2, and how often x is not zero, by column, over rows that count."""
    for i in range(len(X)):
        if weight[i] > 0.0:
            for j in range(X.shape[1]):
                out[0, j] += X[i, j] * X[i, j]
                out[1, j] += 1.0 if X[i, j] != 0.0 else 0.0


@_compiled
def product(X, theta, basis, out):  # type: ignore[no-untyped-def]
    """out = X theta, the raw prediction of a point or direction without its offset."""
    n, p = X.shape
    out[:] = 0.0
    for k in range(basis.shape[1]):
        along = np.dot(X, theta[k * p : (k + 1) * p])
        for i in range(n):
            for o in range(basis.shape[0]):
                out[i, o] += along[i] * basis[o, k]


@_compiled
def solve(lower, scale, right):  # type: ignore[no-untyped-def]
    """The x of (S L L' S) x = right, S = diag(scale), L lower triangular."""
    size = len(right)
    x = right / scale
    for i in range(size):
        x[i] = (x[i] - np.dot(lower[i, :i], x[:i])) / lower[i, i]
    for i in range(size - 1, -1, -1):
        x[i] /= lower[i, i]
        for j in range(i):
            x[j] -= lower[i, j] * x[i]
    return x / scale


@_compiled
def _spread(raw, base, weight):  # type: ignore[no-untyped-def]
    """How far log-odds are from those of base: the root of the mean square by weight, and the most."""
    n, outputs = raw.shape
    total = counted = most = 0.0
    for i in range(n):
        low = high = raw[i, 0] - base[i, 0]
        for o in range(1, outputs):
            low, high = min(low, raw[i, o] - base[i, o]), max(high, raw[i, o] - base[i, o])
        apart = high - low if outputs > 1 else abs(low)
        total += weight[i] * apart * apart
        counted += weight[i]
        most = max(most, apart)
    return math.sqrt(total / counted) if counted > 0.0 else 0.0, most


@_compiled
def join(  # type: ignore[no-untyped-def]
    X, target, weight, offset, basis, A, b, theta, precision, settled, near, most_steps, there, block, room
):
    """Moves theta to the least point of theta' A theta / 2 - b' theta + penalty + the rows' losses; they join A and b.

    Newton's steps, damped to ln(1 + r) / r, r the log-odds they move (Bach 2010, doi:10.1214/09-EJS521), until one
    moves no row's by more than settled. block: the rows' Hessian at the raw predictions there, kept while those are
    near in the mean square; a first there that is no number holds none. room (n, p). Gradients
    are exact. Returns the last Hessian as S L L' S: L and the diagonal of S.
    """
    n = len(X)
    size, outputs = len(theta), target.shape[1]
    raw, raw_step, residual = np.empty((n, outputs)), np.empty((n, outputs)), np.empty((n, outputs))
    pulled, still = np.empty(size), np.zeros((n, outputs))
    shape, lower, scale = np.empty((size, size)), np.empty((size, size)), np.empty(size)
    product(X, theta, basis, raw)
    raw += offset
    residuals(raw, target, residual)
    for turn in range(most_steps):
        made = math.isnan(there[0, 0]) or _spread(raw, there, weight)[0] > near
        if made:
            gram(X, residual, target, weight, basis, room, np.empty(n), block)
            there[:] = raw
        score(X, residual, weight, basis, pulled)
        gradient = np.dot(A, theta) - b + precision * theta + pulled
        if made or turn == 0:
            for i in range(size):
                diagonal = A[i, i] + block[i, i] + precision[i]
                scale[i] = math.sqrt(diagonal) if diagonal > 0.0 else 1.0
            for i in range(size):
                by = 1.0 / scale[i]
                for j in range(size):
                    shape[i, j] = (A[i, j] + block[i, j]) * by / scale[j]
                shape[i, i] = 1.0 + DAMPING
            lower = np.linalg.cholesky(shape)  # type: ignore[assignment]
        step = solve(lower, scale, -gradient)
        product(X, step, basis, raw_step)
        reach = _spread(raw_step, still, weight)[1]
        damping = math.log1p(reach) / reach if reach > SHORT else 1.0
        theta += damping * step
        raw += damping * raw_step
        residuals(raw, target, residual)
        if reach <= settled:
            break
    score(X, residual, weight, basis, pulled)
    A += block
    b += np.dot(block, theta) - pulled
    return lower, scale
