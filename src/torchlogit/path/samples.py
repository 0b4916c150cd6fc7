"""Samples of the rows for a path: to start fits from, to take Hessians from, and to leave out one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.solvers.newton.model_choice import DEFAULT, sample_rows
from torchlogit.solvers.newton.sampling import Sampler

# Rows that are left out one by one, and the fewest rows of a sample. More: the increase of the loss by leaving a row
# out is estimated better, in more time (from 5,000 rows to a few hundredths, to a tenth at most in the tests;
# docs/decisions/0021).
MIN_SAMPLE = 5000
ROWS_PER_PARAMETER = 100  # the fewest rows of a sample for each parameter; more: fewer steps on larger samples
GROWTH = 8  # the size of a sample over that of the one before


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of the rows, indices, as an objective in which each row has the weight of all the rows it stands for.

    observation_weight: the part of a row's own weight that counts as one observation.
    """

    objective: Objective
    indices: Tensor
    observation_weight: Tensor

    @classmethod
    def whole(cls, objective: Objective, observation_weight: Tensor) -> Sample:
        """All rows."""
        n = objective.design.shape[0]
        return cls(objective, torch.arange(n, device=objective.target.device), observation_weight)

    @classmethod
    def drawn(cls, sampler: Sampler, observation_weight: Tensor, rows: int) -> Sample:
        """About this many rows."""
        sample, indices = sampler.sample(rows)
        return cls(sample, indices, observation_weight[indices])

    @property
    def observations(self) -> Tensor:
        """How many observations each row stands for, (rows,)."""
        weight, of_one = self.objective.weight, self.observation_weight
        return torch.where(of_one > 0, weight / of_one.clamp(min=1e-300), 0.0)


def nested_samples(
    objective: Objective, observation_weight: Tensor, max_parameters: int, seed: int, min_sample: int = MIN_SAMPLE
) -> tuple[list[Sample], Sample]:
    """Samples that each contain the one before, the last being all rows; and the sample to leave rows out of.

    max_parameters: the number of parameters up to which Hessians are formed. min_sample: the fewest rows of a sample.
    """
    n = objective.design.shape[0]
    whole = Sample.whole(objective, observation_weight)
    rows = max(min_sample, sample_rows(objective, ROWS_PER_PARAMETER, max_parameters))
    if DEFAULT.all_rows_share * n <= min_sample:
        return [whole], whole
    sampler = Sampler.of(objective, torch.Generator().manual_seed(seed))
    left_out = Sample.drawn(sampler, observation_weight, min_sample)
    if DEFAULT.all_rows_share * n <= rows:
        return [whole], left_out
    least = max(min_sample, ROWS_PER_PARAMETER * objective.n_parameters)
    sizes = [size for i in range(9) if (size := rows // GROWTH**i) >= least or i == 0]
    return [*(Sample.drawn(sampler, observation_weight, size) for size in reversed(sizes)), whole], left_out
