"""A dense design: large matrices in main memory are read by the compiled loops, all others through torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from torchlogit.design.matrix import LARGEST, Rows, micro_blocks
from torchlogit.errors import InputError
from torchlogit.kernels import dense as kernels
from torchlogit.kernels.parallel import Array

BLOCK_BYTES = 4 << 20  # of the float64 copy of a block: large enough to hide the cost of a call, and still in the cache
DEVICE_BLOCK_BYTES = 256 << 20  # the same on a GPU, where a call is a launch
COMPILED_VALUES = 1 << 21  # a matrix of more values than these is worth the compiled loops
COMPILED_BYTES = 16 << 20  # of one of their blocks
SMALL_VALUES = 1 << 15  # a block of no more gains nothing from threads


@dataclass(frozen=True, slots=True)
class DenseRows:
    """A block of a `Dense` design as a float64 matrix, by torch, on any device."""

    values: Tensor

    def matmul(self, theta: Tensor) -> Tensor:
        """X theta."""
        return self.values @ theta

    def rmatmul(self, residual: Tensor) -> Tensor:
        """X' residual."""
        return self.values.T @ residual

    def gram(self, weights: Tensor) -> Tensor:
        """X' diag(w) X for each column w of weights."""
        if self.values.device.type == "cpu" and self.values.numel() > SMALL_VALUES:
            return torch.from_numpy(kernels.gram(self.values.numpy(), weights.numpy(), intercept=False))
        return torch.stack([self.values.T @ (self.values * w[:, None]) for w in weights.T])

    def rough_gram(self, weights: Tensor) -> Tensor:
        """The same."""
        return self.gram(weights)

    def moments(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij and sum_i w_i x_ij^2."""
        return torch.stack([weights @ self.values, weights @ self.values.square()])

    def squares(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij^2 for each column w of weights."""
        return self.values.square().T @ weights

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """max_j precision_j (x_ij - center_j)^2."""
        return (self.values - center).square_().mul_(precision).amax(dim=1)

    def quadratic(self, matrix: Tensor) -> Tensor:
        """x_i' matrix x_i."""
        return ((self.values @ matrix) * self.values).sum(dim=1)


@dataclass(frozen=True, slots=True)
class CompiledRows:
    """A block of a `Dense` design in main memory, as it is, by the compiled loops."""

    values: kernels.Matrix
    has_intercept: bool

    def matmul(self, theta: Tensor) -> Tensor:
        """X theta."""
        columns, last = self._split(theta)
        return torch.from_numpy(kernels.matmul(self.values, columns, last))

    def rmatmul(self, residual: Tensor) -> Tensor:
        """X' residual."""
        return self._joined(torch.from_numpy(kernels.rmatmul(self.values, residual.contiguous().numpy())))

    def gram(self, weights: Tensor) -> Tensor:
        """X' diag(w) X for each column w of weights."""
        return torch.from_numpy(kernels.gram(self.values, weights.numpy(), intercept=self.has_intercept))

    def rough_gram(self, weights: Tensor) -> Tensor:
        """X' diag(w) X for each column w of weights, its products in the data's precision."""
        dtype = self.values.dtype.type
        return torch.from_numpy(kernels.gram(self.values, weights.numpy(), intercept=self.has_intercept, dtype=dtype))

    def moments(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij and sum_i w_i x_ij^2."""
        sums = torch.from_numpy(kernels.moments(self.values, weights.contiguous().numpy()))
        return torch.nn.functional.pad(sums, (0, int(self.has_intercept)), value=float(weights.sum()))

    def squares(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij^2 for each column w of weights."""
        return torch.stack([self.moments(w)[1] for w in weights.T], dim=1)

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """max_j precision_j (x_ij - center_j)^2."""
        d = self.values.shape[1]
        top = torch.from_numpy(kernels.largest(self.values, center[:d].numpy(), precision[:d].numpy()))
        return top.clamp_(min=float(precision[-1] * (1 - center[-1]) ** 2)) if self.has_intercept else top

    def quadratic(self, matrix: Tensor) -> Tensor:
        """x_i' matrix x_i."""
        return torch.from_numpy(kernels.quadratic(self.values, matrix.numpy(), intercept=self.has_intercept))

    def _split(self, theta: Tensor) -> tuple[Array, Array]:
        """The coefficients by output, and the intercept of each."""
        d, k = self.values.shape[1], theta.shape[1]
        last = theta[-1].contiguous().numpy() if self.has_intercept else np.zeros(k)
        return theta[:d].T.contiguous().numpy(), last

    def _joined(self, sums: Tensor) -> Tensor:
        return sums if self.has_intercept else sums[:-1]


@dataclass(frozen=True)
class Dense:
    """A matrix of float32 or float64 values, never copied as a whole. compiled: by which loops its rows are read.

    >>> design = Dense.of(torch.tensor([[1.0], [2.0]]))
    >>> [rows.matmul(torch.tensor([[3.0], [1.0]], dtype=torch.float64)).tolist() for _, rows in design.blocks()]
    [[[4.0], [7.0]]]
    """

    values: Tensor
    has_intercept: bool
    compiled: bool = False

    @classmethod
    def of(cls, values: Tensor, *, intercept: bool = True) -> Dense:
        """The design of a (rows, features) tensor of finite numbers up to 1e100; InputError otherwise."""
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
        """(rows, columns), the intercept's column included."""
        return self.values.shape[0], self.values.shape[1] + self.has_intercept

    @property
    def n_values(self) -> int:
        """All of them, zeros too."""
        return self.values.numel()

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The rows in float64 through one buffer whose last column stays 1, or as they are for the compiled loops."""
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
            slices = micro_blocks(n, DEVICE_BLOCK_BYTES // (8 * p), most=n)
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
        """All rows in float64, where they are so few that they are one block: converted once."""
        return self.dense()

    def dense(self) -> Tensor:
        """The rows in float64, (rows, columns)."""
        return torch.nn.functional.pad(self.values.to(torch.float64), (0, int(self.has_intercept)), value=1.0)

    def csr(self) -> scipy.sparse.csr_array:
        """The rows without the intercept's column, converted: zeros are left out."""
        return scipy.sparse.csr_array(self.values.cpu().numpy())

    def rows(self, start: int, stop: int) -> Dense:
        """A design of the rows from start to before stop: a view."""
        return replace(self, values=self.values[start:stop])

    def take(self, indices: Tensor) -> Dense:
        """A design of these rows, copied."""
        return replace(self, values=self.values[indices])

    def can_center(self) -> Tensor:
        """All features."""
        return torch.ones(self.values.shape[1], dtype=torch.bool, device=self.values.device)

    def centered(self, center: Tensor) -> Dense:
        """These rows with `center` subtracted from every feature."""
        return replace(self, values=self.values.to(torch.float64) - center)

    def columns(self, indices: Tensor) -> Dense:
        """A design of these features, copied."""
        return replace(self, values=self.values[:, indices])


def worth_compiling(n_values: int) -> bool:
    """Whether a matrix in main memory of so many values is read by the compiled loops."""
    return n_values > COMPILED_VALUES


def dense_blocks(n: int, p: int, item_bytes: int, *, compiled: bool) -> list[slice]:
    """The blocks that n rows of p columns in main memory, the intercept's included, are read in."""
    return micro_blocks(n, COMPILED_BYTES // (item_bytes * p) if compiled else BLOCK_BYTES // (8 * p))


def _all_usable(values: Tensor) -> bool:
    """Whether every value is a finite number up to 1e100."""
    if values.dtype == torch.float32 and bool(torch.isfinite(values.sum())):
        return True  # anything that is not finite makes the sum so, and float32 ends at 1e38
    low, high = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 0.0)
    return low >= -LARGEST and high <= LARGEST
