"""Newton's steps on the columns that matter: some of them, so few that their Hessian can be formed.

With l1 or bounds a step moves the columns that are not at rest on a kink or a bound, and of those at rest the ones that
would leave it, first those that promise most; all others stay where they are. Few columns ever leave the kink of an l1
penalty, and so the Hessian of all columns is never needed; what the others would do is seen in the gradient at the next
step. Of hashed columns many have no value in any row: they stay at zero.

Source: working sets for generalised linear models, Massias, Gramfort and Salmon 2018, arXiv:1802.07481.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.penalties import clipped, soft_thresholded
from torchlogit.records import Snapshot
from torchlogit.solvers.newton.step import NewtonModel, Point, Step

AT_FIRST = 100  # columns; later, so many times those that are not at rest
GROWTH = 2
STEEPEST = 0.25  # the largest second derivative of a loss
MOST = 4000  # columns: the square is what a step costs


class WorkingSet:
    """A model of the columns that `wanted` names, by the model that `of` makes of them; made anew when others are."""

    def __init__(self, wanted: Callable[[Objective, Point], Tensor], of: Callable[[Objective], NewtonModel]) -> None:
        self._wanted, self._of = wanted, of
        self._columns = torch.zeros(0, dtype=torch.int64)
        self._part: tuple[Objective, NewtonModel] | None = None
        self._passes = 0.0
        self._points: tuple[Point, Point] | None = None

    def step(self, objective: Objective, point: Point, exact: bool) -> Step:
        """The model's step, zero on all other columns."""
        wanted = self._wanted(objective, point)
        if self._part is None or not bool(torch.isin(wanted, self._columns).all()):
            self._columns, self._points, self._passes = wanted, None, 0.5
            self._part = self._made(objective)
        part, model = self._part
        last = torch.arange(len(objective.coef(point.theta)), len(point.theta))
        places = torch.cat([self._columns, last]).to(point.theta.device)
        if self._points is None or self._points[0] is not point:  # a model knows a point by its being the same object
            self._points = point, replace(point, theta=point.theta[places], gradient=point.gradient[places])
        step = model.step(part, self._points[1], exact)
        whole = torch.zeros_like(point.theta).index_copy_(0, places, step.step)
        spent = (self._passes + step.passes) * part.design.n_values / max(1, objective.design.n_values)
        self._passes = 0.0
        return replace(step, step=whole, passes=spent)

    def moved(self, reach: float) -> None:
        """Passed on."""
        if self._part is not None:
            self._part[1].moved(reach)

    def snapshot(self) -> Snapshot:
        """The columns, and what the model of them goes by."""
        return {"columns": self._columns, "model": None if self._part is None else self._part[1].snapshot()}

    def go_on(self, objective: Objective, snapshot: Snapshot) -> None:
        """With the same columns."""
        if snapshot["model"] is not None:
            self._columns = snapshot["columns"].cpu()
            part, model = self._part = self._made(objective)
            model.go_on(part, snapshot["model"])

    def _made(self, objective: Objective) -> tuple[Objective, NewtonModel]:
        part = objective.columns(self._columns)
        return part, self._of(part)


def occupied(objective: Objective) -> Tensor:
    """Whether each feature has a value other than zero in some row of positive weight."""
    return objective.coef(objective.moments[1][:, None])[:, 0] > 0


def occupied_columns(objective: Objective, point: Point) -> Tensor:
    """The columns, ascending, that have a value in some row, or a coefficient."""
    seen = occupied(objective) | (objective.coef(point.theta) != 0).any(dim=1)
    return seen.nonzero()[:, 0].cpu()


def promising_columns(objective: Objective, point: Point) -> Tensor:
    """The columns, ascending: those between kinks and bounds, then those that would lower F most."""
    coef, gradient = objective.coef(point.theta), objective.coef(point.gradient)
    penalty, n_features = objective.penalty, len(coef)
    rates = penalty.l1_rates(n_features).to(coef)[:, None]
    lower, upper = (end.to(coef)[:, None] for end in penalty.box(n_features))
    bend = objective.coef(objective.precision() + STEEPEST * objective.moments[1])[:, None].clamp(min=1e-300)
    move = coef - clipped(soft_thresholded(coef - gradient / bend, rates / bend), lower, upper)
    promise = (bend * move.square()).sum(dim=1)
    between = ((lower < coef) & (coef < upper) & ((coef != 0) | (rates == 0))).any(dim=1)
    several = max(AT_FIRST, GROWTH * int(between.sum()))
    promise = torch.where(between, torch.inf, promise) if several <= MOST else promise
    best = promise.topk(min(several, MOST, n_features))
    some = max(1, int((best.values > 0).sum()))
    return best.indices[:some].sort().values.cpu()
