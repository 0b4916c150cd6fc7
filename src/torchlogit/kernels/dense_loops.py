"""The compiled loops of dense.py, each compiled for a type of matrix at its first call, half a second, then cached."""

from __future__ import annotations

from numba import njit

_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})


@_compiled
def products(X, theta, intercept, out):  # type: ignore[no-untyped-def]
    """out = X theta' + intercept, four rows at a time, so that each entry of theta is loaded once for four rows."""
    n, d = X.shape
    i = 0
    while i + 4 <= n:
        for k in range(theta.shape[0]):
            a = b = c = e = intercept[k]
            for j in range(d):
                t = theta[k, j]
                a += X[i, j] * t
                b += X[i + 1, j] * t
                c += X[i + 2, j] * t
                e += X[i + 3, j] * t
            out[i, k], out[i + 1, k], out[i + 2, k], out[i + 3, k] = a, b, c, e
        i += 4
    while i < n:
        for k in range(theta.shape[0]):
            a = intercept[k]
            for j in range(d):
                a += X[i, j] * theta[k, j]
            out[i, k] = a
        i += 1


@_compiled
def sums(X, weights, out):  # type: ignore[no-untyped-def]
    """out (K, d + 1) += weights' (X 1)."""
    n, d = X.shape
    i = 0
    while i + 4 <= n:
        for k in range(weights.shape[1]):
            a, b, c, e = weights[i, k], weights[i + 1, k], weights[i + 2, k], weights[i + 3, k]
            for j in range(d):
                out[k, j] += a * X[i, j] + b * X[i + 1, j] + c * X[i + 2, j] + e * X[i + 3, j]
            out[k, d] += a + b + c + e
        i += 4
    while i < n:
        for k in range(weights.shape[1]):
            a = weights[i, k]
            for j in range(d):
                out[k, j] += a * X[i, j]
            out[k, d] += a
        i += 1


@_compiled
def squares(X, weights, out):  # type: ignore[no-untyped-def]
    """out[0] += X' weights and out[1] += (X * X)' weights."""
    for i in range(X.shape[0]):
        w = weights[i]
        for j in range(X.shape[1]):
            x = float(X[i, j])
            out[0, j] += w * x
            out[1, j] += w * x * x


@_compiled
def largest(X, center, precision, out):  # type: ignore[no-untyped-def]
    """out_i = max_j precision_j (x_ij - center_j)^2."""
    for i in range(X.shape[0]):
        top = 0.0
        for j in range(X.shape[1]):
            x = X[i, j] - center[j]
            top = max(top, precision[j] * x * x)
        out[i] = top
