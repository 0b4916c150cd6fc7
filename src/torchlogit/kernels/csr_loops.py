"""The compiled loops of csr.py, each compiled for a type of matrix at its first call, about a second, then cached.

Row i of a matrix has its values in data[indptr[i]:indptr[i + 1]], of the columns in indices, ascending. Subscripts are
unsigned: numba checks of a signed one whether it is negative and counts from the end, which takes half of the time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"})


@_compiled
def dot(indices, data, begin, end, theta):  # type: ignore[no-untyped-def]
    """A row times theta, as four sums side by side: an addition has to wait only for the one before it in its sum."""
    first = second = third = fourth = 0.0
    while begin + np.uintp(4) <= end:
        first += data[begin] * theta[np.uintp(indices[begin])]
        second += data[begin + np.uintp(1)] * theta[np.uintp(indices[begin + np.uintp(1)])]
        third += data[begin + np.uintp(2)] * theta[np.uintp(indices[begin + np.uintp(2)])]
        fourth += data[begin + np.uintp(3)] * theta[np.uintp(indices[begin + np.uintp(3)])]
        begin += np.uintp(4)
    total = (first + second) + (third + fourth)
    for at in range(begin, end):
        total += data[at] * theta[np.uintp(indices[at])]
    return total


@_compiled
def product(indptr, indices, data, theta, intercept, out):  # type: ignore[no-untyped-def]
    """out = X theta + intercept, for one column theta."""
    for i in range(len(indptr) - 1):
        out[i] = intercept + dot(indices, data, np.uintp(indptr[i]), np.uintp(indptr[i + 1]), theta)


@_compiled
def products(indptr, indices, data, theta, intercept, out):  # type: ignore[no-untyped-def]
    """out = X theta + intercept, for several columns."""
    outputs = np.uintp(theta.shape[1])
    for i in range(len(indptr) - 1):
        for k in range(outputs):
            out[i, k] = intercept[k]
        for at in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            x, j = float(data[at]), np.uintp(indices[at])
            for k in range(outputs):
                out[i, k] += x * theta[j, k]


@_compiled
def total(indptr, indices, data, weights, low, high, out):  # type: ignore[no-untyped-def]
    """out += X' weights on the columns from low to before high, for one column of weights."""
    for i in range(len(indptr) - 1):
        begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
        weight = weights[i]
        for at in range(_first(indices, begin, end, low), end):
            if indices[at] >= high:
                break
            out[np.uintp(indices[at])] += weight * data[at]


@_compiled
def totals(indptr, indices, data, weights, low, high, out):  # type: ignore[no-untyped-def]
    """out += X' weights on the columns from low to before high, for several columns of weights."""
    outputs = np.uintp(weights.shape[1])
    for i in range(len(indptr) - 1):
        begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
        for at in range(_first(indices, begin, end, low), end):
            if indices[at] >= high:
                break
            x, j = float(data[at]), np.uintp(indices[at])
            for k in range(outputs):
                out[j, k] += x * weights[i, k]


@_compiled
def squares(indptr, indices, data, weights, low, high, out):  # type: ignore[no-untyped-def]
    """out[:, 0] += X' weights and out[:, 1] += (X * X)' weights, on the columns from low to before high."""
    for i in range(len(indptr) - 1):
        begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
        weight = weights[i]
        for at in range(_first(indices, begin, end, low), end):
            if indices[at] >= high:
                break
            x, j = float(data[at]), np.uintp(indices[at])
            out[j, 0] += weight * x
            out[j, 1] += weight * x * x


@_compiled
def gram(indptr, indices, data, weights, out):  # type: ignore[no-untyped-def]
    """out[m] += X' diag(weights[:, m]) X for every m, its lower triangle only."""
    for m in range(weights.shape[1]):
        for i in range(len(indptr) - 1):
            begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
            weight = weights[i, m]
            for at in range(begin, end):
                weighted, j = weight * data[at], np.uintp(indices[at])
                for other in range(begin, at + np.uintp(1)):
                    out[m, j, np.uintp(indices[other])] += weighted * data[other]


@_compiled
def largest(indptr, indices, data, center, precision, least, out):  # type: ignore[no-untyped-def]
    """out_i = the largest of precision_j (x_ij - center_j)^2 over the row's values, or `least` where that is more."""
    for i in range(len(indptr) - 1):
        top = least
        for at in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            j = np.uintp(indices[at])
            x = data[at] - center[j]
            top = max(top, precision[j] * x * x)
        out[i] = top


@_compiled
def quadratic(indptr, indices, data, matrix, out):  # type: ignore[no-untyped-def]
    """out_i = x_i' matrix x_i."""
    for i in range(len(indptr) - 1):
        begin, end = np.uintp(indptr[i]), np.uintp(indptr[i + 1])
        total = 0.0
        for at in range(begin, end):
            j, row = np.uintp(indices[at]), 0.0
            for other in range(begin, end):
                row += matrix[j, np.uintp(indices[other])] * data[other]
            total += row * data[at]
        out[i] = total


@_compiled
def _first(indices, begin, end, low):  # type: ignore[no-untyped-def]
    """The first subscript from begin to before end whose column is at least low, or end: by bisection."""
    if low == 0:
        return begin
    while begin < end:
        middle = (begin + end) >> np.uintp(1)
        if indices[middle] < low:
            begin = middle + np.uintp(1)
        else:
            end = middle
    return begin
