"""Line searches on the stored raw predictions of a point and of a step: they do not read X.

Every trial evaluates exponentials for all rows, about the cost of a pass over X on narrow tables, so the full step is
tried first; near the optimum it is the only trial (docs/decisions/0004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective

SLOPE_RATIO = 0.1
"""Without l1 or bounds: t is accepted once F is no higher than at 0 and |dF/dt| is at most this share of its value at
0 (the strong Wolfe curvature condition). Larger: fewer trials, and steps that lower F less (decision 0004)."""
DECREASE_RATIO = 0.1
"""With l1 or bounds, where F has kinks: t is accepted once F has fallen by this share of t times the slope (the Armijo
condition). Larger: more trials, and steps that lower F more (decision 0010)."""
LINEAR_RATIO = 0.9
"""With l1 or bounds: a full step is lengthened where F has fallen by this share of the slope; at the minimum of a
quadratic it falls by half of it. Larger: fewer steps are lengthened."""
MAX_TRIALS = 30  # values of t that are evaluated, at most


@dataclass(frozen=True, slots=True)
class LineProblem:
    """F along theta + t step, 0 <= t.

    theta, step (p, n_outputs), and their raw predictions raw, raw_step (n, n_outputs). value: F at t = 0. slope_bound:
    dF/dt there; where the penalty has kinks, an upper bound of it, the slope of the smooth part plus the change of the
    kinks over the whole step. residual (n, n_outputs): is overwritten with the residuals of the last t evaluated.
    """

    objective: Objective
    theta: Tensor
    raw: Tensor
    step: Tensor
    raw_step: Tensor
    value: float
    slope_bound: float
    residual: Tensor

    def reach(self) -> float:
        """The largest change of a row's log-odds over the full step."""
        spread = self.objective.loss.spread
        return max(float(spread(self.raw_step[rows]).max()) for rows in self.objective.chunks())

    def point(self, t: float) -> Tensor:
        """theta + t step."""
        return torch.add(self.theta, self.step, alpha=t)


@dataclass(frozen=True, slots=True)
class LinePoint:
    """F and dF/dt at some t."""

    value: float
    slope: float
    t: float


def line_search(line: LineProblem) -> LinePoint:
    """A point on the line at which F has fallen enough: that of the full step, t = 1, if possible."""
    return _newton_search(line) if line.objective.penalty.smooth else _backtracking_search(line)


def _newton_search(line: LineProblem) -> LinePoint:
    """The point where F is no higher and the slope has fallen to SLOPE_RATIO, by Newton's method in t.

    A bracket of the zero of dF/dt is kept, and cut where Newton's method would leave it. Forward moves are damped to
    ln(1 + r dt) / r, r = max_i |x_i' step|, under which a logistic loss provably falls (Bach 2010,
    doi:10.1214/09-EJS521).
    """
    t, low, high, fraction = 1.0, 0.0, math.inf, 0.5
    for _ in range(MAX_TRIALS):
        point = _evaluate_at(line, t)
        if abs(point.slope) <= SLOPE_RATIO * abs(line.slope_bound) and point.value <= line.value:
            return point
        low, high = (t, high) if point.slope < 0 else (low, t)
        curvature = _curvature(line)
        move = -point.slope / curvature if curvature > 0 else math.inf
        if point.slope < 0 and (reach := line.reach()) > 0:
            move = math.log1p(reach * move) / reach
        if low < t + move < high:
            t += move
        elif high < math.inf:
            t, fraction = _inside(low, high, fraction), fraction * fraction
        else:
            t *= 2.5
    return _evaluate_at(line, low)


def _inside(low: float, high: float, fraction: float) -> float:
    """A point of the bracket: the geometric mean where the ends are more than a factor of 4 apart, else the middle.

    If low is 0, this fraction of the bracket. Where all rows are predicted with near certainty, the Hessian vanishes
    along some direction, and a step that is 1e17 times too long has to be shortened in few trials.
    """
    if low == 0:
        return fraction * high
    return (low + high) / 2 if high < 4 * low else math.sqrt(low) * math.sqrt(high)


def _backtracking_search(line: LineProblem) -> LinePoint:
    """The first of t = 1, t_1, t_2, ... at which F has fallen by DECREASE_RATIO of what the slope predicts.

    t <= 1: theta and theta + step are within the bounds, and so is everything in between. A full step along which F is
    nearly linear is lengthened.
    """
    t, rounding = 1.0, 4 * torch.finfo(torch.float64).eps * abs(line.value)
    for _ in range(MAX_TRIALS):
        point = _evaluate_at(line, t)
        if t == 1.0 and point.value < line.value + LINEAR_RATIO * line.slope_bound - rounding:
            return _lengthened(line, point)
        if point.value <= line.value + DECREASE_RATIO * t * line.slope_bound + rounding:
            return point
        excess = point.value - line.value - t * line.slope_bound
        t *= min(0.5, max(0.1, -line.slope_bound * t / (2 * excess))) if math.isfinite(excess) else 0.1
    return _evaluate_at(line, 0.0)


def _lengthened(line: LineProblem, point: LinePoint) -> LinePoint:
    """The last of t = 1, 2.5, 2.5^2, ... up to which F falls and the bounds hold."""
    for _ in range(MAX_TRIALS):
        end = line.point(2.5 * point.t)
        longer = _evaluate_at(line, 2.5 * point.t) if torch.equal(line.objective.feasible(end), end) else point
        if not longer.value < point.value:
            break
        point = longer
    return _evaluate_at(line, point.t)


def _evaluate_at(line: LineProblem, t: float) -> LinePoint:
    """F and dF/dt at t; overwrites the line's residuals."""
    objective, loss = line.objective, line.objective.loss

    def losses_and_slopes(rows: slice) -> list[Tensor]:
        raw, target = torch.add(line.raw[rows], line.raw_step[rows], alpha=t), objective.target[rows]
        value, residual = loss.evaluate(raw, target)
        line.residual[rows] = residual
        return [value, residual.mul_(line.raw_step[rows])]

    losses, slope = objective.total(losses_and_slopes).tolist()
    theta = line.point(t)
    value = losses + objective.penalty.value(objective.coef(theta))
    return LinePoint(value, slope + float((objective.penalty_gradient(theta) * line.step).sum()), t)


def _curvature(line: LineProblem) -> float:
    """The second derivative of F by t, at the t of the line's residuals."""
    objective = line.objective

    def curvatures(rows: slice) -> list[Tensor]:
        raw_step = line.raw_step[rows]
        curvature = objective.loss.curvature_product(line.residual[rows], objective.target[rows], raw_step)
        return [curvature.mul_(raw_step)]

    return float(objective.total(curvatures)) + float(objective.precision @ line.step.square().sum(dim=1))
