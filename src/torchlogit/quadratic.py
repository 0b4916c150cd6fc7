"""The Newton model solved: a positive semi-definite system, factored or by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Accept = Callable[[Tensor, Tensor, float], bool]
PIVOT = 1e-12  # smallest squared pivot, with unit diagonal, that still counts as independent of the columns before it


@dataclass(frozen=True, slots=True)
class Factor:
    """A factored positive semi-definite matrix A = S C S, S = diag(scale), C of unit diagonal.

    C is held as a Cholesky factor, or, where it is singular, as the pseudo-inverse's square root: then
    `rank` is less than the size and `solve` gives the smallest scaled solution.
    """

    scale: Tensor
    root: Tensor
    rank: int
    triangular: bool

    def solve(self, right: Tensor) -> Tensor:
        """A^+ right, for (size, columns)."""
        scaled = right / self.scale[:, None]
        solved = torch.cholesky_solve(scaled, self.root) if self.triangular else self.root @ (self.root.T @ scaled)
        return solved / self.scale[:, None]

    def inverse(self) -> Tensor:
        """A^+, dense."""
        return self.solve(torch.eye(len(self.scale), dtype=self.scale.dtype, device=self.scale.device))


def factor(matrix: Tensor) -> Factor:
    """The factor of a positive semi-definite matrix, whatever the units of its rows and columns.

    The diagonal is scaled to one first (columns in metres or in light years make no difference), then
    Cholesky; where a pivot shows a dependent column, the eigendecomposition, with what lies below
    1e-12 of the largest eigenvalue left out.
    """
    diagonal = matrix.diagonal()
    scale = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal)).sqrt()
    unit = matrix / scale[:, None] / scale[None, :]
    root, info = torch.linalg.cholesky_ex(unit)
    if int(info) == 0 and bool((root.diagonal().square() > PIVOT).all()):
        return Factor(scale, root, len(scale), True)
    values, vectors = torch.linalg.eigh(unit)
    kept = values > PIVOT * float(values[-1].clamp(min=1e-300)) * len(values)
    return Factor(scale, vectors[:, kept] / values[kept].sqrt(), int(kept.sum()), False)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    precondition: Callable[[Tensor], Tensor],
    accept: Accept,
    max_iter: int,
    start: Tensor | None = None,
) -> tuple[Tensor, int]:
    """An approximate solution of A x = right, and the products with A it took.

    Preconditioned conjugate gradients (Hestenes and Stiefel 1952, doi:10.6028/jres.049.044), from `start` or 0,
    until accept(x, residual, energy left as a share of that at 0) or max_iter.
    """
    x = torch.zeros_like(right) if start is None else start
    residual = right.clone() if start is None else right - product(start)
    z = precondition(residual)
    direction, rz = z, float((residual * z).sum())
    whole = rz if start is None else float((right * precondition(right)).sum())
    for iteration in range(int(start is not None), max_iter):
        if rz <= 0 or accept(x, residual, rz / whole):
            return x, iteration
        image = product(direction)
        curvature = float((direction * image).sum())
        if curvature <= 0:
            return x, iteration + 1
        alpha = rz / curvature
        x = x + alpha * direction
        residual = residual - alpha * image
        z = precondition(residual)
        rz, previous = float((residual * z).sum()), rz
        direction = z + (rz / previous) * direction
    return x, max_iter


@dataclass(frozen=True, slots=True)
class LowRank:
    """diag(d) + S'S, of few rows S (m, size), through the (m, m) matrix 1 + S diag(1/d) S' (Woodbury 1950)."""

    rows: Tensor
    inverse_diagonal: Tensor
    root: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """Its inverse times `right`, (size, columns)."""
        scaled = right * self.inverse_diagonal[:, None]
        inner = torch.cholesky_solve(self.rows @ scaled, self.root)
        return scaled - self.inverse_diagonal[:, None] * (self.rows.T @ inner)


def low_rank(rows: Tensor, diagonal: Tensor) -> LowRank:
    """The factor of diag(diagonal) + rows' rows; where the diagonal is 0, the size of the column takes its place."""
    size = rows.square().sum(dim=0)
    inverse = 1 / torch.where(diagonal > 0, diagonal, size.clamp(min=1e-300))
    inner = (rows * inverse) @ rows.T
    inner.diagonal().add_(1.0)
    return LowRank(rows, inverse, torch.linalg.cholesky(inner))
