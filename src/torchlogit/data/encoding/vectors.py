"""Columns of sparse vectors, which are used as features without any change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.block import Locate
from torchlogit.data.encoding.column_kind import ColumnKind, DroppedColumn, Learned
from torchlogit.data.encoding.features import EncodedColumn, SparseBlock
from torchlogit.data.encoding.row_warnings import MAX_EXAMPLES, RowWarnings, UnseenFeatures
from torchlogit.data.sparse_vectors import csr_arrays, is_vector_type
from torchlogit.errors import DataError


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A column of sparse vectors with `size` features, whose indices in the vectors start at `first`.

    filled: the mean number of entries of a vector.
    """

    name: str
    first: int
    size: int
    filled: float
    kind: ColumnKind = ColumnKind.VECTOR

    @property
    def n_features(self) -> int:
        return self.size

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}{index}" for index in range(self.first, self.first + self.size)]


class VectorLearner:
    """Learns the range of the indices, which starts at 0 if index 0 occurs, else at 1."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._first, self._largest, self._n_entries, self._n_rows = 1, 0, 0, 0

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        _, indices, _ = csr_arrays(column)
        self._n_rows += len(column)
        if len(indices):
            self._n_entries += len(indices)
            self._first = min(self._first, int(indices.min() > 0))
            self._largest = max(self._largest, int(indices.max()))

    def result(self) -> Learned:
        if not self._n_entries:
            return Learned(DroppedColumn(self._name, "no values"))
        size = self._largest - self._first + 1
        return Learned(VectorColumn(self._name, self._first, size, self._n_entries / self._n_rows))


@dataclass(frozen=True, slots=True)
class VectorEncoder:
    """Encodes the vectors without any change; features that did not occur in training are left out."""

    column: VectorColumn
    start: int

    def encode(self, values: pa.ChunkedArray) -> tuple[list[EncodedColumn], RowWarnings]:
        column = self.column
        if not is_vector_type(values.type):
            raise DataError(f"column {column.name!r} holds {values.type}, where sparse vectors were expected")
        indptr, indices, numbers = csr_arrays(values)
        _refuse_not_finite(column.name, indptr, numbers)
        places = indices - column.first
        if len(places) and places.min() < 0:
            row = int(np.searchsorted(indptr, np.argmin(places), side="right")) - 1
            raise DataError(
                f"column {column.name!r} holds index {column.first + int(places.min())}, but indices start at "
                f"{column.first} in training; number the features in the same way",
                column=column.name,
                row=row,
            )
        warning = UnseenFeatures(column.name, 0)
        unseen = places >= column.size
        if unseen.any():
            warning = _unseen_features(column.name, indptr, indices, unseen)
            kept = np.concatenate([[0], np.cumsum(~unseen)])
            indptr, places, numbers = kept[indptr], places[~unseen], numbers[~unseen]
        if len(places) < 2**31:
            indptr = indptr.astype(np.int32)
        matrix = csr_array((numbers, places, indptr), shape=(len(indptr) - 1, column.size))
        return [SparseBlock(matrix, self.start)], (warning,)


def _unseen_features(
    name: str, indptr: NDArray[np.int64], indices: NDArray[Any], unseen: NDArray[np.bool_]
) -> UnseenFeatures:
    has_unseen = np.diff(np.concatenate([[0], np.cumsum(unseen)])[indptr]) > 0
    smallest = np.unique(indices[unseen])[:MAX_EXAMPLES]
    return UnseenFeatures(name, int(np.count_nonzero(has_unseen)), tuple(smallest.tolist()))


def _refuse_not_finite(name: str, indptr: NDArray[np.int64], numbers: NDArray[np.float32]) -> None:
    finite = np.isfinite(numbers)
    if not finite.all():
        row = int(np.searchsorted(indptr, np.argmin(finite), side="right")) - 1
        raise DataError(f"column {name!r} holds a value that is not a finite number; correct it", column=name, row=row)
