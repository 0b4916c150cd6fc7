"""Newton steps on a working set: columns that are few enough for their Hessian to be formed.

With l1 or bounds a step moves the columns that are off the kinks and bounds, and, of those that rest on one, the ones
whose move would lower F most; all others stay where they are. Few columns ever leave the kink of an l1 penalty, so the
Hessian of all columns is never needed: the gradient, one product with X', shows at every step which others should
move. Hashing leaves many columns without a value in any row; they stay at zero.

Reference: Massias, Gramfort and Salmon 2018, arXiv:1802.07481.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.penalties import clipped, soft_thresholded
from torchlogit.records import Snapshot
from torchlogit.solvers.newton.step import Iterate, ModelWithMemory, NewtonModel, NewtonStep, snapshot_of

GROWTH = 2  # columns of a working set over those off the kinks and bounds; larger: fewer sets, costlier Hessians
MAX_CURVATURE = 0.25  # the largest second derivative of a loss by one of its raw predictions


class WorkingSet:
    """A Newton model of some of the columns; the step is zero on all others.

    select: the indices of the columns that a step from an iterate should move. build: makes the model of an objective
    that has those columns alone. A new model is made only once columns are selected that the last one lacks.
    """

    def __init__(
        self, select: Callable[[Objective, Iterate], Tensor], build: Callable[[Objective], NewtonModel]
    ) -> None:
        self._select, self._build = select, build
        self._columns = torch.zeros(0, dtype=torch.int64)
        self._restricted: tuple[Objective, NewtonModel] | None = None  # to these columns
        self._selection_passes = 0.0  # passes for gathering the columns, until a step has counted them
        self._iterates: tuple[Iterate, Iterate] | None = None  # the last one, and its part in these columns

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The step of the columns' model."""
        selected = self._select(objective, iterate)
        if self._restricted is None or not bool(torch.isin(selected, self._columns).all()):
            self._columns, self._iterates, self._selection_passes = selected, None, 0.5
            self._restricted = self._restrict(objective)
        restricted, model = self._restricted
        intercept = torch.arange(objective.n_features, len(iterate.theta))
        places = torch.cat([self._columns, intercept]).to(iterate.theta.device)
        if self._iterates is None or self._iterates[0] is not iterate:  # models recognise an iterate by its identity
            part = replace(iterate, theta=iterate.theta[places], gradient=iterate.gradient[places])
            self._iterates = iterate, part
        step = model.step(restricted, self._iterates[1], exact)
        direction = torch.zeros_like(iterate.theta).index_copy_(0, places, step.direction)
        share = restricted.design.n_values / max(1, objective.design.n_values)
        passes = (self._selection_passes + step.passes) * share
        self._selection_passes = 0.0
        return replace(step, direction=direction, passes=passes)

    def after_step(self, reach: float) -> None:
        """Pass on to the columns' model."""
        if self._restricted is not None and isinstance(self._restricted[1], ModelWithMemory):
            self._restricted[1].after_step(reach)

    def snapshot(self) -> Snapshot:
        """The columns, and the snapshot of their model."""
        return {
            "columns": self._columns,
            "model": None if self._restricted is None else snapshot_of(self._restricted[1]),
        }

    def restore(self, objective: Objective, snapshot: Snapshot) -> None:
        """Continue with the same columns."""
        if snapshot["model"] is not None:
            self._columns = snapshot["columns"].cpu()
            restricted, model = self._restricted = self._restrict(objective)
            if isinstance(model, ModelWithMemory):
                model.restore(restricted, snapshot["model"])

    def _restrict(self, objective: Objective) -> tuple[Objective, NewtonModel]:
        restricted = objective.columns(self._columns)
        return restricted, self._build(restricted)


def occupied(objective: Objective) -> Tensor:
    """Whether each feature has a value other than zero in some row of positive weight, (n_features,)."""
    return objective.coef(objective.moments[1][:, None])[:, 0] > 0


def occupied_columns(objective: Objective, iterate: Iterate) -> Tensor:
    """The columns, ascending, that have a value in some row, or a coefficient."""
    columns = occupied(objective) | (objective.coef(iterate.theta) != 0).any(dim=1)
    return columns.nonzero()[:, 0].cpu()


def promising_columns(objective: Objective, iterate: Iterate, *, first: int, most: int) -> Tensor:
    """The columns, ascending, that are off the kinks and bounds, and as many again that would lower F most.

    At least `first` columns, and no more than `most`. By how much a column would lower F is judged by a proximal
    gradient step of that column alone.
    """
    coef, gradient = objective.coef(iterate.theta), objective.coef(iterate.gradient)
    penalty, n_features = objective.penalty, len(coef)
    rates = penalty.l1_rates(n_features).to(coef)[:, None]
    lower, upper = (end.to(coef)[:, None] for end in penalty.box(n_features))
    curvature = objective.coef(objective.precision + MAX_CURVATURE * objective.moments[1])[:, None].clamp(min=1e-300)
    move = coef - clipped(soft_thresholded(coef - gradient / curvature, rates / curvature), lower, upper)
    decrease = (curvature * move.square()).sum(dim=1)
    moving = ((lower < coef) & (coef < upper) & ((coef != 0) | (rates == 0))).any(dim=1)
    size = max(first, GROWTH * int(moving.sum()))
    decrease = torch.where(moving, torch.inf, decrease) if size <= most else decrease
    best = decrease.topk(min(size, most, n_features))
    chosen = max(1, int((best.values > 0).sum()))
    return best.indices[:chosen].sort().values.cpu()
