"""The line searches: one dimension, on stored raw predictions, without reading X."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective

FLAT = 0.1  # the slope, as a share of the first one, at which a step is long enough
ENOUGH = 0.1  # the share of what the slope promises that a step past a kink has to keep
MAX_TRIALS = 30


@dataclass(frozen=True, slots=True)
class Ray:
    """F along theta + t step, with the raw predictions of both, and F and its slope at t = 0.

    Where the penalty has kinks, the slope is that of the smooth part plus what the kinks add over the whole step: an
    upper bound of the slope at t = 0. residual: where the residuals of the landing are left, (n, n_outputs).
    """

    objective: Objective
    theta: Tensor
    raw: Tensor
    step: Tensor
    raw_step: Tensor
    value: float
    slope: float
    residual: Tensor

    def reach(self) -> float:
        """How far the full step moves the log-odds of a row, at most."""
        spread = self.objective.loss.spread
        return max(float(spread(self.raw_step[rows]).max()) for rows in self.objective.chunks())

    def at(self, t: float) -> Tensor:
        """theta + t step."""
        return torch.add(self.theta, self.step, alpha=t)


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a search ended: F and its slope there, and t."""

    value: float
    slope: float
    t: float


def search(ray: Ray) -> Landing:
    """The point on the ray where F is low enough, the full step where that will do."""
    return _exact(ray) if ray.objective.penalty.smooth else _backtracked(ray)


def _exact(ray: Ray) -> Landing:
    """The point where F is no higher and its slope a tenth of the first.

    Newton's method in t inside a bracket of the zero, which is cut where Newton leaves it. Forward moves are damped to
    ln(1 + r dt) / r, r = max_i |x_i' step|, under which a logistic loss provably falls (Bach 2010,
    doi:10.1214/09-EJS521).
    """
    t, below, above, shrink = 1.0, 0.0, math.inf, 0.5
    for _ in range(MAX_TRIALS):
        landing = _land(ray, t)
        if abs(landing.slope) <= FLAT * abs(ray.slope) and landing.value <= ray.value:
            return landing
        below, above = (t, above) if landing.slope < 0 else (below, t)
        curvature = _curvature(ray)
        move = -landing.slope / curvature if curvature > 0 else math.inf
        if landing.slope < 0 and (reach := ray.reach()) > 0:
            move = math.log1p(reach * move) / reach
        if below < t + move < above:
            t += move
        else:
            t, shrink = (_between(below, above, shrink), shrink * shrink) if above < math.inf else (2.5 * t, shrink)
    return _land(ray, below)


def _between(below: float, above: float, shrink: float) -> float:
    """A point inside the bracket, of another order of magnitude where the bracket spans several.

    Where every row is all but certain the Hessian vanishes along some direction, and a step of 1e17 is to be cut to 1.
    """
    if below == 0:
        return shrink * above
    return (below + above) / 2 if above < 4 * below else math.sqrt(below) * math.sqrt(above)


def _backtracked(ray: Ray) -> Landing:
    """The first of 1, t_1, t_2, ... at which F has fallen by a tenth of what the slope promises (Armijo 1966).

    No t is larger than 1: there the bounds and the zeros of the step are met, and so they are in between.
    """
    t, hidden = 1.0, 4 * torch.finfo(torch.float64).eps * abs(ray.value)
    for _ in range(MAX_TRIALS):
        landing = _land(ray, t)
        if landing.value <= ray.value + ENOUGH * t * ray.slope + hidden:
            return landing
        excess = landing.value - ray.value - t * ray.slope
        t *= min(0.5, max(0.1, -ray.slope * t / (2 * excess))) if math.isfinite(excess) else 0.1
    return _land(ray, 0.0)


def _land(ray: Ray, t: float) -> Landing:
    """F and its slope at t; the residuals are left in the ray's."""
    objective, loss = ray.objective, ray.objective.loss

    def losses_and_slopes(rows: slice) -> list[Tensor]:
        raw, target = torch.add(ray.raw[rows], ray.raw_step[rows], alpha=t), objective.target[rows]
        value, residual = loss.evaluate(raw, target)
        ray.residual[rows] = residual
        return [value, residual.mul_(ray.raw_step[rows])]

    losses, slope = objective.total(losses_and_slopes).tolist()
    theta = ray.at(t)
    value = losses + objective.penalty.value(objective.coef(theta))
    return Landing(value, slope + float((objective.penalty_gradient(theta) * ray.step).sum()), t)


def _curvature(ray: Ray) -> float:
    """F's second derivative by t, where the ray's residuals are."""
    objective = ray.objective

    def curvatures(rows: slice) -> list[Tensor]:
        raw_step = ray.raw_step[rows]
        curved = objective.loss.curvature_product(ray.residual[rows], objective.target[rows], raw_step)
        return [curved.mul_(raw_step)]

    return float(objective.total(curvatures)) + float(objective.precision() @ ray.step.square().sum(dim=1))
