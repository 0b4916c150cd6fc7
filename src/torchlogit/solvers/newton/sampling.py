"""Importance samples of the rows, by how much each row contributes to a column's variance (docs/decisions/0001).

Row i is in a sample of about m rows with probability min(1, m share_i), and counts with the inverse of that:

    share_i = s_i / (2 sum_k s_k) + score_i / (2 sum_k score_k)
    score_i = max_j s_i (x_ij - mean_j)^2 / sum_k s_k (x_kj - mean_j)^2

score_i is the largest share that the row has in the variance of any column. A row that accounts for nearly all of a
column's variance (a rare category, a heavy tail) is then always in the sample. Uniform samples without such rows give a
near-singular Hessian and steps that are far too long.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective


@dataclass(frozen=True, slots=True)
class Sampler:
    """Samples of any size from one draw of random numbers: a larger sample holds all rows of a smaller one.

    share (n,): each row's share of the probability; they sum to one. enters (n,): the size of the smallest sample
    that holds the row, a uniform random number divided by its share.
    """

    objective: Objective
    share: Tensor
    enters: Tensor

    @classmethod
    def of(cls, objective: Objective, generator: torch.Generator) -> Sampler:
        """The sampler of these rows. Reads X twice, once of them for the moments."""
        sums, squares = objective.moments
        total = objective.weight.sum()
        mean = sums / total
        spread = squares - total * mean.square()
        varies = spread > 1e-12 * squares  # the variance of a constant column is rounding
        precision = torch.where(varies, 1 / spread.clamp(min=1e-300), torch.zeros_like(spread))
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
        """F estimated from about this many rows, and the indices of the rows, ascending."""
        indices = (self.enters < rows).nonzero()[:, 0]
        probability = (rows * self.share[indices].double()).clamp(max=1)
        return self.objective.sample(indices, 1 / probability), indices

    def by_weight(self, weight: Tensor, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The indices of about this many rows, newly drawn in proportion to weight (n,) times share, and their weights.

        The weights are those given over the probabilities, so that weighted sums over the sample estimate those over
        all rows.
        """
        share = self.share * weight
        share /= share.sum().clamp(min=1e-300)
        draw = torch.rand(len(share), generator=generator).to(share.device)
        indices = (draw < rows * share).nonzero()[:, 0]
        probability = (rows * share[indices].double()).clamp(max=1)
        return indices, weight[indices] / probability
