"""Encoded columns, and their assembly into one matrix, dense or CSR; both hold the same numbers."""

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

Matrix: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | csr_array
Real: TypeAlias = type[np.float32] | type[np.float64]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

FEW_ROWS = 4096  # up to this number of rows, one thread does the work; for more rows, several threads share it


@dataclass(frozen=True, slots=True)
class OneHotColumn:
    """A column with at most one nonzero feature per row.

    places: the index of each row's feature, (n,), -1 for none; or one index for all rows. values: (n,), or None if all
    are 1.
    """

    places: NDArray[np.int32] | int
    values: NDArray[np.float32] | NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class SparseBlock:
    """A column with any number of nonzero features per row: a CSR matrix. start: the index of its first feature."""

    matrix: csr_array
    start: int


EncodedColumn: TypeAlias = OneHotColumn | SparseBlock


def merged(columns: Sequence[OneHotColumn]) -> list[OneHotColumn]:
    """Merges columns that may share features: sorts each row's places, and adds the values of equal places.

    >>> places = np.array([3, 1], np.int32), np.array([3, 0], np.int32)
    >>> values = np.array([1, 1], np.float32), np.array([1, -1], np.float32)
    >>> [(column.places.tolist(), column.values.tolist()) for column in merged([*map(OneHotColumn, places, values)])]
    [([-1, 0], [1.0, -1.0]), ([3, 1], [2.0, 1.0])]
    """
    if len(columns) == 1:
        return list(columns)
    from torchlogit.kernels.features_loops import merge

    n_rows = np.size(columns[0].places)
    places = _padded([column.places for column in columns], n_rows, np.int32)
    values = _padded([column.values for column in columns], n_rows, np.float32)
    merge(places, values)
    return [OneHotColumn(place, value) for place, value in zip(places, values, strict=True)]


def threads(n_rows: int) -> ThreadPoolExecutor | nullcontext[None]:
    """A context manager that gives a pool of threads for `in_threads`, or None if there are few rows."""
    return nullcontext() if n_rows <= FEW_ROWS else ThreadPoolExecutor(pa.cpu_count())


def in_threads(
    job: Callable[[_Item], _Result], items: Sequence[_Item], pool: ThreadPoolExecutor | None
) -> list[_Result]:
    """job(item) for every item, in order. Threads help since pyarrow and numpy release the interpreter's lock."""
    return list(map(job, items) if pool is None else pool.map(job, items))


def put_dense(
    columns: Sequence[EncodedColumn], out: NDArray[Any], pool: ThreadPoolExecutor | None = None
) -> None:
    """Writes columns into a matrix of zeros; no two columns may have a feature in common.

    >>> out = np.zeros((2, 3), np.float32)
    >>> put_dense([OneHotColumn(0, np.array([5, 6], np.float32)), OneHotColumn(np.array([2, -1], np.int32))], out)
    >>> out.tolist()
    [[5.0, 0.0, 1.0], [6.0, 0.0, 0.0]]
    """
    n_rows, n_features = out.shape
    assert out.flags.c_contiguous
    flat, starts = out.reshape(-1), np.arange(0, n_rows * n_features, n_features or 1)

    def put(column: EncodedColumn) -> None:
        if isinstance(column, SparseBlock):
            out[:, column.start : column.start + column.matrix.shape[1]] += column.matrix.toarray()
        elif isinstance(column.places, int):
            out[:, column.places] += np.float32(1) if column.values is None else column.values
        elif column.places.size and column.places.min() >= 0:
            flat[starts + column.places] = np.float32(1) if column.values is None else column.values
        else:
            rows = np.flatnonzero(column.places >= 0)
            flat[starts[rows] + column.places[rows]] = np.float32(1) if column.values is None else column.values[rows]

    in_threads(put, columns, pool)


def as_sparse(
    columns: Sequence[EncodedColumn],
    shape: tuple[int, int],
    pool: ThreadPoolExecutor | None = None,
    dtype: Real = np.float32,
) -> csr_array:
    """Columns as one CSR matrix; in every row, each column's features must come after those of the columns before it.

    dtype: of its values.

    >>> columns = [OneHotColumn(0, np.array([5, 6], np.float32)), OneHotColumn(np.array([2, -1], np.int32))]
    >>> as_sparse(columns, (2, 3)).toarray().tolist()
    [[5.0, 0.0, 1.0], [6.0, 0.0, 0.0]]
    """
    n_rows, n_features = shape
    match columns:
        case [SparseBlock(matrix, start=0)] if matrix.shape == shape:
            return matrix.astype(dtype, copy=False)
    indptr = np.zeros(n_rows + 1, np.int64)
    for column in columns:
        indptr[1:] += _n_nonzero(column)
    np.cumsum(indptr, out=indptr)
    index_type = np.int32 if max(indptr[-1], n_features) < 2**31 else np.int64
    indices, data = np.empty(indptr[-1], index_type), np.empty(indptr[-1], dtype)
    groups = [group if isinstance(group, SparseBlock) else _stacked(group, n_rows, dtype) for group in _groups(columns)]

    def fill(rows: slice) -> None:
        next_entry = indptr[rows].copy()
        for group in groups:
            _put_sparse(group, rows, next_entry, indices, data)

    half = n_rows // 2
    in_threads(fill, [slice(0, n_rows)] if pool is None else [slice(0, half), slice(half, n_rows)], pool)
    return csr_array((data, indices, indptr.astype(index_type)), shape=shape)


def _n_nonzero(column: EncodedColumn) -> NDArray[Any] | int:
    """The number of nonzero features of each row."""
    if isinstance(column, SparseBlock):
        return np.asarray(np.diff(column.matrix.indptr))
    return 1 if isinstance(column.places, int) else column.places >= 0


def _groups(columns: Sequence[EncodedColumn]) -> list[SparseBlock | list[OneHotColumn]]:
    """The columns in their order, with neighbouring one-hot columns together in one list."""
    groups: list[SparseBlock | list[OneHotColumn]] = []
    for column in columns:
        if isinstance(column, SparseBlock):
            groups.append(column)
        elif groups and isinstance(groups[-1], list):
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _put_sparse(
    group: SparseBlock | _OneHotColumns,
    rows: slice,
    next_entry: NDArray[np.int64],
    indices: NDArray[Any],
    data: NDArray[Any],
) -> None:
    """Writes the features of some rows at each row's `next_entry`, and advances `next_entry` by their number."""
    if isinstance(group, SparseBlock):
        of_rows = group.matrix[rows]
        counts = np.diff(of_rows.indptr)
        at = np.repeat(next_entry - of_rows.indptr[:-1], counts) + np.arange(of_rows.nnz)
        indices[at], data[at] = of_rows.indices + group.start, of_rows.data
        next_entry += counts
        return
    from torchlogit.kernels.features_loops import put

    places, values = group.places[:, rows], group.values[:, rows]
    put(group.fixed, group.place_of, places, group.value_of, values, next_entry, indices, data)


@dataclass(frozen=True, slots=True)
class _OneHotColumns:
    """One-hot columns in the form of the arguments of `put` in kernels/features_loops.py, which explains them."""

    fixed: NDArray[np.int32]
    place_of: NDArray[np.int64]
    places: NDArray[np.int32]
    value_of: NDArray[np.int64]
    values: NDArray[Any]


def _stacked(columns: Sequence[OneHotColumn], n_rows: int, dtype: Real) -> _OneHotColumns:
    fixed = [column.places if isinstance(column.places, int) else -1 for column in columns]
    places = [column.places for column in columns if not isinstance(column.places, int)]
    values = [column.values for column in columns if column.values is not None]
    has_places = np.array([not isinstance(column.places, int) for column in columns])
    has_values = np.array([column.values is not None for column in columns])
    return _OneHotColumns(
        np.array(fixed, np.int32),
        np.where(has_places, np.cumsum(has_places) - 1, -1),
        _padded(places, n_rows, np.int32),
        np.where(has_values, np.cumsum(has_values) - 1, -1),
        _padded(values, n_rows, dtype),
    )


def _padded(rows: Sequence[Any], length: int, dtype: type) -> NDArray[Any]:
    """The rows as a matrix with 16 spare entries per row, so that the row stride is not a power of two.

    If it were, the entries of a column would fall into few cache sets and evict each other.
    """
    matrix: NDArray[Any] = np.empty((len(rows), length + 16), dtype)
    for row, values in zip(matrix, rows, strict=True):
        row[:length] = values
    return matrix[:, :length]


def stacked(matrices: Sequence[Matrix]) -> Matrix:
    """The rows of the first matrix, then those of the next, and so on."""
    if len(matrices) == 1:
        return matrices[0]
    return csr_array(vstack(matrices, format="csr")) if issparse(matrices[0]) else np.concatenate(matrices)
