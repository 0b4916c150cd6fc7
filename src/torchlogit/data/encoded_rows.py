"""Encoded rows: features, the index of each row's class, weights; written block by block, then read as one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.encoding.features import Matrix, stacked
from torchlogit.storage import Growing, Storage

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Read = Callable[[], Iterator[Matrix]]
MOST_SHORT = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, slots=True)
class ReadAnew:
    """The features of rows that are not kept: `read` encodes them again each time, in parts of any size."""

    read: Read
    shape: tuple[int, int]

    def __getitem__(self, some: slice) -> Matrix:
        """Every so many rows, from the first on: one reading."""
        step, at, found = some.step or 1, 0, list[Matrix]()
        for part in self.read():
            found.append(part[-at % step :: step])
            at += part.shape[0]
        return stacked(found)

    def parts(self, rows: int) -> Iterator[Matrix]:
        """Parts of so many rows, one reading of all."""
        held: list[Matrix] = []
        waiting = 0
        for part in self.read():
            held, waiting = [*held, part], waiting + part.shape[0]
            while waiting >= rows:
                whole = stacked(held)
                yield whole[:rows]
                held, waiting = [whole[rows:]], waiting - rows
        if waiting:
            yield stacked(held)


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Some rows of a table, encoded: features (n, n_features), codes (n,), weights (n,), or None where all are 1."""

    features: Matrix | ReadAnew
    codes: Codes
    weight: Floats | None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """What the features take; of features that are read anew, what they would take as a dense matrix."""
        features = self.features
        if isinstance(features, np.ndarray):
            return int(features.nbytes)
        if isinstance(features, ReadAnew):
            return 4 * math.prod(features.shape)
        return int(features.data.nbytes + features.indices.nbytes + features.indptr.nbytes)

    def parts(self, rows: int) -> Iterator[EncodedRows]:
        """The rows, so many at a time."""
        cuts = [slice(start, start + rows) for start in range(0, len(self), rows)]
        features = self.features
        matrices = features.parts(rows) if isinstance(features, ReadAnew) else (features[cut] for cut in cuts)
        for cut, matrix in zip(cuts, matrices, strict=True):
            yield EncodedRows(matrix, self.codes[cut], None if self.weight is None else self.weight[cut])


@dataclass(frozen=True, slots=True)
class RowWriter:
    """Rows on their way to a storage.

    >>> from torchlogit.storage import InMemory
    >>> writer = RowWriter.into(InMemory(), width=2, sparse=True, weighted=False)
    >>> writer.append(EncodedRows(csr_array(np.array([[1.0, 0.0]], np.float32)), np.array([1]), None))
    >>> writer.append(EncodedRows(csr_array(np.array([[0.0, 4.0]], np.float32)), np.array([0]), None))
    >>> writer.rows().features.toarray().tolist(), writer.rows().codes.tolist()
    ([[1.0, 0.0], [0.0, 4.0]], [1, 0])
    """

    features: _FeatureWriter
    codes: Growing
    weights: Growing | None

    @classmethod
    def into(cls, storage: Storage, *, width: int, sparse: bool, weighted: bool) -> Self:
        """A writer of rows of so many features, in CSR form where `sparse`."""
        features = _SparseWriter.into(storage, width) if sparse else _DenseWriter(storage.growing(np.float32), width)
        return cls(features, storage.growing(np.int16), storage.growing(np.float64) if weighted else None)

    @classmethod
    def reading(cls, read: Read, storage: Storage, *, width: int, weighted: bool) -> Self:
        """A writer that keeps no features, which `read` encodes again."""
        weights = storage.growing(np.float64) if weighted else None
        return cls(_Counter(read, width), storage.growing(np.int16), weights)

    def append(self, rows: EncodedRows) -> None:
        """Adds rows."""
        self.features.append(rows.features)
        self.codes.append(rows.codes)
        if self.weights is not None:
            assert rows.weight is not None
            self.weights.append(rows.weight)

    def rows(self) -> EncodedRows:
        """All that was written."""
        weight = None if self.weights is None else self.weights.array()
        return EncodedRows(self.features.matrix(), self.codes.array(), weight)


class _FeatureWriter(Protocol):
    def append(self, features: Any) -> None: ...
    def matrix(self) -> Matrix | ReadAnew: ...


@dataclass(slots=True)
class _Counter:
    """Counts rows, and keeps none."""

    read: Read
    width: int
    n_rows: int = 0

    def append(self, features: Any) -> None:
        self.n_rows += features.shape[0]

    def matrix(self) -> ReadAnew:
        return ReadAnew(self.read, (self.n_rows, self.width))


@dataclass(frozen=True, slots=True)
class _DenseWriter:
    values: Growing
    width: int

    def append(self, features: NDArray[np.float32]) -> None:
        self.values.append(features)

    def matrix(self) -> Matrix:
        return self.values.array().reshape(-1, self.width)


@dataclass(slots=True)
class _SparseWriter:
    storage: Storage
    width: int
    values: Growing
    indices: Growing
    ends: Growing
    end: int = 0

    @classmethod
    def into(cls, storage: Storage, width: int) -> Self:
        values, indices, ends = (storage.growing(dtype) for dtype in (np.float32, np.int32, np.int64))
        return cls(storage, width, values, indices, ends)

    def append(self, features: csr_array) -> None:
        self.values.append(features.data)
        self.indices.append(features.indices)
        self.ends.append(features.indptr[1:].astype(np.int64) + self.end)
        self.end += int(features.indptr[-1])

    def matrix(self) -> Matrix:
        values, indices, ends = self.values.array(), self.indices.array(), self.ends.array()
        # scipy wants both index arrays of one type, and would copy them itself, in main memory.
        dtype = np.int32 if len(values) <= MOST_SHORT else np.int64
        indptr = self.storage.empty((len(ends) + 1,), dtype)
        indptr[0], indptr[1:] = 0, ends
        if dtype == np.int64:
            long = self.storage.empty(indices.shape, dtype)
            long[:] = indices
            indices = long
        matrix = csr_array((values, indices, indptr), shape=(len(ends), self.width))
        matrix.has_sorted_indices = matrix.has_canonical_format = True  # as the encoder makes them
        return matrix
