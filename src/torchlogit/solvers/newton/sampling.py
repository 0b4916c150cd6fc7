"""Samples of rows that hold up every column: importance sampling by what a row contributes to a column's spread.

Row i is in a sample of about m rows with probability min(1, m (1/2n + score_i / 2 sum score)), where

    score_i = max_j s_i (x_ij - mean_j)^2 / sum_k s_k (x_kj - mean_j)^2

bounds the share of a column that one row holds up, and counts with the inverse of its probability. A row that alone, or
nearly, carries a column (a rare category, a heavy tail) is then always in. Uniform samples that hold none of such rows
give a near-singular Hessian and wild steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective


@dataclass(frozen=True, slots=True)
class Sampler:
    """One draw for every row: a larger sample holds all of a smaller one.

    share (n,): a row's part of the probability, which sums to one. enters (n,): the size of the sample that a row is in
    for the first time, a uniform number divided by its share.
    """

    objective: Objective
    share: Tensor
    enters: Tensor

    @classmethod
    def of(cls, objective: Objective, generator: torch.Generator) -> Sampler:
        """The sampler of these rows: two readings of X, the moments' one included."""
        sums, squares = objective.moments
        total = objective.weight.sum()
        mean = sums / total
        spread = squares - total * mean.square()
        seen = spread > 1e-12 * squares  # a constant column is held up by every row alike
        precision = torch.where(seen, 1 / spread.clamp(min=1e-300), torch.zeros_like(spread))
        score = objective.vector()
        for rows, block in objective.design.blocks():
            score[rows] = block.largest(mean, precision)
        score *= objective.weight
        share = score.div_(2 * score.sum(dtype=torch.float64).clamp(min=1e-30))
        share.add_(objective.weight, alpha=0.5 / float(total))
        enters = objective.vector()
        for rows in objective.chunks():
            draw = torch.rand(rows.stop - rows.start, generator=generator).to(share.device)
            enters[rows] = draw.div_(share[rows])
        return cls(objective, share, enters)

    def sample(self, rows: int) -> tuple[Objective, Tensor]:
        """An estimate of F from about so many rows, and their indices, ascending."""
        indices = (self.enters < rows).nonzero()[:, 0]
        probability = (rows * self.share[indices].double()).clamp(max=1)
        return self.objective.sample(indices, 1 / probability), indices

    def by_weight(self, weight: Tensor, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The indices of about so many rows, drawn anew, the more often the larger `weight` (n,); and its new value."""
        share = self.share * weight
        share /= share.sum().clamp(min=1e-300)
        draw = torch.rand(len(share), generator=generator).to(share.device)
        indices = (draw < rows * share).nonzero()[:, 0]
        probability = (rows * share[indices].double()).clamp(max=1)
        return indices, weight[indices] / probability
