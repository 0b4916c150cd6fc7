"""Products of a large row-major matrix with few columns, at the speed at which memory is read.

BLAS is slow where the other factor has only a few columns, and needs a float64 copy of float32 rows. These loops read
the rows once, as they are, and add up in float64, on several threads (parallel.py). The matrix X is (rows, d), float32
or float64; all else is float64 and row-major.

Only design/dense.py calls them, for large matrices in main memory. numba is imported at the first call, compiles what
is missing and caches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from torchlogit.kernels.parallel import MIN_ROWS, Array, each, shares, sum_in_order

Values = NDArray[np.float32] | NDArray[np.float64]  # (rows, d), row-major
Real = np.float32 | np.float64

GRAM_VALUES = 1 << 17  # values of the rows that BLAS multiplies at a time, copied, 1 MiB: the copy stays in the cache


def _loops() -> Any:
    """The compiled loops, which have no types."""
    from torchlogit.kernels import dense_loops

    return dense_loops


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def matmul(X: Values, theta: Array, intercept: Array) -> Array:
    """X theta' + intercept, (rows, K), for theta (K, d) and intercept (K,)."""
    out = np.empty((len(X), len(theta)))
    products = _loops().products
    each(lambda _, rows: products(X[rows], theta, intercept, out[rows]), shares(len(X)))
    return out


def rmatmul(X: Values, weights: Array) -> Array:
    """(X 1)' weights, (d + 1, K), for weights (rows, K): the last row is their sum."""
    parts = shares(len(X))
    partial_sums = np.zeros((len(parts), weights.shape[1], X.shape[1] + 1))
    sums = _loops().sums
    each(lambda i, rows: sums(X[rows], weights[rows], partial_sums[i]), parts)
    return np.ascontiguousarray(sum_in_order(partial_sums).T)


def moments(X: Values, weights: Array) -> Array:
    """sum_i w_i x_ij and sum_i w_i x_ij^2, (2, d), for weights (rows,)."""
    parts = shares(len(X))
    partial_sums = np.zeros((len(parts), 2, X.shape[1]))
    squares = _loops().squares
    each(lambda i, rows: squares(X[rows], weights[rows], partial_sums[i]), parts)
    return sum_in_order(partial_sums)


def largest(X: Values, center: Array, precision: Array) -> Array:
    """max_j precision_j (x_ij - center_j)^2, (rows,)."""
    out = np.empty(len(X))
    largest = _loops().largest
    each(lambda _, rows: largest(X[rows], center, precision, out[rows]), shares(len(X)))
    return out


def gram(X: Values, weights: Array, *, intercept: bool, dtype: type[Real] = np.float64) -> Array:
    """X' diag(w) X for each column w of weights (rows, m), (m, p, p), the constant column last where there is one.

    Weights may be negative. dtype: of the copies of some rows that BLAS multiplies; their products are added up in
    float64. Each share calls BLAS on a single thread: BLAS's own threads wait for each other at every call, which takes
    seconds on a busy machine.
    """
    p, m = X.shape[1] + intercept, weights.shape[1]
    root = np.sqrt(weights).astype(dtype) if m == 1 and (weights >= 0).all() else None
    parts = shares(len(X), values=m * p * p, min_rows=p)
    partial_sums = np.zeros((len(parts), m, p, p))

    def task(i: int, share: slice) -> None:
        for block, rows in _blocks(X, share, intercept, dtype, copies=m):
            if root is not None:
                block *= root[rows]
                partial_sums[i, 0] += block.T @ block  # numpy uses BLAS's symmetric product, half the work
            else:
                weighted = (block[:, None, :] * weights[rows, :, None]).reshape(len(block), m * p)
                partial_sums[i] += (weighted.T @ block).reshape(m, p, p)

    with _blas().limit(limits=1, user_api="blas"):
        each(task, parts)
    return sum_in_order(partial_sums)


def quadratic(X: Values, matrix: Array, *, intercept: bool) -> Array:
    """x_i' matrix x_i, (rows,)."""
    out = np.empty(len(X))
    for block, rows in _blocks(X, slice(0, len(X)), intercept, np.float64):
        out[rows] = ((block @ matrix) * block).sum(axis=1)
    return out


def _blocks(
    X: Values, share: slice, intercept: bool, dtype: type[Real], copies: int = 1
) -> Iterator[tuple[Any, slice]]:
    """A few rows of a share at a time, copied to `dtype`, the constant column last where there is one.

    All blocks use one buffer, which the caller may change. copies: how many weighted copies of a block it makes.
    """
    n, d = share.stop - share.start, X.shape[1]
    size = min(n, max(2 * (d + 1) // copies, GRAM_VALUES // (copies * (d + 1)), MIN_ROWS))
    buffer = np.empty((size, d + intercept), dtype=dtype)
    for start in range(share.start, share.stop, max(1, size)):
        rows = slice(start, min(share.stop, start + size))
        block = buffer[: rows.stop - start]
        block[:, :d] = X[rows]
        block[:, d:] = 1
        yield block, rows
