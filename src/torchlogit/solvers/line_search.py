"""The exact line search: one dimension, on stored raw predictions, without reading X."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective

FLAT = 0.1  # the slope, as a share of the first one, at which a step is long enough
MAX_TRIALS = 30


@dataclass(frozen=True, slots=True)
class Ray:
    """F along theta + t step, with the raw predictions of both, and F and its slope at t = 0."""

    objective: Objective
    theta: Tensor
    raw: Tensor
    step: Tensor
    raw_step: Tensor
    value: float
    slope: float


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a search ended: theta, its raw prediction, residual and F, and t."""

    theta: Tensor
    raw: Tensor
    residual: Tensor
    value: float
    t: float


def search(ray: Ray) -> Landing:
    """The point on the ray where F is no higher and its slope a tenth of the first: the full step where that will do.

    Newton's method in t inside a bracket of the zero, halved where Newton leaves it. Forward moves are damped to
    ln(1 + r dt) / r, r = max_i |x_i' step|, under which a logistic loss provably falls (Bach 2010,
    doi:10.1214/09-EJS521).
    """
    objective, t = ray.objective, 1.0
    below, above = 0.0, math.inf
    reach = float(objective.loss.spread(ray.raw_step).max())
    for _ in range(MAX_TRIALS):
        landing = _land(ray, t)
        slope = _slope(ray, landing)
        if abs(slope) <= FLAT * abs(ray.slope) and landing.value <= ray.value:
            return landing
        below, above = (t, above) if slope < 0 else (below, t)
        curvature = _curvature(ray, landing)
        move = -slope / curvature if curvature > 0 else math.inf
        if slope < 0 and reach > 0:
            move = math.log1p(reach * move) / reach
        t = t + move if below < t + move < above else (below + min(above, 4 * t)) / 2
    return _land(ray, below)


def _land(ray: Ray, t: float) -> Landing:
    theta, raw = torch.add(ray.theta, ray.step, alpha=t), torch.add(ray.raw, ray.raw_step, alpha=t)
    return Landing(theta, raw, ray.objective.residual(raw), ray.objective.value(theta, raw), t)


def _slope(ray: Ray, at: Landing) -> float:
    losses = ray.objective.weight @ (at.residual * ray.raw_step).sum(dim=1)
    return float(losses + (ray.objective.penalty_gradient(at.theta) * ray.step).sum())


def _curvature(ray: Ray, at: Landing) -> float:
    objective = ray.objective
    curved = objective.loss.curvature_product(at.residual, objective.target, ray.raw_step)
    losses = objective.weight @ (curved * ray.raw_step).sum(dim=1)
    return float(losses + (objective.precision() @ ray.step.square()).sum())
