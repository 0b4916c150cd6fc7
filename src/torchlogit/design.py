"""The design matrix: rows of features, with the constant column of the intercept added where there is one.

Whoever sums over rows loops over `blocks()`: fixed micro-blocks whose size depends on the number of
columns alone, in a fixed order, so that the same rows give the same bits however they were read.
A block answers in float64 (the data stay as they were given) and never asks what the rows are made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.errors import InputError

BLOCK_BYTES = 4 << 20  # of float64: large enough to hide the cost of a call, small enough for the cache
MIN_BLOCK_ROWS = 256
LARGEST = 1e100  # its square, summed over rows, is still a number


class Rows(Protocol):
    """Some consecutive rows of the design, in float64, the intercept's column last."""

    def matmul(self, theta: Tensor) -> Tensor:
        """X theta: (rows, outputs)."""
        ...

    def rmatmul(self, residual: Tensor) -> Tensor:
        """X' residual: (columns, outputs)."""
        ...

    def gram(self, weights: Tensor) -> Tensor:
        """X' diag(weights) X: (columns, columns); weights may be negative."""
        ...

    def moments(self, weights: Tensor) -> Tensor:
        """Weighted sums of the columns and of their squares: (2, columns)."""
        ...

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """max over the columns of precision_j (x_ij - center_j)^2, (rows,)."""
        ...

    def quadratic(self, matrix: Tensor) -> Tensor:
        """x_i' matrix x_i, (rows,)."""
        ...


class DesignMatrix(Protocol):
    """All rows. `shape` counts the intercept's column, which is the last one where `has_intercept`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), the intercept's column included."""
        ...

    @property
    def has_intercept(self) -> bool:
        """Whether the last column is the constant 1."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The rows as micro-blocks, in order; a block is valid until the next one is asked for."""
        ...

    def take(self, indices: Tensor) -> DesignMatrix:
        """A design of these rows, copied."""
        ...


@dataclass(frozen=True, slots=True)
class DenseRows:
    """A block of a `Dense` design: a float64 matrix."""

    values: Tensor

    def matmul(self, theta: Tensor) -> Tensor:
        """X theta."""
        return self.values @ theta

    def rmatmul(self, residual: Tensor) -> Tensor:
        """X' residual."""
        return self.values.T @ residual

    def gram(self, weights: Tensor) -> Tensor:
        """X' diag(weights) X."""
        return self.values.T @ (self.values * weights[:, None])

    def moments(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij and sum_i w_i x_ij^2."""
        return torch.stack([weights @ self.values, weights @ self.values.square()])

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """max_j precision_j (x_ij - center_j)^2."""
        return (self.values - center).square_().mul_(precision).amax(dim=1)

    def quadratic(self, matrix: Tensor) -> Tensor:
        """x_i' matrix x_i."""
        return ((self.values @ matrix) * self.values).sum(dim=1)


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix of float32 or float64 values, never copied as a whole.

    >>> design = Dense.of(torch.tensor([[1.0], [2.0]]))
    >>> [rows.matmul(torch.tensor([[3.0], [1.0]], dtype=torch.float64)).tolist() for _, rows in design.blocks()]
    [[[4.0], [7.0]]]
    """

    values: Tensor
    has_intercept: bool

    @classmethod
    def of(cls, values: Tensor, *, intercept: bool = True) -> Dense:
        """The design of a (rows, features) tensor of finite numbers up to 1e100; InputError otherwise."""
        if values.ndim != 2:
            raise InputError(f"X has {values.ndim} dimensions: expected 2, rows and features; reshape it")
        if values.dtype not in (torch.float32, torch.float64):
            values = values.to(torch.float64)
        if values.shape[0] == 0:
            raise InputError("X has no rows: expected at least one of each class")
        low, high = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 0.0)
        if not (low >= -LARGEST and high <= LARGEST):
            row, column = (int(i) for i in (~(values.double().abs() <= LARGEST)).nonzero()[0])
            raise InputError(
                f"X holds {float(values[row, column])} at row {row}, column {column}: "
                f"expected numbers between -{LARGEST:g} and {LARGEST:g}; correct or drop such rows"
            )
        return cls(values, intercept)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), the intercept's column included."""
        return self.values.shape[0], self.values.shape[1] + self.has_intercept

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The rows in float64, through one buffer whose last column stays 1."""
        n, p = self.shape
        d = self.values.shape[1]
        size = min(n, max(MIN_BLOCK_ROWS, BLOCK_BYTES // (8 * p)))
        buffer = torch.ones(size, p, dtype=torch.float64, device=self.values.device)
        for start in range(0, n, size):
            rows = slice(start, min(n, start + size))
            block = buffer[: rows.stop - start]
            block[:, :d].copy_(self.values[rows])
            yield rows, DenseRows(block)

    def take(self, indices: Tensor) -> Dense:
        """A design of these rows, copied."""
        return Dense(self.values[indices], self.has_intercept)
