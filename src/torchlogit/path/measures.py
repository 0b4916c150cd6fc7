"""Estimates of the loss on new rows: by leaving each row out, by folds, or by validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.path.batch import ALL_ROWS, NO_FOLD, Batch, BatchEvaluation
from torchlogit.path.curve import By
from torchlogit.path.leave_one_out import left_out_losses
from torchlogit.path.newton import Hessians
from torchlogit.path.samples import Sample
from torchlogit.quadratic import Factor


class Measure(Protocol):
    """A way to estimate the loss on new rows at every l2 of a path."""

    @property
    def by(self) -> By:
        """Its name in options and results."""
        ...

    @property
    def fold(self) -> Tensor | None:
        """The fold of each row (n,), NO_FOLD where it is in none; None where no fits without folds are needed."""
        ...

    def estimate(self, fits: PathFits, k: int, hessian: Factor | None) -> tuple[float, float]:
        """The mean loss on new rows at the k-th l2 and its standard error. hessian: at that fit, where it is formed."""
        ...


@dataclass(frozen=True, slots=True)
class PathFits:
    """The fits of a batch at their optima: first one of all rows for each l2, then for each fold those without it.

    n_l2s: how many fits are of all rows. theta: (p, m, n_outputs). hessians: None where they are too large to form.
    left_out: the rows to leave out one by one.
    """

    batch: Batch
    n_l2s: int
    theta: Tensor
    evaluation: BatchEvaluation
    hessians: Hessians | None = None
    left_out: Sample | None = None

    def hessian(self, k: int) -> Factor | None:
        """The Hessian at the k-th fit, where it is formed."""
        return None if self.hessians is None else self.hessians.at(k, self.theta[:, k])


def batch_of(objective: Objective, observation_weight: Tensor, l2s: list[float], measure: Measure) -> Batch:
    """The fits that a measure needs: all rows at every l2; then, fold by fold, the rows outside it at every l2."""
    device = objective.target.device
    fold = torch.full((objective.design.shape[0],), NO_FOLD, device=device) if measure.fold is None else measure.fold
    held_out = [ALL_ROWS, *(f for f in torch.unique(fold).tolist() if f != NO_FOLD)]
    each_l2 = torch.tensor(l2s, dtype=torch.float64, device=device).repeat(len(held_out))
    each_fold = torch.tensor(held_out, device=device).repeat_interleave(len(l2s))
    return Batch(objective, observation_weight, each_l2, each_fold, fold)


def mean_loss(losses: Tensor, weight: Tensor, observations: Tensor | None = None) -> tuple[float, float]:
    """The mean of losses (n,) by weight, and its standard error if the observations are independent.

    weight (n,): of one observation of a row. observations (n,): how many each row stands for; 1 if not given.

    >>> mean_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))[0]
    2.0
    """
    count = torch.ones_like(weight) if observations is None else observations
    s, total = count * weight, (count * weight).sum()
    mean = (s * losses).sum() / total
    return float(mean), float((s * weight * (losses - mean).square()).sum().sqrt() / total)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Approximate leave-one-out.

    The mean loss of all rows at the fit, plus the mean increase of a row's loss when it is left out, from a sample.
    """

    by: By = "alo"
    fold: Tensor | None = None

    def estimate(self, fits: PathFits, k: int, hessian: Factor | None) -> tuple[float, float]:
        """The mean loss of rows that are left out; the standard error is that of the sample."""
        assert hessian is not None
        assert fits.left_out is not None
        theta, whole, sample = fits.theta[:, k], fits.batch.objective, fits.left_out
        rows = sample.objective
        fitted = rows.loss.value(rows.raw(theta), rows.target)
        left_out = left_out_losses(rows, theta, hessian, sample.observation_weight)
        added = float((rows.weight * (left_out - fitted)).sum())
        penalty = float(0.5 * (fits.batch.precision()[:, k, None] * theta.square()).sum())
        error = mean_loss(left_out, sample.observation_weight, sample.observations)[1]
        return (float(fits.evaluation.value[k]) - penalty + added) / whole.total_weight, error


@dataclass(frozen=True, slots=True)
class Folds:
    """Cross-validation: the loss of each row in the fit without its fold (n,)."""

    fold: Tensor
    by: By = "cv"

    def estimate(self, fits: PathFits, k: int, hessian: Factor | None) -> tuple[float, float]:
        """The mean held-out loss of all rows that are in a fold."""
        weight = torch.where(self.fold == NO_FOLD, 0.0, fits.batch.objective.weight)
        total, squares = float(weight.sum()), float(weight @ fits.batch.observation_weight)
        sums = (part[fits.n_l2s + k :: fits.n_l2s].sum() for part in fits.evaluation.held_out)
        loss, square, cross = map(float, sums)
        mean = loss / total
        return mean, max(0.0, square - 2 * mean * cross + mean * mean * squares) ** 0.5 / total


@dataclass(frozen=True, slots=True)
class Validation:
    """The loss of validation rows, given as an objective."""

    rows: Objective
    by: By = "validation"
    fold: Tensor | None = None

    def estimate(self, fits: PathFits, k: int, hessian: Factor | None) -> tuple[float, float]:
        """The mean loss of the validation rows."""
        rows = self.rows
        return mean_loss(rows.loss.value(rows.raw(fits.theta[:, k]), rows.target), rows.weight)
