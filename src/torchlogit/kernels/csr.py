"""Compiled loops over the rows of a sparse matrix in CSR form, added up in float64.

Sums by column come from pieces of the rows, as partial sums, where those are small beside the data; elsewhere from all
rows at once, a range of the columns for each thread. Every column is then added up in the order of the rows: the same
bits whatever the number of threads.

Only design/sparse.py calls them. numba is imported on first use; it caches what it makes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.kernels.parallel import PIECES, Array, added, each, pieces

Integers = NDArray[np.int32] | NDArray[np.int64]
Values = NDArray[np.float32] | NDArray[np.float64]

BESIDE = 4  # partial sums are small where all of them have one value for so many of the data
COUNTED, RUN = 1 << 17, 1 << 10  # indices that tell how columns are spread, so many in a run
MIRRORED = 512  # columns of a Gram matrix at a time
SMALL = 1 << 15  # products that gain nothing from threads


@dataclass(frozen=True, slots=True)
class Matrix:
    """Consecutive rows of a CSR matrix of d columns, ascending within a row; indices and data are those of all rows.

    edges: of PIECES ranges of columns that hold about as many values each.
    """

    indptr: Integers
    indices: Integers
    data: Values
    d: int
    edges: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def nonzeros(self) -> int:
        """The values that are stored."""
        return int(self.indptr[-1] - self.indptr[0])

    def rows(self, part: slice) -> Matrix:
        """Some of the rows: a view."""
        return replace(self, indptr=self.indptr[part.start : part.stop + 1])

    def parts(self) -> tuple[Integers, Integers, Values]:
        """What the loops take."""
        return self.indptr, self.indices, self.data


class _Loop(Protocol):
    """A compiled loop: over a matrix's indptr, indices and data, then what else it takes, float64 and row-major."""

    def __call__(self, indptr: Integers, indices: Integers, data: Values, *others: Any) -> None: ...


class _Compiled(Protocol):
    """The loops of csr_loops.py."""

    product: _Loop
    products: _Loop
    total: _Loop
    totals: _Loop
    squares: _Loop
    gram: _Loop
    largest: _Loop
    quadratic: _Loop


@cache
def _compiled() -> _Compiled:
    from torchlogit.kernels import csr_loops

    return cast(_Compiled, csr_loops)


def edges(indices: Integers, d: int) -> tuple[int, ...]:
    """The ends of PIECES ranges of the d columns that hold about as many of these indices each, 0 and d included.

    Counted on some of them: runs of neighbours, which a disk gives at once, evenly over all.
    """
    if len(indices) > COUNTED:
        starts = np.linspace(0, len(indices) - RUN, COUNTED // RUN).astype(np.int64)
        indices = np.concatenate([indices[start : start + RUN] for start in starts])
    counts = np.cumsum(np.bincount(indices, minlength=d))
    inner = np.searchsorted(counts, len(indices) * np.arange(1, PIECES) / PIECES)
    return (0, *(int(edge) for edge in inner), d)


def matmul(X: Matrix, theta: Array, intercept: Array) -> Array:
    """X theta + intercept, (rows, K), for theta (d, K) and intercept (K,)."""
    out = np.empty((len(X), theta.shape[1]))
    if theta.shape[1] == 1:
        _by_row(X, _compiled().product, out.reshape(-1), theta.reshape(-1), float(intercept[0]))
    else:
        _by_row(X, _compiled().products, out, theta, intercept)
    return out


def rmatmul(X: Matrix, weights: Array, *, intercept: bool) -> Array:
    """X' weights, (p, K), for weights (rows, K), that of the constant column last where there is one."""
    sums = np.zeros((X.d + intercept, weights.shape[1]))
    if weights.shape[1] == 1:
        _by_column(X, _compiled().total, weights.reshape(-1), sums[: X.d].reshape(-1))
    else:
        _by_column(X, _compiled().totals, weights, sums[: X.d])
    sums[X.d :] = weights.sum(axis=0)
    return sums


def moments(X: Matrix, weights: Array, *, intercept: bool) -> Array:
    """sum_i w_i x_ij and sum_i w_i x_ij^2, (p, 2), for weights (rows,), of the constant column last."""
    sums = np.zeros((X.d + intercept, 2))
    _by_column(X, _compiled().squares, weights, sums[: X.d])
    sums[X.d :] = weights.sum()
    return sums


def squares(X: Matrix, weights: Array, *, intercept: bool) -> Array:
    """(X * X)' weights, (p, K), for weights (rows, K), that of the constant column last where there is one."""
    columns = (np.ascontiguousarray(column) for column in weights.T)
    return np.stack([moments(X, column, intercept=intercept)[:, 1] for column in columns], axis=1)


def largest(X: Matrix, center: Array, precision: Array, least: float) -> Array:
    """The largest of precision_j (x_ij - center_j)^2 over a row's values, or `least` where that is more, (rows,)."""
    out = np.empty(len(X))
    _by_row(X, _compiled().largest, out, center, precision, least)
    return out


def gram(X: Matrix, weights: Array, *, intercept: bool) -> Array:
    """X' diag(w) X for each column w of weights (rows, m), (m, p, p), the constant column last where there is one."""
    m, p = weights.shape[1], X.d + intercept
    places = pieces(len(X), values=m * p * p, least=p)
    parts, loop = np.zeros((len(places), m, p, p)), _compiled().gram
    each(lambda i, rows: loop(*X.rows(rows).parts(), weights[rows], parts[i]), places)
    lower = added(parts)
    if intercept:
        lower[:, -1] = rmatmul(X, weights, intercept=True).T
    for start in range(0, p, MIRRORED):
        stop = min(p, start + MIRRORED)
        corner = lower[:, start:stop, start:stop]
        corner += np.swapaxes(np.tril(corner, -1), 1, 2)
        lower[:, start:stop, stop:] = np.swapaxes(lower[:, stop:, start:stop], 1, 2)
    return lower


def quadratic(X: Matrix, matrix: Array) -> Array:
    """x_i' matrix x_i, (rows,)."""
    out = np.empty(len(X))
    _by_row(X, _compiled().quadratic, out, matrix)
    return out


def _by_row(X: Matrix, loop: _Loop, out: Array, *others: Any) -> None:
    """Runs a loop that has a result for each row."""
    each(lambda _, rows: loop(*X.rows(rows).parts(), *others, out[rows]), pieces(len(X)))


def _by_column(X: Matrix, loop: _Loop, weights: Array, sums: Array) -> None:
    """Runs a loop that adds to the sums of a range of columns."""
    places = pieces(len(X))
    if BESIDE * len(places) * X.d <= X.nonzeros:
        parts = np.zeros((len(places), *sums.shape))
        each(lambda i, rows: loop(*X.rows(rows).parts(), weights[rows], 0, X.d, parts[i]), places)
        sums += added(parts)
        return
    threads = min(torch.get_num_threads(), PIECES) if X.nonzeros * weights.size > SMALL * len(X) else 1
    ends = [X.edges[PIECES * t // threads] for t in range(threads + 1)]
    ranges = [slice(low, high) for low, high in itertools.pairwise(ends)]
    each(lambda _, range_: loop(*X.parts(), weights, range_.start, range_.stop, sums), ranges)
