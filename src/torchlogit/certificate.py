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
from functools import partial

import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.objective import Objective
from torchlogit.quadratic import Factor, factor

EPS = torch.finfo(torch.float64).eps
ROUNDING = 16 * EPS  # per absolute term of a float64 sum over blocks
NEGLIGIBLE = 0.01  # of the divergence: what may be bounded roughly
MOST_FREE = 10_000  # free coordinates: what balances columns without a penalty takes a matrix of so many columns
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
    if too_many_free(objective):
        return Bound(None, objective.value(theta, raw))
    if features_are_free(objective):
        balanced = _balanced(objective, point.residual, dual)
        if balanced is None:
            return Bound(None, objective.value(theta, raw))
        if balanced.residual is not point.residual:
            dual = objective.dual(balanced.residual)
        point = balanced
    rounding = _rounding(objective, point.residual) + _unseen_in_dual(objective, point)
    share = _share_within_range(objective, dual, rounding)
    if share < 1:
        point, dual = _DualPoint(share * point.residual, point.unseen), share * dual
    losses = _losses(objective, raw, point.residual)
    value = losses.value + objective.penalty.value(objective.coef(theta))
    penalty = objective.penalty.fenchel_young(*(objective.coef(part) for part in (theta, dual, rounding)))
    hidden = _margin_rounding(objective, theta, losses) + _unseen_in_losses(objective, raw, losses, point)
    bound = (1 + ROUNDING) * (losses.divergence + ROUNDING * losses.size + penalty + hidden)
    return Bound(bound if math.isfinite(bound) else None, value)


@dataclass(frozen=True, slots=True)
class _DualPoint:
    """q - target, balanced to rounding on the unpenalised columns.

    The point that is balanced exactly, and whose bound is meant, differs from it in no row's log-odds by more than
    `unseen`.
    """

    residual: Tensor
    unseen: float


@dataclass(frozen=True, slots=True)
class _Losses:
    """Weighted sums over the rows, at raw predictions with probabilities p, of

    value: the losses. divergence: KL(q || p). size: the absolute terms of the divergence. entropy: of q. spread: of the
    raw prediction over the classes.
    """

    value: float
    divergence: float
    size: float
    entropy: float
    spread: float


def features_are_free(objective: Objective) -> bool:
    """Whether some feature (not only the intercept) may grow without a penalty, so that a minimum may not exist."""
    low, high = (objective.coef(end) for end in objective.dual_range())
    return bool(((low == 0) | (high == 0)).any())


def too_many_free(objective: Objective) -> bool:
    """Whether some feature is free, and the parameters are too many for a bound, or for a search for separation."""
    return objective.n_parameters > MOST_FREE and features_are_free(objective)


def _losses(objective: Objective, raw: Tensor, residual: Tensor) -> _Losses:
    """The sums over the losses.

    KL(q || p) = value(raw, q) + q ln q, and value(raw, q) = value(raw, y) - (q - y) raw loses no digits.
    """
    loss = objective.loss

    def terms(rows: slice) -> list[Tensor]:
        z, r, y = raw[rows], residual[rows], objective.target[rows]
        value, tilt, entropy = loss.value(z, y), r * z, loss.negative_entropy(r, y)
        divergence = (value - tilt.sum(dim=1) + entropy).clamp(min=0)
        size = value + tilt.abs().sum(dim=1) + entropy.abs() + r.abs().sum(dim=1)
        return [value, divergence, size, entropy.abs(), loss.spread(z)]

    return _Losses(*objective.total(terms).tolist())


def _margin_rounding(objective: Objective, theta: Tensor, losses: _Losses) -> float:
    """What rounding in the margins x_i' theta, whose terms may cancel, can hide in the divergence.

    An error e_i in the margin changes it by at most |p_i - q_i| |e_i| + e_i^2; the root of sum s_i e_i^2 is at most
    eps sum_j |theta_j| |x_j|, |x_j| the length of column j, and sum s_i |p_i - q_i|^2 twice the divergence (Pinsker).
    """
    # products in place of powers, here and below: a power raises an error where it is infinite
    error = ROUNDING * float((objective.moments[1].sqrt()[:, None] * theta.abs()).sum())
    return math.sqrt(2 * (losses.divergence + ROUNDING * losses.size)) * error + error * error


def _unseen_in_losses(objective: Objective, raw: Tensor, losses: _Losses, point: _DualPoint) -> float:
    """By how much the divergence of the exactly balanced point may exceed this one's, to second order.

    Its derivative by the log-odds l of q is C (l - z), C the variance at q: at most twice the entropy of q, which
    bounds C l, and the spread of z. Where that is not negligible it is summed.
    """
    loss, target = objective.loss, objective.target

    def slopes(rows: slice) -> list[Tensor]:
        z, r, y = raw[rows], point.residual[rows], target[rows]
        return [loss.curvature_product(r, y, loss.canonical(r, y) - z).abs_()]

    slope = 2 * losses.entropy + losses.spread
    if point.unseen * slope > NEGLIGIBLE * losses.divergence:
        slope = float(objective.total(slopes))
    return point.unseen * slope + point.unseen * point.unseen * objective.total_weight


def _unseen_in_dual(objective: Objective, point: _DualPoint) -> Tensor:
    """By how much each entry of its dual may differ, (p, 1): |x_j| times the length of the change in q."""

    def squared_variance(rows: slice) -> list[Tensor]:
        q = objective.target[rows] + point.residual[rows]
        return [(q * (1 - q)).square_()]

    size = float(objective.total(squared_variance))
    return point.unseen * math.sqrt(size) * objective.moments[1].sqrt()[:, None]


def _share_within_range(objective: Objective, dual: Tensor, rounding: Tensor) -> float:
    """The largest share of the dual point, at most all, whose dual lies where Omega's conjugate is finite.

    A share of q - target is a dual point too, and balances what the whole balances: between q and the target itself.
    Columns that have to vanish are not looked at: they are balanced.
    """
    low, high = objective.dual_range()
    low, high, dual = (objective.coef(part) for part in (low, high, dual))
    room = torch.where(dual > 0, high, -low) - 2 * objective.coef(rounding)
    tight = (room < dual.abs()) & (torch.where(dual > 0, high, -low) != 0)
    if not bool(tight.any()):
        return 1.0
    return max(0.0, float((room / dual.abs())[tight].min()))


def _raw_and_dual(objective: Objective, theta: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """X theta and -X'(s residual) in one reading of X."""
    raw = objective.empty()

    def term(rows: slice, block: Rows) -> Tensor:
        raw[rows] = block.matmul(theta)
        return block.rmatmul(residual[rows] * objective.weight[rows, None])

    dual = -objective.sum_blocks(term)
    return raw if objective.offset is None else raw.add_(objective.offset), dual


def _rounding(objective: Objective, residual: Tensor) -> Tensor:
    """A bound on the rounding error of -X'(s residual), (p, 1): per column eps times the sum of absolute terms."""
    squares = objective.moments[1]
    size = float(objective.total(lambda rows: [residual[rows].square()]))
    return (ROUNDING * squares.sqrt() * math.sqrt(size))[:, None]


def _balanced_intercept(objective: Objective, residual: Tensor) -> _DualPoint | None:
    """The dual point with weighted residuals that sum to zero, as an unpenalised intercept asks; reads no X."""
    if not objective.design.has_intercept:
        return _DualPoint(residual, 0.0)
    basis, loss, target = objective.basis(), objective.loss, objective.target
    total = float(objective.total(lambda rows: [residual[rows].abs()]))

    for _ in range(4):
        variances = (
            loss.total_variance(residual[rows], target[rows], objective.weight[rows]) for rows in objective.chunks()
        )
        factored = factor(basis.T @ torch.stack(list(variances)).sum(dim=0) @ basis)
        excess = objective.total(partial(_by_output, residual)) @ basis
        if float(excess.abs().max()) <= ROUNDING * total:
            reach = (basis.abs() @ factored.inverse().abs()).sum(dim=1)
            unseen = float(excess.abs().max()) + ROUNDING * total
            return _DualPoint(residual, 2 * unseen * float(reach.max()))
        shift = (factored.solve(excess[:, None])[:, 0] @ basis.T)[None, :]
        if not float(loss.spread(shift).max()) < MAX_MOVE:
            return None
        residual = _moved(objective, residual, -shift.expand_as(residual))
    return None


def _by_output(values: Tensor, rows: slice) -> tuple[Tensor, ...]:
    return values[rows].unbind(dim=1)


def _moved(objective: Objective, residual: Tensor, shift: Tensor) -> Tensor:
    """The dual point whose log-odds have moved by `shift`, to first order."""
    curved, target = objective.loss.curvature_product, objective.target
    return objective.each(lambda rows: residual[rows] + curved(residual[rows], target[rows], shift[rows]))


def _balanced(objective: Objective, residual: Tensor, dual: Tensor) -> _DualPoint | None:
    """The dual point balanced on every unpenalised column, or None where that cannot be done.

    Solves G t = dual_U, G the Hessian at q on those columns, and moves q_i by -variance_i x_i' t: every
    probability stays strictly inside while |x_i' t| < 1/2. What rounding could hide in dual_U is solved for
    too and has to fit under the same limit, so a q whose small entries are only rounding is refused.
    A column that is free on one side of zero only is balanced where its dual is on the wrong side.
    """
    free = _to_be_balanced(objective, residual, dual)
    factored = _factored(objective, residual, free)
    for _ in range(4):
        if factored is None:
            return None
        excess = objective.to_free(dual)[free]
        rounding = _rounding(objective, residual).repeat(objective.basis().shape[1], 1)[free, 0]
        step = torch.zeros(len(free), dtype=torch.float64, device=dual.device)
        step[free] = factored.solve(excess[:, None])[:, 0]
        shift = objective.product(objective.from_free(step))
        unseen = float(objective.loss.spread(shift).max())
        unseen += _hidden_move(objective, factored.inverse(), rounding, free)
        if not unseen < MAX_MOVE:
            return None
        more = _to_be_balanced(objective, residual, dual) | free
        if bool((excess.abs() <= 4 * rounding).all()) and bool((more == free).all()):
            return _DualPoint(residual, 2 * unseen)
        residual = _moved(objective, residual, shift)
        dual = objective.dual(residual)
        more = _to_be_balanced(objective, residual, dual) | free
        if bool((more != free).any()):
            free, factored = more, _factored(objective, residual, more)
    return None


def _to_be_balanced(objective: Objective, residual: Tensor, dual: Tensor) -> Tensor:
    """The free coordinates whose dual has to vanish: those free on both sides, or on the side that their dual is on."""
    low, high = (end.expand_as(dual) for end in objective.dual_range())
    hidden = 8 * _rounding(objective, residual)
    wrong = ((high == 0) & (dual > -hidden)) | ((low == 0) & (dual < hidden))
    free = ((low == 0) & (high == 0)) | wrong
    n_free = objective.basis().shape[1]
    return (free if n_free == free.shape[1] else free[:, :1].expand(-1, n_free)).T.reshape(-1)


def _factored(objective: Objective, residual: Tensor, free: Tensor) -> Factor | None:
    """The Hessian at q on these coordinates, factored; None where it has lost a direction that the rows determine.

    A direction lost to vanishing probabilities, not to collinear columns, is one along which a balance cannot be seen:
    that is no proof. Its measure is the Hessian that gives every row its say, all probabilities being even.
    """
    factored = factor(objective.hessian(residual)[free][:, free])
    if factored.triangular:
        return factored
    even = objective.residual(objective.empty().zero_())
    return factored if factored.rank >= factor(objective.hessian(even)[free][:, free]).rank else None


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
