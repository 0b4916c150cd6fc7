"""The Newton steps that join a block of rows to a quadratic model of all earlier rows, as compiled loops over BLAS.

theta (q,) is in the free coordinates of objective.py: p entries for each column of basis (outputs, n_free), one
output after another, q = n_free p. Compiling takes some ten seconds at the first call and is cached. numpy would need
no compiling, but takes twice the time for each row and gives other last bits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.fast_math import exp_below

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")

SHORT_STEP = 1e-6  # steps of up to this many log-odds are not damped: log(1 + r) / r is 1 to six digits
# Added to the Hessian's diagonal, scaled to 1, so that a singular Hessian has a Cholesky factor; ten times as much, and
# more, where rounding has left it indefinite, as with columns that grow by many orders of magnitude.
JITTER = 1e-11


@_compiled
def residuals(raw, target, out):  # type: ignore[no-untyped-def]
    """out = probability - target: of the logistic function for one output, of softmax for more."""
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
def _curvatures(residual, target, weight, basis, k, m, out):  # type: ignore[no-untyped-def]
    """out = weight * the second derivative of each row's loss along columns k and m of the basis."""
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
def hessian(X, residual, target, weight, basis, weighted, curvature, out):  # type: ignore[no-untyped-def]
    """out (q, q) = the Hessian of the rows' losses at these residuals. weighted (n, p), curvature (n,): scratch."""
    n, p = X.shape
    n_free = basis.shape[1]
    for k in range(n_free):
        for m in range(k + 1):
            _curvatures(residual, target, weight, basis, k, m, curvature)
            for i in range(n):
                for j in range(p):
                    weighted[i, j] = X[i, j] * curvature[i]
            block = np.dot(weighted.T, X)
            for j in range(p):
                for other in range(p):
                    out[k * p + j, m * p + other] = block[j, other]
                    out[m * p + other, k * p + j] = block[j, other]


@_compiled
def _gradient(X, residual, weight, basis, out):  # type: ignore[no-untyped-def]
    """out (q,) = the gradient of the rows' losses."""
    n, p = X.shape
    along = np.empty(n)
    for k in range(basis.shape[1]):
        for i in range(n):
            total = 0.0
            for o in range(basis.shape[0]):
                total += residual[i, o] * basis[o, k]
            along[i] = weight[i] * total
        out[k * p : (k + 1) * p] = np.dot(along, X)


@_compiled
def add_squares(X, weight, out):  # type: ignore[no-untyped-def]
    """Add to out (2, p) each column's sum of x^2 and its number of nonzeros, over the rows of positive weight."""
    for i in range(len(X)):
        if weight[i] > 0.0:
            for j in range(X.shape[1]):
                out[0, j] += X[i, j] * X[i, j]
                out[1, j] += 1.0 if X[i, j] != 0.0 else 0.0


@_compiled
def _product(X, theta, basis, out):  # type: ignore[no-untyped-def]
    """out (n, outputs) = X theta, without the offset."""
    n, p = X.shape
    out[:] = 0.0
    for k in range(basis.shape[1]):
        along = np.dot(X, theta[k * p : (k + 1) * p])
        for i in range(n):
            for o in range(basis.shape[0]):
                out[i, o] += along[i] * basis[o, k]


@_compiled
def _factor(scaled):  # type: ignore[no-untyped-def]
    """The Cholesky factor of a symmetric matrix whose diagonal is set to 1 and a jitter: the least that suffices."""
    jitter = JITTER
    while jitter < 1.0:
        for i in range(len(scaled)):
            scaled[i, i] = 1.0 + jitter
        try:
            return np.linalg.cholesky(scaled)
        except Exception:  # numba catches no other class
            jitter *= 10.0
    return np.eye(len(scaled))


@_compiled
def _solve(lower, scale, right):  # type: ignore[no-untyped-def]
    """The solution x of (S L L' S) x = right, with S = diag(scale) and L lower triangular."""
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
def _distance(raw, other, weight):  # type: ignore[no-untyped-def]
    """How far the rows' log-odds at raw are from those at other: the root mean square by weight, and the maximum."""
    n, outputs = raw.shape
    total = counted = largest = 0.0
    for i in range(n):
        low = high = raw[i, 0] - other[i, 0]
        for o in range(1, outputs):
            low, high = min(low, raw[i, o] - other[i, o]), max(high, raw[i, o] - other[i, o])
        apart = high - low if outputs > 1 else abs(low)
        total += weight[i] * apart * apart
        counted += weight[i]
        largest = max(largest, apart)
    return math.sqrt(total / counted) if counted > 0.0 else 0.0, largest


@_compiled
def join(  # type: ignore[no-untyped-def]
    X,
    target,
    weight,
    offset,
    basis,
    A,
    b,
    theta,
    precision,
    last_step,
    reuse_within,
    max_steps,
    block_raw,
    block,
    weighted,
):
    """Minimise theta' A theta / 2 - b' theta + penalty + the rows' losses over theta; then add the rows to A and b.

    Newton steps, damped by log(1 + r) / r where r is the largest change of log-odds in the step (Bach 2010,
    doi:10.1214/09-EJS521), until a step changes no row's log-odds by more than last_step. Gradients are exact. block
    (q, q) is the Hessian of the rows' losses at the raw predictions block_raw (n, outputs): it is used as long as the
    raw predictions are within reuse_within of those in the root mean square, and otherwise computed again in place, as
    it is where block_raw[0, 0] is NaN. weighted (n, p): scratch. theta, A and b are updated in place. Returns the last
    Hessian as S L L' S: L, and the diagonal of S.
    """
    n = len(X)
    size, outputs = len(theta), target.shape[1]
    raw, raw_step, residual = np.empty((n, outputs)), np.empty((n, outputs)), np.empty((n, outputs))
    of_rows, zeros = np.empty(size), np.zeros((n, outputs))
    scaled, lower, scale = np.empty((size, size)), np.empty((size, size)), np.empty(size)
    _product(X, theta, basis, raw)
    raw += offset
    residuals(raw, target, residual)
    for turn in range(max_steps):
        renew = math.isnan(block_raw[0, 0]) or _distance(raw, block_raw, weight)[0] > reuse_within
        if renew:
            hessian(X, residual, target, weight, basis, weighted, np.empty(n), block)
            block_raw[:] = raw
        _gradient(X, residual, weight, basis, of_rows)
        gradient = np.dot(A, theta) - b + precision * theta + of_rows
        if renew or turn == 0:
            for i in range(size):
                diagonal = A[i, i] + block[i, i] + precision[i]
                scale[i] = math.sqrt(diagonal) if diagonal > 0.0 else 1.0
            for i in range(size):
                by = 1.0 / scale[i]
                for j in range(size):
                    scaled[i, j] = (A[i, j] + block[i, j]) * by / scale[j]
            lower = _factor(scaled)
        step = _solve(lower, scale, -gradient)
        _product(X, step, basis, raw_step)
        reach = _distance(raw_step, zeros, weight)[1]
        damping = math.log1p(reach) / reach if reach > SHORT_STEP else 1.0
        theta += damping * step
        raw += damping * raw_step
        residuals(raw, target, residual)
        if reach <= last_step:
            break
    _gradient(X, residual, weight, basis, of_rows)
    A += block
    b += np.dot(block, theta) - of_rows
    return lower, scale
