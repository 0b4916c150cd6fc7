"""Many fits of one table at once, at different l2, of all rows or without a fold: each reading of X serves all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.objective import CHUNK, Objective

NO_FOLD = -1  # the fold of a row that is in none: it is in every fit
ALL_ROWS = -2  # the held-out fold of a fit of all rows


def with_l2(objective: Objective, l2: float) -> Objective:
    """The same objective with another l2."""
    return replace(objective, penalty=replace(objective.penalty, l2=l2))


def precisions(objective: Objective) -> tuple[Tensor, Tensor]:
    """The penalty's second derivative by each row of theta, (p,): at l2 = 0, and what each unit of l2 adds to it."""
    fixed, both = (with_l2(objective, l2).precision for l2 in (0.0, 1.0))
    return fixed, both - fixed


@dataclass(frozen=True, slots=True)
class BatchEvaluation:
    """F (m,) of each of m fits, its gradient (p, m, n_outputs), and sums over the rows that the fit holds out (3, m).

    With weight s and observation weight u of a row, held_out is sum s loss, sum s u loss^2 and sum s u loss.
    """

    value: Tensor
    gradient: Tensor
    held_out: Tensor

    def select(self, fits: Tensor) -> BatchEvaluation:
        """The values of some fits, given by their indices."""
        return BatchEvaluation(self.value[fits], self.gradient[:, fits], self.held_out[:, fits])

    def update(self, fits: Tensor, other: BatchEvaluation) -> None:
        """Replace the values of some fits."""
        self.value[fits] = other.value
        self.gradient[:, fits] = other.gradient
        self.held_out[:, fits] = other.held_out


@dataclass(frozen=True)
class Batch:
    """m fits: F_k = the sum of the losses of the rows outside fold held_out[k] + the penalty with l2s[k].

    observation_weight (n,): the part of a row's weight that counts as one observation. l2s (m,). held_out (m,): the
    fold that a fit leaves out, or ALL_ROWS. fold (n,): the fold of each row, from 0, or NO_FOLD.
    The coefficients of all fits are one tensor theta (p, m, n_outputs).
    """

    objective: Objective
    observation_weight: Tensor
    l2s: Tensor
    held_out: Tensor
    fold: Tensor

    def start(self) -> Tensor:
        """The model without features, for every fit."""
        return self.objective.start()[:, None, :].repeat(1, len(self.l2s), 1)

    def select(self, fits: Tensor) -> Batch:
        """Some of the fits, given by their indices."""
        return replace(self, l2s=self.l2s[fits], held_out=self.held_out[fits])

    def of_sample(self, sample: Objective, indices: Tensor) -> Batch:
        """The same fits of a sample of the rows."""
        weight, fold = self.observation_weight[indices], self.fold[indices]
        return replace(self, objective=sample, observation_weight=weight, fold=fold)

    def single(self, k: int) -> Objective:
        """The objective of the k-th fit; rows that it holds out have weight zero."""
        objective = with_l2(self.objective, float(self.l2s[k]))
        if self.held_out[k] == ALL_ROWS:
            return objective
        return replace(objective, weight=objective.weight * (self.fold != self.held_out[k]))

    def precision(self) -> Tensor:
        """The penalty's second derivative by each row of theta, (p, m)."""
        fixed, by_l2 = (part[:, None] for part in precisions(self.objective))
        return fixed + self.l2s * by_l2

    def evaluate(self, theta: Tensor) -> BatchEvaluation:
        """F, gradient and held-out sums of all fits: one reading of X."""
        p, m, outputs = theta.shape
        precision = self.precision()
        gradient = (precision[:, :, None] * theta).reshape(p, m * outputs)
        sums = torch.zeros(4, m, dtype=theta.dtype, device=theta.device)
        sums[0] = 0.5 * (precision * theta.square().sum(dim=2)).sum(dim=0)
        flat = theta.reshape(p, m * outputs).contiguous()
        self.objective.sum_blocks(lambda rows, block: self._evaluate_block(rows, block, flat, sums), start=gradient)
        return BatchEvaluation(sums[0], gradient.reshape(p, m, outputs), sums[1:])

    def _evaluate_block(self, rows: slice, block: Rows, theta: Tensor, sums: Tensor) -> Tensor:
        """The gradient of the losses of some rows; their losses and held-out terms are added to sums (4, m)."""
        objective, raw = self.objective, block.matmul(theta)
        m, outputs = len(self.l2s), objective.loss.n_outputs
        size = max(1, CHUNK // raw.shape[1])
        for start in range(0, len(raw), size):
            chunk = slice(rows.start + start, min(rows.start + start + size, rows.stop))
            part = raw[start : start + size]
            target = objective.target[chunk, None, :].expand(-1, m, -1)
            if objective.offset is not None:
                part += objective.offset[chunk, None, :].expand(-1, m, -1).reshape(part.shape)
            value, residual = objective.loss.evaluate(part.reshape(-1, outputs), target.reshape(-1, outputs))
            weight, observation_weight = objective.weight[chunk, None], self.observation_weight[chunk, None]
            losses, residual = value.reshape(-1, m) * weight, residual.reshape(-1, m, outputs)
            fitted = self.fold[chunk, None] != self.held_out
            if bool((self.held_out == ALL_ROWS).all()):
                sums[0] += losses.sum(dim=0)
                part.copy_((residual * weight[:, :, None]).reshape(part.shape))
                continue
            out, of_observation = losses * ~fitted, value.reshape(-1, m) * observation_weight
            terms = losses * fitted, out, out * of_observation, out * observation_weight
            sums += torch.stack([term.sum(dim=0) for term in terms])
            part.copy_((residual * (weight * fitted)[:, :, None]).reshape(part.shape))
        return block.rmatmul(raw)
