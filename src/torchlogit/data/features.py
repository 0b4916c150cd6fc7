"""Where encoded values go: a dense matrix of float32, or a sparse one, by the same two calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, hstack

from torchlogit.errors import DataError

Matrix: TypeAlias = NDArray[np.float32] | csr_array
Places: TypeAlias = NDArray[np.integer[Any]]


class Features(Protocol):
    """Features of some rows, all zero to begin with."""

    def put(self, rows: Places, places: Places | int, values: NDArray[np.float32]) -> None:
        """Adds a value to the feature at a place in each of these rows."""

    def add(self, matrix: csr_array) -> None:
        """Adds a matrix of all rows and features."""


@dataclass(frozen=True, slots=True)
class DenseFeatures:
    """Some columns of a matrix of zeros."""

    values: NDArray[np.float32]

    def put(self, rows: Places, places: Places | int, values: NDArray[np.float32]) -> None:
        if len(rows) == len(self.values) and isinstance(places, int):
            self.values[:, places] += values  # in every row
        else:
            self.values[rows, places] += values

    def add(self, matrix: csr_array) -> None:
        self.values[:] += matrix.toarray()


@dataclass(frozen=True, slots=True)
class SparseFeatures:
    """A matrix of so many rows and features, in parts until it is asked for."""

    shape: tuple[int, int]
    entries: list[tuple[Places, Places, NDArray[np.float32]]] = field(default_factory=list)
    matrices: list[csr_array] = field(default_factory=list)

    def put(self, rows: Places, places: Places | int, values: NDArray[np.float32]) -> None:
        columns = np.full(len(rows), places, np.int32) if isinstance(places, int) else places.astype(np.int32)
        self.entries.append((rows.astype(np.int32), columns, values))

    def add(self, matrix: csr_array) -> None:
        self.matrices.append(matrix)

    def matrix(self) -> csr_array:
        """The sum of all that was put and added."""
        parts = list(self.matrices)
        if self.entries or not parts:
            empty = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
            rows, columns, values = (np.concatenate(part) for part in zip(empty, *self.entries, strict=True))
            parts.append(coo_array((values, (rows, columns)), shape=self.shape).tocsr())
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


@dataclass(frozen=True, slots=True)
class Layout:
    """A matrix with one block of features beside the other: `blocks` to fill, and then the whole."""

    blocks: list[DenseFeatures] | list[SparseFeatures]
    dense: NDArray[np.float32] | None

    def matrix(self) -> Matrix:
        """All blocks, side by side."""
        if self.dense is not None:
            return self.dense
        parts = [cast(SparseFeatures, block).matrix() for block in self.blocks]
        return parts[0] if len(parts) == 1 else csr_array(hstack(parts, format="csr", dtype=np.float32))


def layout(n_rows: int, widths: list[int], *, sparse: bool) -> Layout:
    """Zeros for blocks of these widths.

    >>> two = layout(2, [1, 2], sparse=True)
    >>> two.blocks[1].put(np.array([1]), 0, np.array([3.0], np.float32))
    >>> two.matrix().toarray().tolist()
    [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    """
    if sparse:
        return Layout([SparseFeatures((n_rows, width)) for width in widths], None)
    n_features = sum(widths)
    try:
        values = np.zeros((n_rows, n_features), np.float32)
    except MemoryError:
        size = n_rows * n_features * 4 / 2**30
        raise DataError(
            f"{n_rows} rows of {n_features} features take {size:.0f} GiB, more than there is; "
            f"leave out the columns with the most levels (drop or --drop)"
        ) from None
    ends = np.cumsum(widths).tolist()
    return Layout(
        [DenseFeatures(values[:, end - width : end]) for end, width in zip(ends, widths, strict=True)], values
    )
