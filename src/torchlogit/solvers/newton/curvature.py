"""Estimates of the Hessian that can be inverted: from one sample, its diagonal, or its diagonal blocks.

An estimate works in two halves. `measure` takes from an iterate what the estimate depends on: a sample's residuals, a
diagonal, drawn rows and their weights. `inverse` computes a function from that alone. A checkpoint keeps what was
measured, at most some numbers a row; the factors, which may be p x p for each output, are computed again from it
(docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.design import sum_blocks
from torchlogit.objective import Objective
from torchlogit.quadratic import factor, low_rank, rough_factor
from torchlogit.records import Snapshot
from torchlogit.solvers.newton.sampling import Sampler
from torchlogit.solvers.newton.step import Iterate

Inverse = Callable[[Tensor], Tensor]  # multiplies a (p, n_outputs) tensor by the inverse of an estimate


class HessianEstimate(Protocol):
    """An estimate of the Hessian, used in place of it or to precondition it."""

    def measure(self, objective: Objective, iterate: Iterate, generator: torch.Generator) -> tuple[Snapshot, float]:
        """The tensors that the estimate at this iterate depends on, and the passes for these and for the inverse."""
        ...

    def inverse(self, objective: Objective, measured: Snapshot) -> Inverse:
        """The inverse, from what was measured: the same bits each time."""
        ...


class FactoredMatrix(Protocol):
    """A symmetric matrix that has been factored."""

    def solve(self, right: Tensor) -> Tensor:
        """The product of the inverse with `right`, (size, columns)."""
        ...


@dataclass(frozen=True, slots=True)
class SampleHessian:
    """The Hessian of one sample of the rows, with all outputs together."""

    sample: Objective
    indices: Tensor

    def measure(self, objective: Objective, iterate: Iterate, generator: torch.Generator) -> tuple[Snapshot, float]:
        """The residuals of the sampled rows."""
        passes = 0.5 * len(self.indices) / objective.design.shape[0]
        return {"residual": iterate.residual[self.indices]}, passes

    def inverse(self, objective: Objective, measured: Snapshot) -> Inverse:
        """By a Cholesky factor of the (n_free p, n_free p) matrix."""
        factored = factor(self.sample.hessian(measured["residual"]))

        def solve(theta: Tensor) -> Tensor:
            return objective.from_free(factored.solve(objective.to_free(theta)[:, None])[:, 0])

        return solve


@dataclass(frozen=True, slots=True)
class Diagonal:
    """The Hessian's diagonal: a good preconditioner for sparse rows whose columns hardly overlap."""

    def measure(self, objective: Objective, iterate: Iterate, generator: torch.Generator) -> tuple[Snapshot, float]:
        """The diagonal, (p, n_outputs)."""
        return {"diagonal": objective.hessian_diagonal(iterate.residual)}, 0.5

    def inverse(self, objective: Objective, measured: Snapshot) -> Inverse:
        """By division; columns without curvature are left as they are."""
        diagonal = torch.where(measured["diagonal"] > 0, measured["diagonal"], 1.0)
        return lambda theta: objective.visible(theta / diagonal)


@dataclass(frozen=True, slots=True)
class ByOutput:
    """The diagonal blocks of the Hessian, one (p, p) block for each output, each from a sample of its own.

    A row is drawn with a probability in proportion to its curvature in that output times its share in sampling.py:
    most rows have almost no curvature in most classes (docs/decisions/0009).

    rows: the size of each sample; all rows where there are no more. max_double: the number of columns above which a
    block is factored in single precision.
    """

    sampler: Callable[[], Sampler]
    rows: int
    max_double: int

    def measure(self, objective: Objective, iterate: Iterate, generator: torch.Generator) -> tuple[Snapshot, float]:
        """The indices of each output's rows, None for all rows, and their weights."""
        samples = list(self.samples(objective, iterate, generator))
        share = sum(len(weight) for _, weight in samples) / (objective.design.shape[0] * len(samples))
        return {"samples": [{"rows": rows, "weight": weight} for rows, weight in samples]}, 0.5 * share

    def inverse(self, objective: Objective, measured: Snapshot) -> Inverse:
        """By a factor for each block."""
        blocks = [self._factored(objective, sample["rows"], sample["weight"]) for sample in measured["samples"]]

        def solve(theta: Tensor) -> Tensor:
            return objective.visible(torch.cat([b.solve(theta[:, k : k + 1]) for k, b in enumerate(blocks)], dim=1))

        return solve

    def samples(
        self, objective: Objective, iterate: Iterate, generator: torch.Generator
    ) -> Iterator[tuple[Tensor | None, Tensor]]:
        """For each output, rows and weights: X' diag(weight) X over the rows estimates its block without the penalty.

        The rows are indices, None for all rows.
        """
        for output in torch.eye(objective.loss.n_outputs).to(objective.target):
            curvature = _row_curvature(objective, iterate, output)
            if self.rows >= len(curvature):
                yield None, curvature
            else:
                yield self.sampler().by_weight(curvature, self.rows, generator)

    def _factored(self, objective: Objective, rows: Tensor | None, weight: Tensor) -> FactoredMatrix:
        """The factor of a block: of the (p, p) matrix, or, with fewer rows than columns, from the rows' Gram matrix."""
        n, p = len(weight), objective.design.shape[1]
        if n >= p:
            return (factor if p <= self.max_double else rough_factor)(block_gram(objective, rows, weight))
        design = objective.design if rows is None else objective.design.take(rows)
        return low_rank(design.dense() * weight.sqrt()[:, None], objective.precision)


def block_gram(objective: Objective, rows: Tensor | None, weight: Tensor) -> Tensor:
    """X' diag(weight) X + diag(precision), (p, p), over some rows, None for all; products in the precision of X."""
    design = objective.design if rows is None else objective.design.take(rows)
    gram = sum_blocks(design, lambda rows, block: block.rough_gram(weight[rows, None])[0])
    gram.diagonal().add_(objective.precision)
    return gram


def _row_curvature(objective: Objective, iterate: Iterate, output: Tensor) -> Tensor:
    """The second derivative of every row's weighted loss by one output, given as a unit vector, (n,)."""
    curvature = torch.empty_like(objective.target[:, 0])
    for rows in objective.chunks():
        residual, target = iterate.residual[rows], objective.target[rows]
        curvature[rows] = objective.loss.curvature_product(residual, target, output.expand_as(target)) @ output
    return curvature.mul_(objective.weight)
