"""Compiled loops over rows: products of a row-major matrix with few columns at the memory's speed.

A BLAS is slow where the other matrix is only a few columns wide, and has to be handed a float64 copy of float32
rows. These loops read the rows once, as they are, and add up in float64. pieces.py has them run on several threads.

Only design/dense.py calls them, for large matrices in main memory. numba is imported on first use; it caches what it
makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from torchlogit.kernels.parallel import MIN_PIECE, Array, added, each, pieces

Matrix = NDArray[np.float32] | NDArray[np.float64]
Real = np.float32 | np.float64

GRAM_VALUES = 1 << 17  # of the float64 copy that a Gram matrix is made from at a time


class _Compiled(Protocol):
    """The compiled loops; X (rows, d) is float32 or float64, everything else float64, all of them row-major."""

    def products(self, X: Matrix, theta: Array, intercept: Array, out: Array) -> None: ...
    def sums(self, X: Matrix, weights: Array, out: Array) -> None: ...
    def squares(self, X: Matrix, weights: Array, out: Array) -> None: ...
    def largest(self, X: Matrix, center: Array, precision: Array, out: Array) -> None: ...


@cache
def _compiled() -> _Compiled:
    from torchlogit.kernels import dense_loops

    return cast(_Compiled, dense_loops)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def matmul(X: Matrix, theta: Array, intercept: Array) -> Array:
    """X theta' + intercept, (rows, K), for theta (K, d) and intercept (K,)."""
    out = np.empty((len(X), len(theta)))
    loops = _compiled()
    each(lambda i, piece: loops.products(X[piece], theta, intercept, out[piece]), pieces(len(X)))
    return out


def rmatmul(X: Matrix, weights: Array) -> Array:
    """(X 1)' weights, (d + 1, K), for weights (rows, K): the last row is their sum."""
    places = pieces(len(X))
    parts = np.zeros((len(places), weights.shape[1], X.shape[1] + 1))
    loops = _compiled()
    each(lambda i, piece: loops.sums(X[piece], weights[piece], parts[i]), places)
    return np.ascontiguousarray(added(parts).T)


def moments(X: Matrix, weights: Array) -> Array:
    """sum_i w_i x_ij and sum_i w_i x_ij^2, (2, d), for weights (rows,)."""
    places = pieces(len(X))
    parts = np.zeros((len(places), 2, X.shape[1]))
    loops = _compiled()
    each(lambda i, piece: loops.squares(X[piece], weights[piece], parts[i]), places)
    return added(parts)


def largest(X: Matrix, center: Array, precision: Array) -> Array:
    """max_j precision_j (x_ij - center_j)^2, (rows,)."""
    out = np.empty(len(X))
    loops = _compiled()
    each(lambda i, piece: loops.largest(X[piece], center, precision, out[piece]), pieces(len(X)))
    return out


def gram(X: Matrix, weights: Array, *, intercept: bool, dtype: type[Real] = np.float64) -> Array:
    """X' diag(w) X for each column w of weights (rows, m), (m, p, p), the constant column last where there is one.

    Weights may be negative. dtype: of the products within a few rows; they are added up in float64. Each thread has a
    BLAS of one thread to itself: one of several waits for all of them at every turn, which on a busy machine takes
    seconds.
    """
    p, m = X.shape[1] + intercept, weights.shape[1]
    root = np.sqrt(weights).astype(dtype) if m == 1 and (weights >= 0).all() else None
    places = pieces(len(X), values=m * p * p, least=p)
    parts = np.zeros((len(places), m, p, p))

    def task(i: int, piece: slice) -> None:
        for block, rows in _blocks(X, piece, intercept, dtype, copies=m):
            if root is not None:
                block *= root[rows]
                parts[i, 0] += block.T @ block  # of a matrix with itself, numpy takes the symmetric product
            else:
                weighted = (block[:, None, :] * weights[rows, :, None]).reshape(len(block), m * p)
                parts[i] += (weighted.T @ block).reshape(m, p, p)

    with _blas().limit(limits=1, user_api="blas"):
        each(task, places)
    return added(parts)


def quadratic(X: Matrix, matrix: Array, *, intercept: bool) -> Array:
    """x_i' matrix x_i, (rows,)."""
    out = np.empty(len(X))
    for block, rows in _blocks(X, slice(0, len(X)), intercept, np.float64):
        out[rows] = ((block @ matrix) * block).sum(axis=1)
    return out


def _blocks(
    X: Matrix, piece: slice, intercept: bool, dtype: type[Real], copies: int = 1
) -> Iterator[tuple[Any, slice]]:
    """A few rows of a piece at a time, the constant column last where there is one; fewer where each is copied.

    Through one buffer, which may be written to.
    """
    n, d = piece.stop - piece.start, X.shape[1]
    size = min(n, max(2 * (d + 1) // copies, GRAM_VALUES // (copies * (d + 1)), MIN_PIECE))
    buffer = np.empty((size, d + intercept), dtype=dtype)
    for start in range(piece.start, piece.stop, max(1, size)):
        rows = slice(start, min(piece.stop, start + size))
        block = buffer[: rows.stop - start]
        block[:, :d] = X[rows]
        block[:, d:] = 1
        yield block, rows
