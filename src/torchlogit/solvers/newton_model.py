"""The ways to solve H step = -gradient: all rows, a sample of them, or no matrix at all.

The sample takes row i with probability min(1, m (1/2n + score_i / 2 sum score)), where

    score_i = max_j s_i (x_ij - mean_j)^2 / sum_k s_k (x_kj - mean_j)^2

bounds the share of a column that one row holds up, and weighs it by the inverse. A row that alone, or
nearly, carries a column (a rare category, a heavy tail) is then always in. Uniform samples that hold
none of such rows give a near-singular Hessian and wild steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import Accept, Factor, conjugate_gradients, factor

FLOPS_PER_VALUE = 8.0  # a sampled Hessian may cost about what reading X costs: 8 n / p rows of p^2 each
WHOLE = 0.4  # a sample of more than this share of the rows is no saving
LOOSE, TIGHT, VANISHED = 1e-2, 1e-3, 1e-20  # what a step may leave unsolved, as a share of what it promises
MAX_PRODUCTS = 60


class NewtonModel(Protocol):
    """A model of F around a point."""

    @property
    def exact(self) -> bool:
        """Whether every step solves the Newton equation of all rows."""
        ...

    @property
    def rows_per_parameter(self) -> int:
        """Rows of its Hessian's sample per free parameter, at least."""
        ...

    def step(self, objective: Objective, residual: Tensor, gradient: Tensor, exact: bool) -> tuple[Tensor, float]:
        """The step (p, n_outputs), solved for all rows where `exact`, and the passes it took."""
        ...


def model_for(
    objective: Objective, rows_per_parameter: int, max_dense: int, generator: torch.Generator
) -> NewtonModel:
    """The cheapest model for this shape."""
    n, p = objective.design.shape
    n_free = objective.basis().shape[1]
    size = p * n_free
    rows = max(rows_per_parameter * size, int(FLOPS_PER_VALUE * n * 2 / (p * (n_free + 1))))
    if size > max_dense:
        rows = max(rows_per_parameter * p, 4096)
    sampled = rows < WHOLE * n
    indices, multiplier = _sample(objective, rows, generator) if sampled else (None, None)
    sample = objective.sample(indices, multiplier) if indices is not None and multiplier is not None else objective
    if size > max_dense:
        return MatrixFree(sample, indices, rows_per_parameter)
    if indices is None:
        return AllRows(rows_per_parameter)
    return Sampled(sample, indices, rows_per_parameter)


@dataclass(frozen=True, slots=True)
class AllRows:
    """The Hessian of all rows, factored."""

    rows_per_parameter: int

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    def step(self, objective: Objective, residual: Tensor, gradient: Tensor, exact: bool) -> tuple[Tensor, float]:
        """Cholesky. The reading of X for the Hessian counts as half a pass."""
        return _direct(objective, factor(objective.hessian(residual)), gradient), 0.5


class Sampled:
    """The Hessian of a sample, factored; exact steps by conjugate gradients that it preconditions."""

    def __init__(self, sample: Objective, indices: Tensor, rows_per_parameter: int) -> None:
        self.sample, self.indices, self.rows_per_parameter = sample, indices, rows_per_parameter
        self._known: tuple[Tensor, Factor] | None = None

    @property
    def exact(self) -> bool:
        """Only when asked."""
        return False

    def step(self, objective: Objective, residual: Tensor, gradient: Tensor, exact: bool) -> tuple[Tensor, float]:
        """Cholesky on the sample; where exact, conjugate gradients on all rows (Cholesky without a penalty)."""
        share = len(self.indices) / objective.design.shape[0]
        if exact and not _penalised(objective):
            return _direct(objective, factor(objective.hessian(residual)), gradient), 0.5
        spent = 0.0 if self._known is not None and self._known[0] is residual else share / 2
        factored = self._factor_at(residual)
        if not exact:
            return _direct(objective, factored, gradient), spent
        right = -objective.to_free(gradient)
        free, products = conjugate_gradients(
            lambda v: objective.hessian_product(residual, v),
            right,
            lambda v: factored.solve(v[:, None])[:, 0],
            _certifiably(objective, right),
            MAX_PRODUCTS,
        )
        return objective.from_free(free), spent + products

    def _factor_at(self, residual: Tensor) -> Factor:
        """The sample's factor at this point, not formed again when the same point is solved once more, exactly.

        That of an earlier point would be free, but curvature on nearly separated columns falls by e a step.
        """
        if self._known is None or self._known[0] is not residual:
            self._known = residual, factor(self.sample.hessian(residual[self.indices]))
        return self._known[1]


@dataclass(frozen=True, slots=True)
class MatrixFree:
    """No Hessian of all parameters: conjugate gradients on products, preconditioned by one (p, p) factor.

    The preconditioner takes the mean curvature over the outputs for each of them (after Boehning 1992,
    doi:10.1007/BF00048682, with the curvature at hand in place of its bound).
    """

    sample: Objective
    indices: Tensor | None
    rows_per_parameter: int

    @property
    def exact(self) -> bool:
        """Only when asked."""
        return False

    def step(self, objective: Objective, residual: Tensor, gradient: Tensor, exact: bool) -> tuple[Tensor, float]:
        """Conjugate gradients on the sample, or where exact on all rows."""
        n = objective.design.shape[0]
        at_sample = residual if self.indices is None else residual[self.indices]
        share = self.sample.design.shape[0] / n
        gram = self.sample.mean_gram(at_sample)
        gram.diagonal().add_(objective.precision())
        factored = factor(gram)
        solved, at, cost = (objective, residual, 1.0) if exact else (self.sample, at_sample, share)
        p = objective.design.shape[1]
        right = -objective.to_free(gradient)
        free, products = conjugate_gradients(
            lambda v: solved.hessian_product(at, v),
            right,
            lambda v: factored.solve(v.reshape(-1, p).T).T.reshape(-1),
            _certifiably(objective, right) if exact else _roughly,
            MAX_PRODUCTS,
        )
        return objective.from_free(free), share / 2 + cost * products


def _direct(objective: Objective, factored: Factor, gradient: Tensor) -> Tensor:
    return -objective.from_free(factored.solve(objective.to_free(gradient)[:, None])[:, 0])


def _penalised(objective: Objective) -> bool:
    """Whether every feature has a penalty."""
    precision = objective.coef(objective.precision()[:, None])
    return bool((precision > 0).all())


def _sample(objective: Objective, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The sample's row indices, ascending, and the inverse of the probability of each."""
    sums, squares = objective.moments
    total = objective.weight.sum()
    mean = sums / total
    spread = squares - total * mean.square()
    seen = spread > 1e-12 * squares  # a constant column is held up by every row alike
    precision = torch.where(seen, 1 / spread.clamp(min=1e-300), torch.zeros_like(spread))
    score = torch.empty_like(objective.weight)
    for block_rows, block in objective.design.blocks():
        score[block_rows] = block.largest(mean, precision)
    score *= objective.weight
    even = objective.weight / total
    probability = (rows * (even / 2 + score / (2 * score.sum()).clamp(min=1e-300))).clamp(max=1)
    draw = torch.rand(len(score), dtype=torch.float64, generator=generator).to(score.device)
    indices = (draw < probability).nonzero()[:, 0]
    return indices, 1 / probability[indices]


def _roughly(step: Tensor, left: Tensor, energy: float) -> bool:
    """Good enough for a direction: a hundredth of the energy is left."""
    return energy <= LOOSE


def _certifiably(objective: Objective, right: Tensor) -> Accept:
    """Good enough for a dual point: what is left adds a thousandth of the step's promise to the dual gap.

    Left r_j on a column of precision l2_j, the penalty's part of the gap is r_j^2 / (2 l2_j); the intercept's
    part is repaired afterwards. Columns without a penalty leave no room: there the energy has to vanish.
    """
    precision = objective.precision().repeat(objective.basis().shape[1])
    weight = torch.where(precision > 0, 0.5 / precision.clamp(min=1e-300), torch.zeros_like(precision))
    energy_left = TIGHT if _penalised(objective) else VANISHED

    def accept(step: Tensor, left: Tensor, energy: float) -> bool:
        return energy <= energy_left and float(weight @ left.square()) <= TIGHT * 0.5 * float(step @ right)

    return accept
