"""Compiled dual ascent over rows in CSR form, on torch's number of threads: the same bits for the same number.

Every thread goes over rows of its own, chosen anew for each epoch, with a copy of v; a few times an epoch the copies'
changes are added up, so that v always is what the rows' residuals make it. A thread counts its own changes `caution`
times, for those of the others that it does not see: with as many as there are threads no sum of changes can overshoot
(CoCoA+, Ma et al. 2015, arXiv:1502.03508).

Only solvers/dual/dual_ascent.py calls them. numba is imported on first use; it caches what it makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.kernels.parallel import Array, each

Integers = NDArray[np.int32] | NDArray[np.int64]
Values = NDArray[np.float32] | NDArray[np.float64]

BLOCK = 128  # consecutive rows, which are read at the memory's speed,
LEAST_BLOCKS = 256  # and no more than leave so many blocks
ROUNDS = 4  # an epoch, after each of which the copies are added up
SMALL = 1 << 17  # values that gain nothing from threads,
BESIDE = 2  # and no more than so many times what all copies hold, each time that they are added up


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in CSR form and, for each, its target, weight, offset and |x_i|^2, (n,) float64."""

    indptr: Integers
    indices: Integers
    data: Values
    target: Array
    weight: Array
    offset: Array
    square: Array


@dataclass(slots=True)
class Point:
    """The dual point: residual (n,), v = -rate X'(s residual) (d,), and the intercept; an epoch moves it in place."""

    residual: Array
    v: Array
    intercept: float


@dataclass(frozen=True, slots=True)
class Pull:
    """How the coefficients follow v, and the intercept the residuals.

    rate: in v = -rate X'(s r). kinks: the coefficients are S(v, kinks), (d,); None: they are v. give: the intercept
    moves by -give times the change of the sum of s r; 0 where there is none.
    """

    rate: float
    kinks: Array | None
    give: float


class _Compiled(Protocol):
    def sweep(self, *parts: Any) -> tuple[float, float]: ...
    def lengths(self, indptr: Integers, data: Values, out: Array) -> None: ...
    def merge(self, v: Array, copies: Array, share: float, low: int, high: int) -> None: ...


@cache
def _compiled() -> _Compiled:
    from torchlogit.kernels import dual_loops

    return cast(_Compiled, dual_loops)


def squares(indptr: Integers, data: Values) -> Array:
    """|x_i|^2 of the rows, (n,)."""
    out = np.empty(len(indptr) - 1)
    _compiled().lengths(indptr, data, out)
    return out


def threads_for(rows: Rows, n_columns: int) -> int:
    """How many threads an epoch over these rows takes."""
    threads = max(1, min(torch.get_num_threads(), len(rows.data) // SMALL))
    return threads if len(rows.data) >= BESIDE * ROUNDS * threads * n_columns else 1


def epoch(rows: Rows, point: Point, pull: Pull, random: np.random.Generator, caution: float) -> float:
    """Each row's residual once to where the dual is highest along it, in blocks of rows in random order.

    Returns about what the dual has gained.
    """
    d = len(point.v)
    starts, size = blocks_of(len(rows.target), random)
    threads, loops = threads_for(rows, d), _compiled()
    if threads == 1:
        point.intercept, gain = _swept(rows, point, pull, starts, size, point.v)
        return gain
    copies = np.repeat(point.v[None, :], threads, axis=0)
    hasty = Pull(caution * pull.rate, pull.kinks, caution * pull.give)
    ends, gains = np.zeros(threads), np.zeros(threads)
    for blocks in np.array_split(starts, ROUNDS):

        def sweep(k: int, part: slice, blocks: NDArray[np.int64] = blocks) -> None:
            ends[k], gain = _swept(rows, point, hasty, blocks[part], size, copies[k])
            gains[k] += gain

        each(sweep, _shares(len(blocks), threads))
        each(lambda k, part: loops.merge(point.v, copies, 1 / caution, part.start, part.stop), _shares(d, threads))
        point.intercept += float((ends - point.intercept).sum()) / caution
    return float(gains.sum())


def blocks_of(n: int, random: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Where the blocks of an epoch start, in their order, and how many rows they have; what is left ends the last."""
    size = max(1, min(BLOCK, n // LEAST_BLOCKS))
    return random.permutation(np.arange(0, n, size)), size


def _swept(rows: Rows, point: Point, pull: Pull, starts: NDArray[np.int64], size: int, v: Array) -> tuple[float, float]:
    """The intercept after the rows of these blocks, and the dual's gain."""
    return _compiled().sweep(
        rows.indptr, rows.indices, rows.data, starts, size, rows.target, rows.weight, rows.offset,
        rows.square, pull.rate, pull.kinks, point.intercept, pull.give, point.residual, v,
    )  # fmt: skip


def _shares(n: int, threads: int) -> list[slice]:
    return [slice(k * n // threads, (k + 1) * n // threads) for k in range(threads)]
