"""Fits of one table under many penalties, with or without a fold of its rows: one reading of X serves all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.objective import CHUNK, Objective
from torchlogit.penalties import ElasticNet

ALL = -2  # what a fit of all rows holds out: no fold is called that


def with_l2(objective: Objective, l2: float) -> Objective:
    """The same objective under another l2."""
    assert isinstance(objective.penalty, ElasticNet)
    return replace(objective, penalty=replace(objective.penalty, l2=l2))


def precisions(objective: Objective) -> tuple[Tensor, Tensor]:
    """Omega's second derivative by each row of theta, (p,) each: what it is without l2, what each unit of l2 adds."""
    fixed, both = (with_l2(objective, l2).precision() for l2 in (0.0, 1.0))
    return fixed, both - fixed


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Of every fit: F (m,), its gradient (p, m, n_outputs), and over the rows that it holds out, by weight s,

    held (m,): sum s loss. held_square (m,): sum s u loss^2, u the unit. held_cross (m,): sum s u loss.
    """

    value: Tensor
    gradient: Tensor
    held: Tensor
    held_square: Tensor
    held_cross: Tensor

    def held_sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three sums over the rows held out."""
        return self.held, self.held_square, self.held_cross

    def some(self, places: Tensor) -> Evaluation:
        """Those of some fits."""
        sums = (part[places] for part in self.held_sums())
        return Evaluation(self.value[places], self.gradient[:, places], *sums)

    def put(self, places: Tensor, other: Evaluation) -> None:
        """Those of some fits, in their places."""
        self.gradient[:, places] = other.gradient
        for name in ("value", "held", "held_square", "held_cross"):
            getattr(self, name)[places] = getattr(other, name)


@dataclass(frozen=True)
class Batch:
    """F_b = sum of the losses of the rows that are not in fold held_b  +  the penalty with l2_b, for each of m fits.

    unit (n,): of a row's weight, what counts as one observation. l2s (m,). held (m,): the fold that a fit leaves out,
    ALL for none. fold (n,): of every row, from 0; -1 for none.
    Coefficients of all of them are one tensor, (p, m, n_outputs).
    """

    objective: Objective
    unit: Tensor
    l2s: Tensor
    held: Tensor
    fold: Tensor

    def start(self) -> Tensor:
        """The empty model, for every fit."""
        return self.objective.start()[:, None, :].repeat(1, len(self.l2s), 1)

    def some(self, places: Tensor) -> Batch:
        """These fits alone."""
        return replace(self, l2s=self.l2s[places], held=self.held[places])

    def sampled(self, sample: Objective, indices: Tensor) -> Batch:
        """The same fits of a sample of the rows."""
        return replace(self, objective=sample, unit=self.unit[indices], fold=self.fold[indices])

    def single(self, k: int) -> Objective:
        """The objective of one fit; rows that it holds out have weight zero."""
        objective = with_l2(self.objective, float(self.l2s[k]))
        if self.held[k] == ALL:
            return objective
        return replace(objective, weight=objective.weight * (self.fold != self.held[k]))

    def precision(self) -> Tensor:
        """Omega's second derivative by each row of theta, (p, m)."""
        fixed, by_l2 = (part[:, None] for part in precisions(self.objective))
        return fixed + self.l2s * by_l2

    def evaluate(self, theta: Tensor) -> Evaluation:
        """F, gradient and held-out losses of all fits: one reading of X."""
        p, m, outputs = theta.shape
        precision = self.precision()
        gradient = (precision[:, :, None] * theta).reshape(p, m * outputs)
        sums = torch.zeros(4, m, dtype=theta.dtype, device=theta.device)
        sums[0] = 0.5 * (precision * theta.square().sum(dim=2)).sum(dim=0)
        flat = theta.reshape(p, m * outputs).contiguous()
        self.objective.sum_blocks(lambda rows, block: self._block(rows, block, flat, sums), start=gradient)
        return Evaluation(sums[0], gradient.reshape(p, m, outputs), *sums[1:])

    def _block(self, rows: slice, block: Rows, theta: Tensor, sums: Tensor) -> Tensor:
        """X' of the weighted residuals of some rows, whose losses are added to the sums."""
        objective, raw = self.objective, block.matmul(theta)
        m, outputs = len(self.l2s), objective.loss.n_outputs
        size = max(1, CHUNK // raw.shape[1])
        for start in range(0, len(raw), size):
            place = slice(rows.start + start, min(rows.start + start + size, rows.stop))
            part = raw[start : start + size]
            target = objective.target[place, None, :].expand(-1, m, -1)
            if objective.offset is not None:
                part += objective.offset[place, None, :].expand(-1, m, -1).reshape(part.shape)
            value, residual = objective.loss.evaluate(part.reshape(-1, outputs), target.reshape(-1, outputs))
            weight = objective.weight[place, None]
            losses, residual = value.reshape(-1, m) * weight, residual.reshape(-1, m, outputs)
            kept = self.fold[place, None] != self.held
            if bool((self.held == ALL).all()):
                sums[0] += losses.sum(dim=0)
                part.copy_((residual * weight[:, :, None]).reshape(part.shape))
                continue
            out, spread = losses * ~kept, value.reshape(-1, m) * self.unit[place, None]
            terms = losses * kept, out, out * spread, out * self.unit[place, None]
            sums += torch.stack([term.sum(dim=0) for term in terms])
            part.copy_((residual * (weight * kept)[:, :, None]).reshape(part.shape))
        return block.rmatmul(raw)
