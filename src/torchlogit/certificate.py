"""How far F(w) is from its minimum: the Newton dual certificate.

One exact Newton step from w hands over, for every row, a probability q_i = p_i + variance_i x_i' delta
that satisfies the optimality conditions of the dual. By weak duality, for any point w~ and any
q in the simplex with u = -X'(s (q - y)) zero on the unpenalised columns,

    F(w~) - min F  <=  sum_i s_i KL(q_i || p~_i)  +  Omega(w~) + Omega*(u) - <w~, u>

(the Fenchel-Young gap of the losses plus that of the penalty; both are sums of terms that are not
negative). Nothing about the step is trusted: q is moved inside the simplex, made to satisfy the
conditions on the unpenalised columns (`_balanced`), u is summed from it in float64, the margins of w~
are computed from w~ as returned, and an allowance for rounding is added.

With no penalty, accepting q is itself a proof that a finite minimum exists: strictly positive weights
that balance every column exist if and only if no direction separates the classes (Stiemke 1915).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import factor

EPS = torch.finfo(torch.float64).eps
ROUNDING = 16 * EPS  # per absolute term of a float64 sum over blocks
MAX_MOVE = 0.5  # a repair may change the log-odds of a dual probability by this much, no more


@dataclass(frozen=True, slots=True)
class Bound:
    """F(w~) - min F <= value, in nats; None where the dual point could not be made feasible. `objective` is F(w~)."""

    value: float | None
    objective: float


def newton_dual_bound(objective: Objective, theta: Tensor, dual_residual: Tensor) -> Bound:
    """The bound at theta from the dual point of a Newton step: one pass, or two where columns have no penalty.

    theta (p, n_outputs): the point to certify, usually where the step led. dual_residual (n, n_outputs):
    q - target from `dual_point`. Source: weak duality for generalised linear models, Rockafellar 1970,
    section 31; the dual point and its use are torchlogit's own (docs/certificate.md).
    """
    point = _balanced_intercept(objective, dual_residual)
    if point is None:
        return Bound(None, objective.value(theta, objective.raw(theta)))
    raw, dual = _raw_and_dual(objective, theta, point.residual)
    loss = objective.loss.value(raw, objective.target)
    value = float(objective.weight @ loss) + objective.penalty.value(objective.coef(theta))
    if features_are_free(objective):
        balanced = _balanced(objective, point.residual, dual)
        if balanced is None:
            return Bound(None, value)
        if balanced.residual is not point.residual:
            dual = objective.dual(balanced.residual)
        point = balanced
    rounding = _rounding(objective, point.residual) + _unseen_in_dual(objective, point)
    penalty = objective.penalty.fenchel_young(*(objective.coef(part) for part in (theta, dual, rounding)))
    losses = _divergence(objective, raw, loss, point.residual)
    hidden = _margin_rounding(objective, theta, raw, point.residual) + _unseen_in_losses(objective, raw, point)
    bound = (1 + ROUNDING) * (losses + penalty + hidden)
    return Bound(bound if math.isfinite(bound) else None, value)


@dataclass(frozen=True, slots=True)
class _DualPoint:
    """q - target, balanced to rounding on the unpenalised columns.

    The point that is balanced exactly, and whose bound is meant, differs from it in no row's log-odds by more than
    `unseen`.
    """

    residual: Tensor
    unseen: float


def features_are_free(objective: Objective) -> bool:
    """Whether some feature (not only the intercept) carries no penalty, so that a minimum may not exist."""
    return bool((objective.coef(objective.precision()[:, None]) == 0).any())


def _divergence(objective: Objective, raw: Tensor, loss: Tensor, residual: Tensor) -> float:
    """sum_i s_i KL(q_i || p_i), with its rounding allowance; `loss` is each row's loss at `raw`.

    KL(q || p) = value(raw, q) + q ln q, and value(raw, q) = value(raw, y) - (q - y) raw loses no digits.
    """
    tilt = residual * raw
    entropy = objective.loss.negative_entropy(residual, objective.target)
    divergence = (loss - tilt.sum(dim=1) + entropy).clamp(min=0)
    size = loss + tilt.abs().sum(dim=1) + entropy.abs() + residual.abs().sum(dim=1)
    return float(objective.weight @ divergence) + ROUNDING * float(objective.weight @ size)


def _margin_rounding(objective: Objective, theta: Tensor, raw: Tensor, residual: Tensor) -> float:
    """What rounding in the margins x_i' theta, whose terms may cancel, can hide in the divergence.

    An error e_i in the margin changes it by at most |p_i - q_i| |e_i| + e_i^2, and the root of sum s_i e_i^2 is at most
    eps sum_j |theta_j| |x_j|, |x_j| the length of column j.
    """
    error = ROUNDING * float((objective.moments[1].sqrt()[:, None] * theta.abs()).sum())
    apart = float(objective.weight @ (objective.residual(raw) - residual).square().sum(dim=1))
    return math.sqrt(apart) * error + error**2


def _unseen_in_losses(objective: Objective, raw: Tensor, point: _DualPoint) -> float:
    """By how much the divergence of the exactly balanced point may exceed this one's, to second order."""
    slope = objective.loss.canonical(point.residual, objective.target) - raw
    slope = objective.loss.curvature_product(point.residual, objective.target, slope).abs().sum(dim=1)
    return point.unseen * float(objective.weight @ slope) + point.unseen**2 * objective.total_weight


def _unseen_in_dual(objective: Objective, point: _DualPoint) -> Tensor:
    """By how much each entry of its dual may differ, (p, 1): |x_j| times the length of the change in q."""
    q = objective.target + point.residual
    size = float((objective.weight @ (q * (1 - q)).square()).sum())
    return point.unseen * math.sqrt(size) * objective.moments[1].sqrt()[:, None]


def _raw_and_dual(objective: Objective, theta: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """X theta and -X'(s residual) in one reading of X."""
    weighted = residual * objective.weight[:, None]
    raw = torch.empty_like(objective.target)
    dual = torch.zeros_like(theta)
    for rows, block in objective.design.blocks():
        raw[rows] = block.matmul(theta)
        dual -= block.rmatmul(weighted[rows])
    return raw, dual


def _rounding(objective: Objective, residual: Tensor) -> Tensor:
    """A bound on the rounding error of -X'(s residual), (p, 1): per column eps times the sum of absolute terms."""
    squares = objective.moments[1]
    size = float((objective.weight @ residual.square()).sum())
    return (ROUNDING * squares.sqrt() * math.sqrt(size))[:, None]


def _balanced_intercept(objective: Objective, residual: Tensor) -> _DualPoint | None:
    """The dual point with weighted residuals that sum to zero, as an unpenalised intercept asks; reads no X."""
    if not objective.design.has_intercept:
        return _DualPoint(residual, 0.0)
    basis, weight, target = objective.basis(), objective.weight, objective.target
    total = float((weight[:, None] * residual.abs()).sum())
    for _ in range(4):
        columns = [
            weight @ objective.loss.curvature_product(residual, target, direction.expand_as(residual)) @ basis
            for direction in basis.T
        ]
        factored = factor(torch.stack(columns, dim=1))
        excess = (weight @ residual) @ basis
        if float(excess.abs().max()) <= ROUNDING * total:
            reach = (basis.abs() @ factored.inverse().abs()).sum(dim=1)
            unseen = float(excess.abs().max()) + ROUNDING * total
            return _DualPoint(residual, 2 * unseen * float(reach.max()))
        shift = (factored.solve(excess[:, None])[:, 0] @ basis.T).expand_as(residual)
        if not float(objective.loss.spread(shift).max()) < MAX_MOVE:
            return None
        residual = residual - objective.loss.curvature_product(residual, target, shift)
    return None


def _balanced(objective: Objective, residual: Tensor, dual: Tensor) -> _DualPoint | None:
    """The dual point balanced on every unpenalised column, or None where that cannot be done.

    Solves G t = dual_U, G the Hessian at q on those columns, and moves q_i by -variance_i x_i' t: every
    probability stays strictly inside while |x_i' t| < 1/2. What rounding could hide in dual_U is solved for
    too and has to fit under the same limit, so a q whose small entries are only rounding is refused.
    """
    basis = objective.basis()
    n_free, p = basis.shape[1], objective.design.shape[1]
    free = (objective.precision() == 0).repeat(n_free)
    factored = factor(objective.hessian(residual)[free][:, free])
    if not factored.triangular and factored.rank < _rank(objective, free):
        return None
    for _ in range(3):
        excess = objective.to_free(dual)[free]
        rounding = _rounding(objective, residual).repeat(n_free, 1)[free, 0]
        step = torch.zeros(n_free * p, dtype=torch.float64, device=dual.device)
        step[free] = factored.solve(excess[:, None])[:, 0]
        shift = objective.raw(objective.from_free(step))
        unseen = float(objective.loss.spread(shift).max())
        unseen += _hidden_move(objective, factored.inverse(), rounding, free)
        if not unseen < MAX_MOVE:
            return None
        if bool((excess.abs() <= 4 * rounding).all()):
            return _DualPoint(residual, 2 * unseen)
        residual = residual + objective.loss.curvature_product(residual, objective.target, shift)
        dual = objective.dual(residual)
    return None


def _rank(objective: Objective, free: Tensor) -> int:
    """How many unpenalised directions the rows determine when every one of them has its say.

    A Hessian at q that determines fewer has lost a direction to vanishing probabilities, not to collinear columns:
    a balance along it that cannot be seen is no proof.
    """
    even = objective.residual(torch.zeros_like(objective.target))
    return factor(objective.hessian(even)[free][:, free]).rank


def _hidden_move(objective: Objective, inverse: Tensor, rounding: Tensor, free: Tensor) -> float:
    """The largest move in log-odds that an excess within `rounding` could ask for: |x_i|_(1/G) |e|_(1/G)."""
    size = math.sqrt(float(rounding @ inverse.abs() @ rounding))
    p = objective.design.shape[1]
    n_free = len(free) // p
    full = torch.zeros(n_free * p, n_free * p, dtype=inverse.dtype, device=inverse.device)
    full[torch.outer(free, free)] = inverse.reshape(-1)
    trace = full.reshape(n_free, p, n_free, p).diagonal(dim1=0, dim2=2).sum(dim=2)
    longest = 0.0
    for _, block in objective.design.blocks():
        longest = max(longest, float(block.quadratic(trace).max()))
    return math.sqrt(2 * max(longest, 0.0)) * size
