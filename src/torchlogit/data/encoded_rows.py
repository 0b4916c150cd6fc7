"""Encoded rows: features, class codes and weights, written block by block and then used as one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.encoding.features import Matrix, Real, stacked
from torchlogit.storage import NamedArrays

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Read = Callable[[], Iterator[Matrix]]
MAX_INT32 = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, slots=True)
class RereadFeatures:
    """Features that are not stored. Each call of `read` reads and encodes the source again, in blocks of any size.

    dtype: their type.
    """

    read: Read
    shape: tuple[int, int]
    dtype: Real = np.float32

    @property
    def standardized(self) -> bool:
        """Whether numbers are encoded as (x - mean) / scale; see `Schema.dtype`."""
        return self.dtype is np.float32

    def __getitem__(self, some: slice) -> Matrix:
        """Rows 0, step, 2 step, ..., in one reading; start and stop of the slice are ignored."""
        step, n_before, chosen = some.step or 1, 0, list[Matrix]()
        for block in self.read():
            chosen.append(block[-n_before % step :: step])
            n_before += block.shape[0]
        return stacked(chosen)

    def blocks(self, rows: int) -> Iterator[Matrix]:
        """All rows, `rows` at a time, in one reading."""
        waiting: list[Matrix] = []
        n_waiting = 0
        for block in self.read():
            waiting, n_waiting = [*waiting, block], n_waiting + block.shape[0]
            while n_waiting >= rows:
                whole = stacked(waiting)
                yield whole[:rows]
                waiting, n_waiting = [whole[rows:]], n_waiting - rows
        if n_waiting:
            yield stacked(waiting)


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Encoded rows: features (n, n_features), class codes (n,), weights (n,) or None where all are 1."""

    features: Matrix | RereadFeatures
    codes: Codes
    weight: Floats | None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Size of the features in bytes; for features that are not stored, their size as a dense matrix."""
        features = self.features
        if isinstance(features, np.ndarray):
            return int(features.nbytes)
        if isinstance(features, RereadFeatures):
            return np.dtype(features.dtype).itemsize * math.prod(features.shape)
        return int(features.data.nbytes + features.indices.nbytes + features.indptr.nbytes)

    def blocks(self, rows: int) -> Iterator[EncodedRows]:
        """The rows, `rows` at a time."""
        cuts = [slice(start, start + rows) for start in range(0, len(self), rows)]
        features = self.features
        matrices = features.blocks(rows) if isinstance(features, RereadFeatures) else (features[cut] for cut in cuts)
        for cut, matrix in zip(cuts, matrices, strict=True):
            yield EncodedRows(matrix, self.codes[cut], None if self.weight is None else self.weight[cut])


@dataclass(slots=True)
class StoredRows:
    """Encoded rows in named arrays: NAME-values, NAME-codes, ... If `sparse`, features are stored in CSR form.

    dtype: of the features.

    To read saved arrays in a later process, make a new object with the same arguments and call `rows`.

    >>> from pathlib import Path
    >>> from torchlogit.storage import TemporaryArrays
    >>> stored = StoredRows(TemporaryArrays(Path(), 1 << 20), "train", width=2, sparse=True, weighted=False)
    >>> stored.append(EncodedRows(csr_array(np.array([[1.0, 0.0]], np.float32)), np.array([1]), None))
    >>> stored.append(EncodedRows(csr_array(np.array([[0.0, 4.0]], np.float32)), np.array([0]), None))
    >>> stored.rows().features.toarray().tolist(), stored.rows().codes.tolist()
    ([[1.0, 0.0], [0.0, 4.0]], [1, 0])
    """

    arrays: NamedArrays
    name: str
    width: int
    sparse: bool
    weighted: bool
    dtype: Real = np.float32
    n_nonzero: int = 0

    def append(self, rows: EncodedRows) -> None:
        """Adds rows."""
        features: Any = rows.features
        if self.sparse:
            self._append("values", features.data, self.dtype)
            self._append("indices", features.indices, np.int32)
            self._append("ends", features.indptr[1:].astype(np.int64) + self.n_nonzero, np.int64)
            self.n_nonzero += int(features.indptr[-1])
        else:
            self._append("values", features, self.dtype)
        self._append("codes", rows.codes, np.int16)
        if self.weighted:
            assert rows.weight is not None
            self._append("weights", rows.weight, np.float64)

    def rows(self) -> EncodedRows:
        """All rows that were added."""
        features = self._csr() if self.sparse else self._array("values", self.dtype).reshape(-1, self.width)
        weight = self._array("weights", np.float64) if self.weighted else None
        return EncodedRows(features, self._array("codes", np.int16), weight)

    def _append(self, part: str, values: NDArray[Any], dtype: type) -> None:
        self.arrays.append(f"{self.name}-{part}", values.astype(dtype, copy=False))

    def _array(self, part: str, dtype: type) -> NDArray[Any]:
        return self.arrays.array(f"{self.name}-{part}", dtype)

    def _csr(self) -> csr_array:
        values, indices = self._array("values", self.dtype), self._array("indices", np.int32)
        ends, storage = self._array("ends", np.int64), self.arrays.storage
        # scipy needs both index arrays to have the same type, and would otherwise convert them in RAM.
        dtype = np.int32 if len(values) <= MAX_INT32 else np.int64
        indptr = storage.empty((len(ends) + 1,), dtype)
        indptr[0], indptr[1:] = 0, ends
        if dtype == np.int64:
            wide = storage.empty(indices.shape, dtype)
            wide[:] = indices
            indices = wide
        matrix = csr_array((values, indices, indptr), shape=(len(ends), self.width))
        matrix.has_sorted_indices = matrix.has_canonical_format = True  # the encoder ensures it
        return matrix


@dataclass(slots=True)
class RereadRows:
    """Encoded rows whose codes and weights are stored in RAM; features are not stored, but read again by `read`."""

    read: Read
    width: int
    weighted: bool
    dtype: Real = np.float32
    codes: list[Codes] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)

    def append(self, rows: EncodedRows) -> None:
        """Adds rows."""
        self.codes.append(rows.codes.astype(np.int16, copy=False))
        if self.weighted:
            assert rows.weight is not None
            self.weights.append(rows.weight)

    def rows(self) -> EncodedRows:
        """All rows that were added."""
        codes = np.concatenate([np.empty(0, np.int16), *self.codes])
        weight = np.concatenate([np.empty(0), *self.weights]) if self.weighted else None
        return EncodedRows(RereadFeatures(self.read, (len(codes), self.width), self.dtype), codes, weight)


RowWriter: TypeAlias = StoredRows | RereadRows
"""Takes encoded rows block by block, and returns them as one table."""
