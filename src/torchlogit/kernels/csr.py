"""Products of the rows of a sparse matrix in CSR form, added up in float64 by compiled loops on several threads.

Sums by column are computed in one of two ways. Where partial sums are small compared with the data, each share of the
rows has its own. Otherwise each thread reads all rows and sums a range of the columns. Either way each column is added
up in an order that does not depend on the number of threads, and neither do its bits.

Only design/sparse.py and design/streamed.py call them. numba is imported at the first call, compiles what is missing
and caches it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.kernels.parallel import SHARES, Array, each, shares, sum_in_order

Integers = NDArray[np.int32] | NDArray[np.int64]
Values = NDArray[np.float32] | NDArray[np.float64]
Loop = Any  # compiled, without types: takes indptr, indices, data, then float64 row-major arrays

VALUES_PER_PARTIAL = 4  # stored values per value of the partial sums from which these are used; larger: used less often
COUNTED = 1 << 17  # the most indices that `edges` counts; larger: ranges of more equal size, more to read
RUN = 1 << 10  # neighbouring indices that `edges` reads at a time: one read of a memory-mapped file
MIRRORED = 512  # columns of a Gram matrix whose upper triangle is filled at a time, so that they stay in the cache
SMALL = 1 << 15  # multiplications up to which one thread is used, since several are not faster


@dataclass(frozen=True, slots=True)
class CsrRows:
    """Consecutive rows of a CSR matrix of d columns, ascending within a row; indices and data are those of all rows.

    edges: the ends of SHARES ranges of columns that hold about as many values each.
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
        """The number of stored values."""
        return int(self.indptr[-1] - self.indptr[0])

    def rows(self, part: slice) -> CsrRows:
        """Some of the rows: a view."""
        return replace(self, indptr=self.indptr[part.start : part.stop + 1])

    def parts(self) -> tuple[Integers, Integers, Values]:
        """The three arrays, as the loops take them."""
        return self.indptr, self.indices, self.data


def _loops() -> Any:
    """The compiled loops, which have no types."""
    from torchlogit.kernels import csr_loops

    return csr_loops


def edges(indices: Integers, d: int) -> tuple[int, ...]:
    """The ends of SHARES ranges of the d columns that hold about as many of these indices each, 0 and d included.

    If there are more than COUNTED indices, evenly spaced runs of neighbouring ones are counted.
    """
    if len(indices) > COUNTED:
        starts = np.linspace(0, len(indices) - RUN, COUNTED // RUN).astype(np.int64)
        indices = np.concatenate([indices[start : start + RUN] for start in starts])
    counts = np.cumsum(np.bincount(indices, minlength=d))
    inner = np.searchsorted(counts, len(indices) * np.arange(1, SHARES) / SHARES)
    return (0, *(int(edge) for edge in inner), d)


def matmul(X: CsrRows, theta: Array, intercept: Array) -> Array:
    """X theta + intercept, (rows, K), for theta (d, K) and intercept (K,)."""
    out = np.empty((len(X), theta.shape[1]))
    if theta.shape[1] == 1:
        _by_row(X, _loops().product, out.reshape(-1), theta.reshape(-1), float(intercept[0]))
    else:
        _by_row(X, _loops().products, out, theta, intercept)
    return out


def rmatmul(X: CsrRows, weights: Array, *, intercept: bool) -> Array:
    """X' weights, (p, K), for weights (rows, K), that of the constant column last where there is one."""
    sums = np.zeros((X.d + intercept, weights.shape[1]))
    if weights.shape[1] == 1:
        _by_column(X, _loops().total, weights.reshape(-1), sums[: X.d].reshape(-1))
    else:
        _by_column(X, _loops().totals, weights, sums[: X.d])
    sums[X.d :] = weights.sum(axis=0)
    return sums


def moments(X: CsrRows, weights: Array, *, intercept: bool) -> Array:
    """sum_i w_i x_ij and sum_i w_i x_ij^2, (p, 2), for weights (rows,), of the constant column last."""
    sums = np.zeros((X.d + intercept, 2))
    _by_column(X, _loops().squares, weights, sums[: X.d])
    sums[X.d :] = weights.sum()
    return sums


def squares(X: CsrRows, weights: Array, *, intercept: bool) -> Array:
    """(X * X)' weights, (p, K), for weights (rows, K), that of the constant column last where there is one."""
    columns = (np.ascontiguousarray(column) for column in weights.T)
    return np.stack([moments(X, column, intercept=intercept)[:, 1] for column in columns], axis=1)


def largest(X: CsrRows, center: Array, precision: Array, least: float) -> Array:
    """The largest of precision_j (x_ij - center_j)^2 over a row's values, or `least` where that is more, (rows,)."""
    out = np.empty(len(X))
    _by_row(X, _loops().largest, out, center, precision, least)
    return out


def gram(X: CsrRows, weights: Array, *, intercept: bool) -> Array:
    """X' diag(w) X for each column w of weights (rows, m), (m, p, p), the constant column last where there is one."""
    m, p = weights.shape[1], X.d + intercept
    parts = shares(len(X), values=m * p * p, min_rows=p)
    partial_sums, loop = np.zeros((len(parts), m, p, p)), _loops().gram
    each(lambda i, rows: loop(*X.rows(rows).parts(), weights[rows], partial_sums[i]), parts)
    lower = sum_in_order(partial_sums)
    if intercept:
        lower[:, -1] = rmatmul(X, weights, intercept=True).T
    for start in range(0, p, MIRRORED):
        stop = min(p, start + MIRRORED)
        corner = lower[:, start:stop, start:stop]
        corner += np.swapaxes(np.tril(corner, -1), 1, 2)
        lower[:, start:stop, stop:] = np.swapaxes(lower[:, stop:, start:stop], 1, 2)
    return lower


def quadratic(X: CsrRows, matrix: Array) -> Array:
    """x_i' matrix x_i, (rows,)."""
    out = np.empty(len(X))
    _by_row(X, _loops().quadratic, out, matrix)
    return out


def _by_row(X: CsrRows, loop: Loop, out: Array, *others: Any) -> None:
    """Run a loop that computes a result for each row."""
    each(lambda _, rows: loop(*X.rows(rows).parts(), *others, out[rows]), shares(len(X)))


def _by_column(X: CsrRows, loop: Loop, weights: Array, sums: Array) -> None:
    """Run a loop that adds to the sums of a range of columns."""
    parts = shares(len(X))
    if VALUES_PER_PARTIAL * len(parts) * X.d <= X.nonzeros:
        partial_sums = np.zeros((len(parts), *sums.shape))
        each(lambda i, rows: loop(*X.rows(rows).parts(), weights[rows], 0, X.d, partial_sums[i]), parts)
        sums += sum_in_order(partial_sums)
        return
    threads = min(torch.get_num_threads(), SHARES) if X.nonzeros * weights.size > SMALL * len(X) else 1
    ends = [X.edges[SHARES * t // threads] for t in range(threads + 1)]
    ranges = [slice(low, high) for low, high in itertools.pairwise(ends)]
    each(lambda _, range_: loop(*X.parts(), weights, range_.start, range_.stop, sums), ranges)
