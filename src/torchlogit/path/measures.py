"""What a penalty should cost on rows not seen: by leaving each row out, by folds, or by rows set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.path.batch import ALL, Batch, Evaluation
from torchlogit.path.curve import By, Held
from torchlogit.path.leave_one_out import left_out
from torchlogit.path.newton import Curvature
from torchlogit.path.samples import Sample
from torchlogit.quadratic import Factor

NO_FOLD = -1


class Measure(Protocol):
    """An estimate of the loss on rows not seen, for every penalty of a batch."""

    @property
    def by(self) -> By:
        """Its name."""
        ...

    @property
    def fold(self) -> Tensor | None:
        """The fold of every row, (n,), where fits without them are asked for; -1: of none."""
        ...

    def held(self, fits: Fits, k: int, factored: Factor | None) -> Held:
        """The estimate for the k-th penalty; factored: the Hessian there, where one is formed."""
        ...


@dataclass(frozen=True, slots=True)
class Fits:
    """A batch at its optima: the first n_l2s fits are of all rows, then come those without each fold.

    curvature: the Hessians there, of all rows or of a sample, and left_out: the rows to leave out one by one; None
    where no Hessian is formed.
    """

    batch: Batch
    n_l2s: int
    theta: Tensor
    seen: Evaluation
    curvature: Curvature | None = None
    left_out: Sample | None = None

    def factored(self, k: int) -> Factor | None:
        """The Hessian at the k-th optimum, where one is formed."""
        return None if self.curvature is None else self.curvature.at(k, self.theta[:, k])


def batch_of(objective: Objective, unit: Tensor, l2s: list[float], measure: Measure) -> Batch:
    """All rows under every penalty, and then, fold by fold, the rows of all others."""
    device = objective.target.device
    fold = torch.full((objective.design.shape[0],), NO_FOLD, device=device) if measure.fold is None else measure.fold
    left_out = [ALL, *(f for f in torch.unique(fold).tolist() if f != NO_FOLD)]
    strengths = torch.tensor(l2s, dtype=torch.float64, device=device).repeat(len(left_out))
    return Batch(objective, unit, strengths, torch.tensor(left_out, device=device).repeat_interleave(len(l2s)), fold)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Approximate leave-one-out.

    Of a sample it takes what leaving a row out adds to its loss; the losses themselves are those of all rows.
    """

    by: By = "alo"
    fold: Tensor | None = None

    def held(self, fits: Fits, k: int, factored: Factor | None) -> Held:
        """Of the losses at the optimum, and what leaving out adds."""
        assert factored is not None
        assert fits.left_out is not None
        theta, whole, sample = fits.theta[:, k], fits.batch.objective, fits.left_out
        rows = sample.objective
        seen = rows.loss.value(rows.raw(theta), rows.target)
        unseen = left_out(rows, theta, factored, sample.unit)
        added = float((rows.weight * (unseen - seen)).sum())
        penalty = float(0.5 * (fits.batch.precision()[:, k, None] * theta.square()).sum())
        spread = Held.of(unseen, sample.unit, sample.multiplier).standard_error
        return Held((float(fits.seen.value[k]) - penalty + added) / whole.total_weight, spread)


@dataclass(frozen=True, slots=True)
class Folds:
    """Cross-validation: the loss of every row in the fit without its fold."""

    fold: Tensor
    by: By = "cv"

    def held(self, fits: Fits, k: int, factored: Factor | None) -> Held:
        """Of all rows that are in a fold."""
        weight = torch.where(self.fold == NO_FOLD, 0.0, fits.batch.objective.weight)
        total, squares = float(weight.sum()), float(weight @ fits.batch.unit)
        loss, square, cross = (float(part[fits.n_l2s + k :: fits.n_l2s].sum()) for part in fits.seen.held_sums())
        mean = loss / total
        return Held(mean, max(0.0, square - 2 * mean * cross + mean * mean * squares) ** 0.5 / total)


@dataclass(frozen=True, slots=True)
class Validation:
    """The loss of rows set aside."""

    rows: Objective
    by: By = "validation"
    fold: Tensor | None = None

    def held(self, fits: Fits, k: int, factored: Factor | None) -> Held:
        """Of the rows set aside."""
        rows = self.rows
        return Held.of(rows.loss.value(rows.raw(fits.theta[:, k]), rows.target), rows.weight)
