"""What columns encode to, and the matrix that it makes side by side: dense, or CSR, with the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse, vstack

Matrix: TypeAlias = NDArray[np.float32] | csr_array
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

FEW_ROWS = 4096  # another thread is not worth starting for so many


@dataclass(frozen=True, slots=True)
class Slot:
    """At most one feature in each row.

    places: that of each row's, (n,), -1 where it has none; or one for all rows. values: (n,); 1 where it is None.
    """

    places: NDArray[np.int32] | int
    values: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Several:
    """Any number of features in each row, those from `start` on: a sparse matrix."""

    matrix: csr_array
    start: int


Part: TypeAlias = Slot | Several
"""Features of all rows."""


def summed(slots: Sequence[Slot]) -> list[Slot]:
    """Slots that may have features in common, as slots that ascend in every row; what is equal is added.

    >>> places = np.array([3, 1], np.int32), np.array([3, 0], np.int32)
    >>> values = np.array([1, 1], np.float32), np.array([1, -1], np.float32)
    >>> [(slot.places.tolist(), slot.values.tolist()) for slot in summed([*map(Slot, places, values)])]
    [([-1, 0], [1.0, -1.0]), ([3, 1], [2.0, 1.0])]
    """
    if len(slots) == 1:
        return list(slots)
    from torchlogit.kernels.features_loops import merge

    n_rows = np.size(slots[0].places)
    places = _rows_apart([slot.places for slot in slots], n_rows, np.int32)
    values = _rows_apart([slot.values for slot in slots], n_rows, np.float32)
    merge(places, values)
    return [Slot(place, value) for place, value in zip(places, values, strict=True)]


def threads(n_rows: int) -> ThreadPoolExecutor | nullcontext[None]:
    """A pool of threads for `in_threads`; none where there are few rows."""
    return nullcontext() if n_rows <= FEW_ROWS else ThreadPoolExecutor(pa.cpu_count())


def in_threads(
    job: Callable[[_Item], _Result], items: Sequence[_Item], pool: ThreadPoolExecutor | None
) -> list[_Result]:
    """The results in order; pyarrow and numpy let other items go on while they work on one."""
    return list(map(job, items) if pool is None else pool.map(job, items))


def put_dense(parts: Sequence[Part], out: NDArray[np.float32], pool: ThreadPoolExecutor | None = None) -> None:
    """Writes parts that have no feature in common into a matrix of zeros.

    >>> out = np.zeros((2, 3), np.float32)
    >>> put_dense([Slot(0, np.array([5, 6], np.float32)), Slot(np.array([2, -1], np.int32))], out)
    >>> out.tolist()
    [[5.0, 0.0, 1.0], [6.0, 0.0, 0.0]]
    """

    n_rows, n_features = out.shape
    assert out.flags.c_contiguous
    flat, starts = out.reshape(-1), np.arange(0, n_rows * n_features, n_features or 1)

    def put(part: Part) -> None:
        if isinstance(part, Several):
            out[:, part.start : part.start + part.matrix.shape[1]] += part.matrix.toarray()
        elif isinstance(part.places, int):
            out[:, part.places] += np.float32(1) if part.values is None else part.values
        elif part.places.size and part.places.min() >= 0:
            flat[starts + part.places] = np.float32(1) if part.values is None else part.values
        else:
            rows = np.flatnonzero(part.places >= 0)
            flat[starts[rows] + part.places[rows]] = np.float32(1) if part.values is None else part.values[rows]

    in_threads(put, parts, pool)


def sparse(parts: Sequence[Part], shape: tuple[int, int], pool: ThreadPoolExecutor | None = None) -> csr_array:
    """Parts whose features ascend from part to part in every row, as CSR.

    >>> parts = [Slot(0, np.array([5, 6], np.float32)), Slot(np.array([2, -1], np.int32))]
    >>> sparse(parts, (2, 3)).toarray().tolist()
    [[5.0, 0.0, 1.0], [6.0, 0.0, 0.0]]
    """
    n_rows, n_features = shape
    match parts:
        case [Several(matrix, start=0)] if matrix.shape == shape:
            return matrix
    indptr = np.zeros(n_rows + 1, np.int64)
    for part in parts:
        indptr[1:] += _entries(part)
    np.cumsum(indptr, out=indptr)
    kind = np.int32 if max(indptr[-1], n_features) < 2**31 else np.int64
    indices, data = np.empty(indptr[-1], kind), np.empty(indptr[-1], np.float32)

    runs = [run if isinstance(run, Several) else _stacked(run, n_rows) for run in _runs(parts)]

    def fill(rows: slice) -> None:
        next_entry = indptr[rows].copy()
        for run in runs:
            _put(run, rows, next_entry, indices, data)

    half = n_rows // 2
    in_threads(fill, [slice(0, n_rows)] if pool is None else [slice(0, half), slice(half, n_rows)], pool)
    return csr_array((data, indices, indptr.astype(kind)), shape=shape)


def _entries(part: Part) -> NDArray[Any] | int:
    """How many features each row has."""
    if isinstance(part, Several):
        return np.asarray(np.diff(part.matrix.indptr))
    return 1 if isinstance(part.places, int) else part.places >= 0


def _runs(parts: Sequence[Part]) -> list[Several | list[Slot]]:
    """The parts, slots that follow one another taken together."""
    runs: list[Several | list[Slot]] = []
    for part in parts:
        if isinstance(part, Several):
            runs.append(part)
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _put(
    run: Several | _Stack, rows: slice, next_entry: NDArray[np.int64], indices: NDArray[Any], data: NDArray[np.float32]
) -> None:
    """Writes the features of some rows, each at its row's next entry."""
    if isinstance(run, Several):
        of_rows = run.matrix[rows]
        counts = np.diff(of_rows.indptr)
        at = np.repeat(next_entry - of_rows.indptr[:-1], counts) + np.arange(of_rows.nnz)
        indices[at], data[at] = of_rows.indices + run.start, of_rows.data
        next_entry += counts
        return
    from torchlogit.kernels.features_loops import put

    places, values = run.places[:, rows], run.values[:, rows]
    put(run.fixed, run.place_of, places, run.value_of, values, next_entry, indices, data)


@dataclass(frozen=True, slots=True)
class _Stack:
    """Slots as kernels/features_loops.py takes them."""

    fixed: NDArray[np.int32]
    place_of: NDArray[np.int64]
    places: NDArray[np.int32]
    value_of: NDArray[np.int64]
    values: NDArray[np.float32]


def _stacked(slots: Sequence[Slot], n_rows: int) -> _Stack:
    fixed = [slot.places if isinstance(slot.places, int) else -1 for slot in slots]
    places = [slot.places for slot in slots if not isinstance(slot.places, int)]
    values = [slot.values for slot in slots if slot.values is not None]
    has_places = np.array([not isinstance(slot.places, int) for slot in slots])
    has_values = np.array([slot.values is not None for slot in slots])
    return _Stack(
        np.array(fixed, np.int32),
        np.where(has_places, np.cumsum(has_places) - 1, -1),
        _rows_apart(places, n_rows, np.int32),
        np.where(has_values, np.cumsum(has_values) - 1, -1),
        _rows_apart(values, n_rows, np.float32),
    )


def _rows_apart(rows: Sequence[Any], length: int, kind: type) -> NDArray[Any]:
    """Rows of a matrix that are no power of two apart: those would share few lines of the processor's cache."""
    padded: NDArray[Any] = np.empty((len(rows), length + 16), kind)
    for row, given in zip(padded, rows, strict=True):
        row[:length] = given
    return padded[:, :length]


def stacked(parts: Sequence[Matrix]) -> Matrix:
    """One above the other."""
    if len(parts) == 1:
        return parts[0]
    return csr_array(vstack(parts, format="csr")) if issparse(parts[0]) else np.concatenate(parts)
