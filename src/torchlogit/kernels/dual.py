"""Dual ascent over rows in CSR form, compiled, on several threads: the same bits for the same number of threads.

In every epoch each thread has its own blocks of rows and its own copy of v. A few times in an epoch the changes of all
copies are added to v, which then follows from the residuals of all rows. Between these times a thread does not see the
changes by other threads, and counts its own `caution` times instead: with caution equal to the number of threads, no
sum of changes can overshoot (CoCoA+, Ma et al. 2015, arXiv:1502.03508).

Only solvers/dual/dual_ascent.py calls this. numba is imported on first use, and caches what it compiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.kernels.parallel import Array, each

Integers = NDArray[np.int32] | NDArray[np.int64]
Values = NDArray[np.float32] | NDArray[np.float64]

BLOCK = 128  # consecutive rows of a block; larger: fewer cache misses, and a less random order (docs/decisions/0013)
MIN_BLOCKS = 256  # the fewest blocks: with few rows, blocks are smaller than BLOCK; larger: smaller blocks then
ROUNDS = 4  # how often in an epoch copies are merged; larger: copies are more up to date, at more time (decision 0013)
VALUES_PER_THREAD = 1 << 17  # the fewest values of X for each thread; larger: fewer threads on small tables
# Several threads are used if X has this many times the values of all copies of v, counted once for each round of an
# epoch. Larger: threads are used less often.
VALUES_PER_COPY = 2


@dataclass(frozen=True, slots=True)
class DualRows:
    """Rows in CSR form, and for each row its target, weight, offset and |x_i|^2, (n,) float64."""

    indptr: Integers
    indices: Integers
    data: Values
    target: Array
    weight: Array
    offset: Array
    squared_norm: Array


@dataclass(slots=True)
class DualPoint:
    """A point of the dual, which epochs change: residual (n,), v = -rate X'(s residual) (d,), and the intercept."""

    residual: Array
    v: Array
    intercept: float


@dataclass(frozen=True, slots=True)
class Coupling:
    """How coefficients and intercept follow from the residuals.

    rate: of v = -rate X'(s residual). thresholds (d,): the coefficients are S(v, thresholds), soft-thresholding; None:
    they are v. intercept_rate: the intercept moves by -intercept_rate times the change of the sum of s residual; 0
    where there is no intercept.
    """

    rate: float
    thresholds: Array | None
    intercept_rate: float


def _loops() -> Any:
    """The compiled loops, which have no types."""
    from torchlogit.kernels import dual_loops

    return dual_loops


def squared_norms(indptr: Integers, data: Values) -> Array:
    """|x_i|^2 of every row, (n,)."""
    out = np.empty(len(indptr) - 1)
    _loops().squared_norms(indptr, data, out)
    return out


def threads_for(rows: DualRows, n_columns: int, values_per_thread: int = VALUES_PER_THREAD) -> int:
    """The number of threads on which an epoch over these rows is fastest."""
    threads = max(1, min(torch.get_num_threads(), len(rows.data) // values_per_thread))
    return threads if len(rows.data) >= VALUES_PER_COPY * ROUNDS * threads * n_columns else 1


def epoch(
    rows: DualRows, point: DualPoint, coupling: Coupling, generator: np.random.Generator, threads: int, caution: float
) -> float:
    """Move each row's residual once to the maximum of the dual over it, by blocks of rows in random order.

    Returns the gain of the dual, approximately.
    """
    d = len(point.v)
    starts, size = blocks_of(len(rows.target), generator)
    if threads == 1:
        point.intercept, gain = _sweep(rows, point, coupling, starts, size, point.v)
        return gain
    copies = np.repeat(point.v[None, :], threads, axis=0)
    cautious = replace(coupling, rate=caution * coupling.rate, intercept_rate=caution * coupling.intercept_rate)
    intercepts, gains = np.zeros(threads), np.zeros(threads)
    for blocks in np.array_split(starts, ROUNDS):

        def sweep(k: int, part: slice, blocks: NDArray[np.int64] = blocks) -> None:
            intercepts[k], gain = _sweep(rows, point, cautious, blocks[part], size, copies[k])
            gains[k] += gain

        def merge(k: int, part: slice) -> None:
            _loops().merge(point.v, copies, 1 / caution, part.start, part.stop)

        each(sweep, _shares(len(blocks), threads))
        each(merge, _shares(d, threads))
        point.intercept += float((intercepts - point.intercept).sum()) / caution
    return float(gains.sum())


def blocks_of(n: int, generator: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """The first rows of the blocks, in random order, and the number of rows of a block; the last block is shorter."""
    size = max(1, min(BLOCK, n // MIN_BLOCKS))
    return generator.permutation(np.arange(0, n, size)), size


def _sweep(
    rows: DualRows, point: DualPoint, coupling: Coupling, starts: NDArray[np.int64], size: int, v: Array
) -> tuple[float, float]:
    """The intercept after the rows of these blocks, and the dual's gain; changes v and the residuals."""
    result: tuple[float, float] = _loops().sweep(
        rows.indptr, rows.indices, rows.data, starts, size, rows.target, rows.weight, rows.offset, rows.squared_norm,
        coupling.rate, coupling.thresholds, point.intercept, coupling.intercept_rate, point.residual, v,
    )  # fmt: skip
    return result


def _shares(n: int, threads: int) -> list[slice]:
    return [slice(k * n // threads, (k + 1) * n // threads) for k in range(threads)]
