"""A sparse design: compressed sparse rows (CSR) in main memory, read by compiled loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from torchlogit.design.matrix import LARGEST, Entries, Rows, micro_blocks
from torchlogit.errors import InputError
from torchlogit.kernels import csr as kernels
from torchlogit.kernels import dense as dense_kernels

# A block holds the larger of these two numbers of stored values, so that adding its sums by column to the total takes
# little of the time.
BLOCK_NONZEROS = 1 << 24  # stored values
BLOCK_COLUMNS = 64  # stored values for each column
DENSE_SHARE = 0.25  # share of stored values above which a Gram matrix is computed from rows made dense


@dataclass(frozen=True, slots=True)
class SparseRows:
    """A block of a `Sparse` design."""

    values: kernels.CsrRows
    has_intercept: bool

    def matmul(self, theta: Tensor) -> Tensor:
        array, d = theta.contiguous().numpy(), self.values.d
        last = array[-1] if self.has_intercept else np.zeros(array.shape[1])
        return torch.from_numpy(kernels.matmul(self.values, array[:d], last))

    def rmatmul(self, residual: Tensor) -> Tensor:
        sums = kernels.rmatmul(self.values, residual.contiguous().numpy(), intercept=self.has_intercept)
        return torch.from_numpy(sums)

    def absolute(self) -> SparseRows:
        whole = self.values
        part = slice(whole.indptr[0], whole.indptr[-1])
        indptr, data = whole.indptr - whole.indptr[0], np.abs(whole.data[part])
        return replace(self, values=replace(whole, indptr=indptr, indices=whole.indices[part], data=data))

    def gram(self, weights: Tensor) -> Tensor:
        """The Gram matrices, from all pairs of a row's stored values, or, where those are many, from dense rows."""
        size = len(self.values) * self.values.d
        if self.values.nonzeros <= DENSE_SHARE * size:
            loop, rows = kernels.gram, self.values
            return torch.from_numpy(loop(rows, weights.contiguous().numpy(), intercept=self.has_intercept))
        return torch.from_numpy(dense_kernels.gram(self._dense(), weights.numpy(), intercept=self.has_intercept))

    def rough_gram(self, weights: Tensor) -> Tensor:
        return self.gram(weights)

    def moments(self, weights: Tensor) -> Tensor:
        sums = kernels.moments(self.values, weights.contiguous().numpy(), intercept=self.has_intercept)
        return torch.from_numpy(sums).T

    def squares(self, weights: Tensor) -> Tensor:
        sums = kernels.squares(self.values, weights.contiguous().numpy(), intercept=self.has_intercept)
        return torch.from_numpy(sums)

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """An upper bound: it is computed as if every row also had an implicit zero in every column."""
        zeros = precision * center.square()
        if self.has_intercept:
            zeros[-1] = precision[-1] * (1 - center[-1]) ** 2
        least = float(zeros.max()) if len(zeros) else 0.0
        return torch.from_numpy(kernels.largest(self.values, center.numpy(), precision.numpy(), least))

    def quadratic(self, matrix: Tensor) -> Tensor:
        d = self.values.d
        inner = torch.from_numpy(kernels.quadratic(self.values, matrix[:d, :d].contiguous().numpy()))
        if not self.has_intercept:
            return inner
        sides = matrix[-1:, :].T + matrix[:, -1:]
        sides[-1] = matrix[-1, -1]
        return inner + self.matmul(sides)[:, 0]

    def entries(self, columns: list[int]) -> list[Entries]:
        d, csc = self.values.d, self._csr()[:, [j for j in columns if j < self.values.d]].tocsc()
        rows, values = torch.from_numpy(csc.indices).long(), torch.from_numpy(csc.data).double()
        parts = (slice(*edges) for edges in itertools.pairwise(csc.indptr.tolist()))
        ones = slice(None), torch.ones(len(self.values), dtype=torch.float64)
        stored = ((rows[part], values[part]) for part in parts)
        return [next(stored) if j < d else ones for j in columns]

    def _dense(self) -> kernels.Values:
        dense: kernels.Values = self._csr().toarray()
        return dense

    def _csr(self) -> scipy.sparse.csr_array:
        """The block's rows without the intercept's column: its values are not copied."""
        whole = self.values
        start, stop = whole.indptr[0], whole.indptr[-1]
        parts = whole.data[start:stop], whole.indices[start:stop], whole.indptr - start
        return _sorted(scipy.sparse.csr_array(parts, shape=(len(whole), whole.d)))


@dataclass(frozen=True, slots=True)
class Sparse:
    """A CSR matrix of float32 or float64 values with columns ascending within a row; such a matrix is not copied.

    edges: the ends of ranges of columns with about as many stored values each.

    >>> design = Sparse.of(scipy.sparse.csr_array([[0.0, 2.0], [0.0, 0.0]]))
    >>> theta = torch.tensor([[5.0], [3.0], [1.0]], dtype=torch.float64)
    >>> [rows.matmul(theta).tolist() for _, rows in design.blocks()]
    [[[7.0], [1.0]]]
    """

    values: scipy.sparse.csr_array
    has_intercept: bool
    edges: tuple[int, ...]

    @classmethod
    def of(cls, matrix: Any, *, intercept: bool = True) -> Sparse:
        """The design of a scipy sparse matrix or array or a torch sparse tensor, of any format, on the CPU.

        Duplicates are added up. InputError unless all values are finite and at most 1e100 in size.
        """
        values = as_csr(matrix)
        if values.shape[0] == 0:
            raise InputError("X has no rows: expected at least one of each class")
        _refuse_unusable(values)
        return cls(values, intercept, kernels.edges(values.indices, values.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        n, d = self.values.shape
        return n, d + self.has_intercept

    def dense(self) -> Tensor:
        values = torch.from_numpy(self.values.toarray()).to(torch.float64)
        return torch.nn.functional.pad(values, (0, int(self.has_intercept)), value=1.0)

    def csr(self) -> scipy.sparse.csr_array:
        return self.values

    @property
    def n_values(self) -> int:
        return int(self.values.nnz)

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The blocks: views."""
        n, d = self.values.shape
        whole = kernels.CsrRows(self.values.indptr, self.values.indices, self.values.data, d, self.edges)
        for rows in sparse_blocks(n, d, whole.nonzeros):
            yield rows, SparseRows(whole.rows(rows), self.has_intercept)

    def rows(self, start: int, stop: int) -> Sparse:
        """The rows start..stop-1: a view, unless scipy prefers a copy because they are few of many."""
        indptr, part = self.values.indptr[start : stop + 1], slice(*self.values.indptr[[start, stop]])
        arrays = self.values.data[part], self.values.indices[part], indptr - indptr[0]
        return replace(self, values=_sorted(scipy.sparse.csr_array(arrays, shape=(stop - start, self.values.shape[1]))))

    def take(self, indices: Tensor) -> Sparse:
        return replace(self, values=_sorted(self.values[indices.numpy()]))

    def can_center(self) -> Tensor:
        """The features that have no implicit zeros."""
        n, d = self.values.shape
        return torch.from_numpy(np.bincount(self.values.indices, minlength=d) == n)

    def conditioned(self, center: Tensor, scale: Tensor) -> Sparse:
        """These rows; the values that are stored are centred and scaled."""
        csr = self.values
        data = (csr.data - center.numpy()[csr.indices]) * scale.numpy()[csr.indices]
        arrays = data, csr.indices, csr.indptr
        return replace(self, values=_sorted(scipy.sparse.csr_array(arrays, shape=csr.shape)))

    def columns(self, indices: Tensor) -> Sparse:
        values = _sorted(self.values[:, indices.numpy()])
        return Sparse(values, self.has_intercept, kernels.edges(values.indices, values.shape[1]))


def sparse_blocks(n: int, d: int, n_values: int) -> list[slice]:
    """The blocks of n rows of d features, of which n_values values are stored."""
    values = max(BLOCK_NONZEROS, BLOCK_COLUMNS * d)
    return micro_blocks(n, values * n // max(1, n_values), max_size=n)


def as_csr(matrix: Any) -> scipy.sparse.csr_array:
    """A scipy or torch sparse matrix as a csr_array of float32 or float64, columns ascending without duplicates.

    It shares memory with `matrix` where that is possible. InputError for anything but a sparse matrix of real numbers
    on the CPU.
    """
    if isinstance(matrix, Tensor):
        matrix = _from_torch(matrix)
    if not scipy.sparse.issparse(matrix):
        raise InputError(f"X is a {type(matrix).__name__}: expected a sparse matrix of scipy or torch; use Dense.of")
    if matrix.ndim != 2:
        raise InputError(f"X has {matrix.ndim} dimensions: expected 2, rows and features; reshape it")
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"X holds values of type {matrix.dtype}: expected real numbers; convert it")
    csr = scipy.sparse.csr_array(matrix)
    return _canonical(csr if csr.dtype in (np.float32, np.float64) else csr.astype(np.float64))


def _from_torch(tensor: Tensor) -> scipy.sparse.sparray:
    """The scipy matrix of a torch tensor of layout CSR, CSC or COO; the first two share memory with it."""
    if tensor.device.type != "cpu":
        raise InputError(f"X is sparse and on {tensor.device}: expected it on the CPU; move it with X.cpu()")
    if tensor.layout not in (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc):
        raise InputError(f"X has layout {tensor.layout}: expected sparse CSR, CSC or COO; use X.to_sparse_csr()")
    if tensor.ndim != 2 or tensor.dense_dim() != 0:
        raise InputError(f"X is a sparse tensor of shape {tuple(tensor.shape)}: expected rows and features; reshape it")
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        rows, columns = tensor.indices().numpy()
        return scipy.sparse.coo_array((tensor.values().numpy(), (rows, columns)), shape=tuple(tensor.shape))
    if tensor.layout == torch.sparse_csr:
        parts = tensor.values().numpy(), tensor.col_indices().numpy(), tensor.crow_indices().numpy()
        return scipy.sparse.csr_array(parts, shape=tuple(tensor.shape))
    parts = tensor.values().numpy(), tensor.row_indices().numpy(), tensor.ccol_indices().numpy()
    return scipy.sparse.csc_array(parts, shape=tuple(tensor.shape))


def _canonical(csr: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """The matrix with ascending columns, no duplicates, and indices of 32 bits where they fit; the argument is kept.

    A matrix that is canonical already is not copied. Where only its indices are of 64 bits, its values are not copied.
    """
    if not csr.has_canonical_format:
        csr = csr.tocsc().tocsr()  # sorts the columns, faster than row by row
        csr.sum_duplicates()
    fits = max(csr.nnz, *csr.shape) < np.iinfo(np.int32).max
    dtype = np.int32 if fits else np.int64
    parts = csr.data[: csr.nnz], csr.indices[: csr.nnz].astype(dtype, copy=False), csr.indptr.astype(dtype, copy=False)
    return _sorted(scipy.sparse.csr_array(parts, shape=csr.shape))


def _sorted(csr: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Flag the matrix as having ascending columns without duplicates, so that scipy does not check."""
    csr.has_sorted_indices = csr.has_canonical_format = True
    return csr


def _refuse_unusable(csr: scipy.sparse.csr_array) -> None:
    limit = min(LARGEST, float(np.finfo(csr.dtype).max))
    if csr.nnz and not (csr.data.min() >= -limit and csr.data.max() <= limit):
        at = int(np.argmin(np.abs(csr.data) <= limit))
        row = int(np.searchsorted(csr.indptr, at, side="right")) - 1
        raise InputError(
            f"X holds {float(csr.data[at])} at row {row}, column {int(csr.indices[at])}: "
            f"expected numbers between -{LARGEST:g} and {LARGEST:g}; correct or drop such rows"
        )
