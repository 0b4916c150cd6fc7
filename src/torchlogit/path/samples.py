"""Samples of the rows for a path: to start from, to take Hessians from, and to leave out one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.path.batch import Batch
from torchlogit.solvers.newton.models import WHOLE, sample_rows
from torchlogit.solvers.newton.sampling import Sampler

LEAST = 5000  # rows: what leaving a row out costs is known to a few hundredths
PER_PARAMETER = 100  # rows
GROWTH = 8  # from one sample to the next


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows. indices: which ones. unit: of a row's weight in F, what counts as one observation.

    The objective's weight is that of all rows that one stands for.
    """

    objective: Objective
    indices: Tensor
    unit: Tensor

    @classmethod
    def whole(cls, objective: Objective, unit: Tensor) -> Sample:
        """All rows."""
        n = objective.design.shape[0]
        return cls(objective, torch.arange(n, device=objective.target.device), unit)

    @classmethod
    def of(cls, sampler: Sampler, unit: Tensor, rows: int) -> Sample:
        """About so many rows."""
        part, indices = sampler.sample(rows)
        return cls(part, indices, unit[indices])

    @property
    def multiplier(self) -> Tensor:
        """How many observations each row stands for, (rows,)."""
        return torch.where(self.unit > 0, self.objective.weight / self.unit.clamp(min=1e-300), 0.0)

    def batch(self, batch: Batch) -> Batch:
        """The same fits, of these rows."""
        return batch.sampled(self.objective, self.indices)


@dataclass(frozen=True, slots=True)
class Samples:
    """Each of the levels holds the rows of the one before; the last is all rows. left_out: rows to leave out."""

    levels: tuple[Sample, ...]
    left_out: Sample

    @classmethod
    def of(cls, objective: Objective, unit: Tensor, most: int, seed: int) -> Samples:
        """As many as it takes. most: parameters up to which Hessians are formed."""
        n, parameters = objective.design.shape[0], objective.n_parameters
        whole, rows = Sample.whole(objective, unit), max(LEAST, sample_rows(objective, PER_PARAMETER, most))
        if WHOLE * n <= LEAST:
            return cls((whole,), whole)
        sampler = Sampler.of(objective, torch.Generator().manual_seed(seed))
        left_out = Sample.of(sampler, unit, LEAST)
        if WHOLE * n <= rows:
            return cls((whole,), left_out)
        least = max(LEAST, PER_PARAMETER * parameters)
        sizes = [size for i in range(9) if (size := rows // GROWTH**i) >= least or i == 0]
        return cls((*(Sample.of(sampler, unit, size) for size in reversed(sizes)), whole), left_out)
