"""The design matrix: rows of features, with the constant column of the intercept added where there is one.

Sums over rows are computed by `sum_blocks` over micro-blocks. Their size depends on the number of columns
alone (for sparse rows also on the number of stored values) and their order is fixed, so that the same
rows give the same bits however they were read. A block computes in float64; the data keep their type.

`Rows` and `DesignMatrix` document the methods of all designs and their blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import scipy.sparse
from torch import Tensor

MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 256, 1 << 16  # the fewest and the most rows of a micro-block
Entries: TypeAlias = tuple[slice | Tensor, Tensor]  # the rows of a block that store a value of a column, the values
LARGEST = 1e100  # the largest absolute value that X may hold: its square, summed over rows, is finite


class Rows(Protocol):
    """A block of consecutive rows x_i of the design, as if in float64, the intercept's column last."""

    def matmul(self, theta: Tensor) -> Tensor:
        """X theta: (rows, outputs)."""
        ...

    def rmatmul(self, residual: Tensor) -> Tensor:
        """X' residual: (columns, outputs)."""
        ...

    def absolute(self) -> Rows:
        """The absolute values of these rows: a copy."""
        ...

    def gram(self, weights: Tensor) -> Tensor:
        """X' diag(w) X for each column w of weights (rows, m): (m, columns, columns); weights may be negative."""
        ...

    def rough_gram(self, weights: Tensor) -> Tensor:
        """`gram` in about the precision of the data, for weights that are not negative: for preconditioners."""
        ...

    def moments(self, weights: Tensor) -> Tensor:
        """The weighted sums of the columns and of their squares, sum w_i x_ij and sum w_i x_ij^2: (2, columns)."""
        ...

    def squares(self, weights: Tensor) -> Tensor:
        """sum_i w_i x_ij^2 for each column w of weights (rows, m), the diagonals of `gram`: (columns, m)."""
        ...

    def largest(self, center: Tensor, precision: Tensor) -> Tensor:
        """max_j precision_j (x_ij - center_j)^2, or an upper bound of it, (rows,)."""
        ...

    def quadratic(self, matrix: Tensor) -> Tensor:
        """x_i' matrix x_i, (rows,)."""
        ...

    def entries(self, columns: list[int]) -> list[Entries]:
        """The values of each of these columns: where they are stored, and the values themselves, float64."""
        ...


class DesignMatrix(Protocol):
    """All rows of X, with the intercept's column last where `has_intercept`."""

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
        """The number of values, without the intercept's column; for sparse rows, of stored values."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """The micro-blocks in order, each with its slice of the rows; it is valid until the next one is asked for."""
        ...

    def dense(self) -> Tensor:
        """The rows as one float64 tensor, (rows, columns): for few rows."""
        ...

    def csr(self) -> scipy.sparse.csr_array:
        """The rows without the intercept's column, in main memory, columns ascending: for row-by-row methods."""
        ...

    def rows(self, start: int, stop: int) -> DesignMatrix:
        """The rows start..stop-1: a view, where that is possible."""
        ...

    def take(self, indices: Tensor) -> DesignMatrix:
        """These rows: a copy."""
        ...

    def can_center(self) -> Tensor:
        """The features that may have a center, (n_features,) booleans: those that store a value for every row."""
        ...

    def conditioned(self, center: Tensor, scale: Tensor) -> DesignMatrix:
        """These rows with features scale (x - center), both (n_features,) float64: a copy in float64.

        The center has to be zero where `can_center` is false, since implicit zeros stay zeros.
        """
        ...

    def columns(self, indices: Tensor) -> DesignMatrix:
        """These features, ascending, and the intercept's column where there is one: a copy."""
        ...


def sum_blocks(design: DesignMatrix, term: Callable[[slice, Rows], Tensor], start: Tensor | None = None) -> Tensor:
    """The sum of term(rows, block) over the micro-blocks, in their order, added to `start` in place where it is given.

    All sums over rows are computed here. The tensor that `term` returns may be written to.
    """
    total = start
    for rows, block in design.blocks():
        part = term(rows, block)
        total = part if total is None else total.add_(part)
    assert total is not None, "a design has rows"
    return total


def micro_blocks(n: int, size: int, max_size: int = MAX_BLOCK_ROWS) -> list[slice]:
    """n rows in micro-blocks of `size` rows, moved into [MIN_BLOCK_ROWS, max_size]; the last one has the remainder."""
    size = max(1, min(n, max_size, max(MIN_BLOCK_ROWS, size)))
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]
