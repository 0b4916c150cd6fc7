"""A dense design. Large matrices in main memory are read by compiled loops, all others by torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from torchlogit.design.matrix import LARGEST, Entries, Rows, micro_blocks
from torchlogit.errors import InputError
from torchlogit.kernels import dense as kernels
from torchlogit.kernels.parallel import Array

# Bytes of a block's float64 copy. Larger: it does not fit into the cache; smaller: calls take longer than the work.
BLOCK_BYTES = 4 << 20
DEVICE_BLOCK_BYTES = 256 << 20  # the same on a GPU, where every call launches a kernel
COMPILED_VALUES = 1 << 21  # values above which a matrix is read by the compiled loops; larger: more is left to torch
COMPILED_BYTES = 16 << 20  # bytes of a block that the compiled loops read, which is not copied
SMALL_VALUES = 1 << 15  # values of a block up to which computing its Gram matrix on several threads is not faster


@dataclass(frozen=True, slots=True)
class DenseRows:
    """A block of a `Dense` design as a float64 tensor, computed with by torch on any device."""

    values: Tensor

    def matmul(self, theta: Tensor) -> Tensor:
        return self.values @ theta

    def rmatmul(self, residual: Tensor) -> Tensor:
        return self.values.T @ residual

    def absolute(self) -> DenseRows:
        return DenseRows(self.values.abs())

    def gram(self, weights: Tensor) -> Tensor:
        if self.values.device.type == "cpu" and self.values.numel() > SMALL_VALUES:
            return torch.from_numpy(kernels.gram(self.values.numpy(), weights.numpy(), intercept=False))
        return torch.stack([self.values.T @ (self.values * w[:, None]) for w in weights.T])

    def rough_gram(self, weights: Tensor) -> Tensor:
        return self.gram(weights)

    def moments(self, weights: Tensor) -> Tensor:
        return torch.stack([weights @ self.values, weights @ self.values.square()])

    def squares(self, weights: Tensor) -> Tensor:
        return self.values.square().T @ weights

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        return (self.values - center).square_().mul_(precision).amax(dim=1)

    def quadratic(self, matrix: Tensor) -> Tensor:
        return ((self.values @ matrix) * self.values).sum(dim=1)

    def entries(self, columns: list[int]) -> list[Entries]:
        return [(slice(None), column) for column in self.values[:, columns].T.contiguous()]


@dataclass(frozen=True, slots=True)
class CompiledRows:
    """A block of a `Dense` design in main memory, not copied, computed with by the compiled loops."""

    values: kernels.Values
    has_intercept: bool

    def matmul(self, theta: Tensor) -> Tensor:
        columns, last = self._split(theta)
        return torch.from_numpy(kernels.matmul(self.values, columns, last))

    def rmatmul(self, residual: Tensor) -> Tensor:
        return self._joined(torch.from_numpy(kernels.rmatmul(self.values, residual.contiguous().numpy())))

    def absolute(self) -> CompiledRows:
        return replace(self, values=np.abs(self.values))

    def gram(self, weights: Tensor) -> Tensor:
        return torch.from_numpy(kernels.gram(self.values, weights.numpy(), intercept=self.has_intercept))

    def rough_gram(self, weights: Tensor) -> Tensor:
        """The Gram matrices, products in the data's precision."""
        dtype = self.values.dtype.type
        return torch.from_numpy(kernels.gram(self.values, weights.numpy(), intercept=self.has_intercept, dtype=dtype))

    def moments(self, weights: Tensor) -> Tensor:
        sums = torch.from_numpy(kernels.moments(self.values, weights.contiguous().numpy()))
        return torch.nn.functional.pad(sums, (0, int(self.has_intercept)), value=float(weights.sum()))

    def squares(self, weights: Tensor) -> Tensor:
        return torch.stack([self.moments(w)[1] for w in weights.T], dim=1)

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        d = self.values.shape[1]
        top = torch.from_numpy(kernels.largest(self.values, center[:d].numpy(), precision[:d].numpy()))
        return top.clamp_(min=float(precision[-1] * (1 - center[-1]) ** 2)) if self.has_intercept else top

    def quadratic(self, matrix: Tensor) -> Tensor:
        return torch.from_numpy(kernels.quadratic(self.values, matrix.numpy(), intercept=self.has_intercept))

    def entries(self, columns: list[int]) -> list[Entries]:
        d = self.values.shape[1]
        ones = torch.ones(len(self.values), dtype=torch.float64)
        stored = np.ascontiguousarray(self.values[:, [j for j in columns if j < d]].T, dtype=np.float64)
        following = iter(torch.from_numpy(stored))
        return [(slice(None), next(following) if j < d else ones) for j in columns]

    def _split(self, theta: Tensor) -> tuple[Array, Array]:
        """The coefficients, (outputs, features), and the intercepts, (outputs,)."""
        d, k = self.values.shape[1], theta.shape[1]
        last = theta[-1].contiguous().numpy() if self.has_intercept else np.zeros(k)
        return theta[:d].T.contiguous().numpy(), last

    def _joined(self, sums: Tensor) -> Tensor:
        return sums if self.has_intercept else sums[:-1]


@dataclass(frozen=True)
class Dense:
    """A matrix of float32 or float64 values, never copied as a whole.

    compiled: whether its rows are read by the compiled loops.

    >>> design = Dense.of(torch.tensor([[1.0], [2.0]]))
    >>> [rows.matmul(torch.tensor([[3.0], [1.0]], dtype=torch.float64)).tolist() for _, rows in design.blocks()]
    [[[4.0], [7.0]]]
    """

    values: Tensor
    has_intercept: bool
    compiled: bool = False

    @classmethod
    def of(cls, values: Tensor, *, intercept: bool = True) -> Dense:
        """The design of a (rows, features) tensor; InputError unless all values are finite, at most 1e100 in size."""
        if values.ndim != 2:
            raise InputError(f"X has {values.ndim} dimensions: expected 2, rows and features; reshape it")
        if values.dtype not in (torch.float32, torch.float64):
            values = values.to(torch.float64)
        if values.shape[0] == 0:
            raise InputError("X has no rows: expected at least one of each class")
        if not _all_usable(values):
            row, column = (int(i) for i in (~(values.double().abs() <= LARGEST)).nonzero()[0])
            raise InputError(
                f"X holds {float(values[row, column])} at row {row}, column {column}: "
                f"expected numbers between -{LARGEST:g} and {LARGEST:g}; correct or drop such rows"
            )
        large = values.device.type == "cpu" and worth_compiling(values.numel()) and values.is_contiguous()
        return cls(values, intercept, compiled=large)

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1] + self.has_intercept

    @property
    def n_values(self) -> int:
        return self.values.numel()

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The blocks: views for the compiled loops; for torch, copies in a float64 buffer whose last column stays 1."""
        n, p = self.shape
        d = self.values.shape[1]
        if self.compiled:
            matrix = self.values.numpy()
            for rows in dense_blocks(n, p, self.values.element_size(), compiled=True):
                yield rows, CompiledRows(matrix[rows], self.has_intercept)
            return
        if self.values.device.type == "cpu":
            slices = dense_blocks(n, p, self.values.element_size(), compiled=False)
        else:
            slices = micro_blocks(n, DEVICE_BLOCK_BYTES // (8 * p), max_size=n)
        if len(slices) == 1:
            yield slices[0], DenseRows(self._only_block)
            return
        buffer = torch.ones(slices[0].stop if slices else 0, p, dtype=torch.float64, device=self.values.device)
        for rows in slices:
            block = buffer[: rows.stop - rows.start]
            block[:, :d].copy_(self.values[rows])
            yield rows, DenseRows(block)

    @cached_property
    def _only_block(self) -> Tensor:
        """All rows in float64, where they fit into one block: converted once."""
        return self.dense()

    def dense(self) -> Tensor:
        return torch.nn.functional.pad(self.values.to(torch.float64), (0, int(self.has_intercept)), value=1.0)

    def csr(self) -> scipy.sparse.csr_array:
        """The rows without the intercept's column: a copy without its zeros."""
        return scipy.sparse.csr_array(self.values.cpu().numpy())

    def rows(self, start: int, stop: int) -> Dense:
        return replace(self, values=self.values[start:stop])

    def take(self, indices: Tensor) -> Dense:
        return replace(self, values=self.values[indices])

    def can_center(self) -> Tensor:
        return torch.ones(self.values.shape[1], dtype=torch.bool, device=self.values.device)

    def conditioned(self, center: Tensor, scale: Tensor) -> Dense:
        return replace(self, values=(self.values.to(torch.float64) - center).mul_(scale))

    def columns(self, indices: Tensor) -> Dense:
        return replace(self, values=self.values[:, indices])


def worth_compiling(n_values: int) -> bool:
    """Whether a matrix of this many values in main memory is read by the compiled loops."""
    return n_values > COMPILED_VALUES


def dense_blocks(n: int, p: int, item_bytes: int, *, compiled: bool) -> list[slice]:
    """The blocks of n dense rows in main memory, of p columns with the intercept's."""
    return micro_blocks(n, COMPILED_BYTES // (item_bytes * p) if compiled else BLOCK_BYTES // (8 * p))


def _all_usable(values: Tensor) -> bool:
    """Whether every value is finite and at most 1e100 in size."""
    if values.dtype == torch.float32 and bool(torch.isfinite(values.sum())):
        return True  # a value that is not finite makes the sum not finite, and float32 ends at 3e38
    low, high = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 0.0)
    return low >= -LARGEST and high <= LARGEST
