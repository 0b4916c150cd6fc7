"""A design that keeps no rows: every pass reads them again from their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from torchlogit.design.dense import Dense, dense_blocks, worth_compiling
from torchlogit.design.matrix import Rows
from torchlogit.design.sparse import Sparse, SparseRows, sparse_blocks
from torchlogit.errors import InputError
from torchlogit.kernels import csr as kernels

Part: TypeAlias = Any  # NDArray of float32 or float64 | scipy.sparse.csr_array, which knows no types
Read: TypeAlias = Callable[[], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class Streamed:
    """The n rows of d features that `read` yields, in parts of any size, the same rows at every call.

    The rows are float32 or float64. Blocks, and so all sums, are bit for bit those of a `Dense` or `Sparse` design of
    these rows. n_values: the stored values, of item_bytes bytes each. edges: None for dense rows; for sparse ones, the
    ends of ranges of columns with about as many stored values each. compiled: whether dense rows are read by the
    compiled loops.

    >>> parts = [np.array([[1.0], [2.0]], np.float32), np.array([[3.0]], np.float32)]
    >>> design = Streamed.of(lambda: iter(parts), intercept=True)
    >>> design.shape, design.take(torch.tensor([0, 2])).dense().tolist()
    ((3, 2), [[1.0, 1.0], [3.0, 1.0]])
    """

    read: Read
    n: int
    d: int
    n_values: int
    has_intercept: bool
    edges: tuple[int, ...] | None
    compiled: bool = False
    item_bytes: int = 4

    @classmethod
    def of(cls, read: Read, *, intercept: bool) -> Streamed:
        """The design of these rows, which are read once to count them; InputError where there are none."""
        n, d, n_values, edges, item_bytes = 0, 0, 0, None, 4
        for part in read():
            n, d, item_bytes = n + part.shape[0], part.shape[1], part.dtype.itemsize
            n_values += part.nnz if scipy.sparse.issparse(part) else part.size
            if edges is None and scipy.sparse.issparse(part):
                edges = kernels.edges(part.indices, d)
        if not n:
            raise InputError("X has no rows: expected at least one of each class")
        return cls(read, n, d, n_values, intercept, edges, worth_compiling(n_values), item_bytes)

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.d + self.has_intercept

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        if self.edges is None:
            for rows, part in self._cut(dense_blocks(self.n, self.shape[1], self.item_bytes, compiled=self.compiled)):
                ((_, block),) = self._dense(part).blocks()
                yield rows, block
            return
        for rows, part in self._cut(sparse_blocks(self.n, self.d, self.n_values)):
            matrix = kernels.CsrRows(part.indptr, part.indices, part.data, self.d, self.edges)
            yield rows, SparseRows(matrix, self.has_intercept)

    def dense(self) -> Tensor:
        return self.take(torch.arange(self.n)).dense()

    def csr(self) -> scipy.sparse.csr_array:
        """Raises InputError: a method that takes single rows in any order would read all rows for each of them."""
        raise InputError(
            "dual ascent needs the rows in memory: these are read again for every pass; use solver='newton'"
        )

    def rows(self, start: int, stop: int) -> Streamed:
        read = self.read

        def read_range() -> Iterator[Part]:
            position = 0
            for part in read():
                first, last = max(start - position, 0), min(stop - position, part.shape[0])
                if first < last:
                    yield part[first:last]
                position += part.shape[0]
                if position >= stop:
                    return

        return replace(self, read=read_range, n=stop - start, n_values=max(1, self.n_values * (stop - start) // self.n))

    def take(self, indices: Tensor) -> Dense | Sparse:
        """These rows: a copy, all rows being read once."""
        ascending, positions = np.unique(indices.numpy(), return_inverse=True)
        selected: list[Part] = []
        position = 0
        for part in self.read():
            first, last = np.searchsorted(ascending, [position, position + part.shape[0]])
            selected.append(part[ascending[first:last] - position])
            position += part.shape[0]
        rows = _joined(selected)
        rows = rows if (positions[1:] > positions[:-1]).all() else rows[positions]
        if self.edges is None:
            return self._dense(rows)
        return Sparse.of(rows, intercept=self.has_intercept)

    def can_center(self) -> Tensor:
        """All features of dense rows; of sparse ones, those without implicit zeros: all rows are read."""
        if self.edges is None:
            return torch.ones(self.d, dtype=torch.bool)
        counts = sum(np.bincount(part.indices, minlength=self.d) for part in self.read())
        return torch.from_numpy(counts == self.n)

    def conditioned(self, center: Tensor, scale: Tensor) -> Streamed:
        """These rows, conditioned at every reading."""
        read = self.read

        def read_conditioned() -> Iterator[Part]:
            for part in read():
                design = Dense(torch.from_numpy(part), False) if self.edges is None else Sparse(part, False, self.edges)
                values = design.conditioned(center, scale).values
                yield values.numpy() if isinstance(values, Tensor) else values

        return replace(self, read=read_conditioned, item_bytes=8)

    def columns(self, indices: Tensor) -> Streamed:
        """These features, selected at every reading."""
        read, chosen = self.read, indices.numpy()
        return Streamed.of(lambda: (part[:, chosen] for part in read()), intercept=self.has_intercept)

    def _dense(self, part: Part) -> Dense:
        """A dense design of some of the rows, read by the same loops as all of them."""
        return Dense(torch.from_numpy(part), self.has_intercept, self.compiled)

    def _cut(self, slices: list[slice]) -> Iterator[tuple[slice, Any]]:
        """Read the rows and cut them at these consecutive slices; InputError where their number has changed."""
        parts, pending, n_pending = self.read(), list[Part](), 0
        for rows in slices:
            size = rows.stop - rows.start
            while n_pending < size and (part := next(parts, None)) is not None:
                pending.append(part)
                n_pending += part.shape[0]
            if n_pending < size:
                raise InputError(
                    f"{self.n:,} rows were read at first, and fewer now; start again, and leave the data unchanged"
                )
            joined = _joined(pending)
            yield rows, joined[:size]
            pending, n_pending = [joined[size:]], n_pending - size
        if n_pending or next(parts, None) is not None:
            raise InputError(
                f"{self.n:,} rows were read at first, and more now; start again, and leave the data unchanged"
            )


def _joined(parts: list[Part]) -> Any:
    """The parts stacked vertically; a single part is not copied."""
    if len(parts) == 1:
        return parts[0]
    if scipy.sparse.issparse(parts[0]):
        return scipy.sparse.csr_array(scipy.sparse.vstack(parts, format="csr"))
    return np.concatenate(parts)
