"""The design matrix: rows of features, with the constant column of the intercept added where there is one.

Whoever sums over rows loops over `blocks()`: fixed micro-blocks whose size depends on the number of
columns alone (of sparse rows, also on how many values they have), in a fixed order, so that the same
rows give the same bits however they were read.
A block answers in float64 (the data stay as they were given) and never asks what the rows are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import scipy.sparse
from torch import Tensor

MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 256, 1 << 16
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
        """X' diag(w) X for each column w of weights (rows, m): (m, columns, columns); weights may be negative."""
        ...

    def rough_gram(self, weights: Tensor) -> Tensor:
        """`gram` for weights that are not negative, in about the precision of the data: to precondition with."""
        ...

    def moments(self, weights: Tensor) -> Tensor:
        """Weighted sums of the columns and of their squares: (2, columns)."""
        ...

    def squares(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij^2 for each column w of weights (rows, m), the diagonals of `gram`: (columns, m)."""
        ...

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """max over the columns of precision_j (x_ij - center_j)^2, or an upper bound of it, (rows,)."""
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

    @property
    def n_values(self) -> int:
        """How many values the rows hold, the intercept's aside: of sparse rows, those that are stored."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The rows as micro-blocks, in order; a block is valid until the next one is asked for."""
        ...

    def dense(self) -> Tensor:
        """The rows in float64, (rows, columns): for few of them."""
        ...

    def csr(self) -> scipy.sparse.csr_array:
        """The rows without the intercept's column, in main memory, columns ascending: for what goes row by row."""
        ...

    def rows(self, start: int, stop: int) -> DesignMatrix:
        """A design of the rows from start to before stop: a view."""
        ...

    def take(self, indices: Tensor) -> DesignMatrix:
        """A design of these rows, copied."""
        ...

    def can_center(self) -> Tensor:
        """Which features `centered` may move, (n_features,) booleans: those that store a value for every row."""
        ...

    def centered(self, center: Tensor) -> DesignMatrix:
        """These rows with `center` (n_features,), float64, subtracted from every feature: copied, in float64.

        It has to be zero where `can_center` is false, since implicit zeros stay zeros.
        """
        ...

    def columns(self, indices: Tensor) -> DesignMatrix:
        """A design of these features, ascending, copied, and of the intercept's column where there is one."""
        ...


def sum_blocks(design: DesignMatrix, term: Callable[[slice, Rows], Tensor], start: Tensor | None = None) -> Tensor:
    """The sum of term(rows, block) over the micro-blocks, in their order, added to `start` in place where it is given.

    All sums over the rows of a design are taken here. `term` returns a tensor of its own.
    """
    total = start
    for rows, block in design.blocks():
        part = term(rows, block)
        total = part if total is None else total.add_(part)
    assert total is not None, "a design has rows"
    return total


def micro_blocks(n: int, size: int, most: int = MAX_BLOCK_ROWS) -> list[slice]:
    """The rows in micro-blocks of about this size; the size of the last one is what is left."""
    size = max(1, min(n, most, max(MIN_BLOCK_ROWS, size)))
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]
