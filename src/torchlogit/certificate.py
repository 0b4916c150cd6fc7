"""How far F(w) is from its minimum: the Newton dual certificate.

One exact Newton step from w gives, for every row, a probability q_i = p_i + variance_i x_i' delta
that satisfies the optimality conditions of the dual. By weak duality, for any point w~ and any
q in the simplex with u = -X'(s (q - y)) zero on the unpenalised columns,

    F(w~) - min F  <=  sum_i s_i KL(q_i || p~_i)  +  Omega(w~) + Omega*(u) - <w~, u>

(the Fenchel-Young gap of the losses plus that of the penalty; both are sums of terms that are not
negative). Nothing about the step is trusted: q is moved inside the simplex, made to satisfy the
conditions on the unpenalised columns (`_balanced`), u is summed from it in float64, the margins of w~
are computed from w~ as returned, and an allowance for rounding is added. In the code q is carried as
`residual` = q - y, and u is called `dual`; q is *balanced* on a column where u is zero.

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
ROUNDING = 16 * EPS  # error of a float64 sum over blocks, relative to the sum of absolute terms; larger: looser bounds
# Share of the divergence up to which an allowance is bounded roughly; above it, it is summed over the rows. Larger:
# fewer sums, looser bounds.
NEGLIGIBLE = 0.01
# The most parameters with which features without a penalty are balanced, which factors a square matrix of them. Larger:
# bounds for wider problems, whose matrices take more time and memory.
MAX_PARAMETERS = 10_000
MAX_MOVE = 0.5  # log-odds by which balancing may move a dual probability: below 1, so that it stays inside (0, 1)
MAX_REPAIRS = 4  # the most Newton steps for balancing a dual point; where they are not enough, there is no bound


@dataclass(frozen=True, slots=True)
class Bound:
    """F(w~) - min F <= value, in nats; None where the dual point could not be made feasible. `objective` is F(w~)."""

    value: float | None
    objective: float


def newton_dual_bound(objective: Objective, theta: Tensor, dual_residual: Tensor) -> Bound:
    """The bound at theta from the dual point of a Newton step: one pass, or two where features have no penalty.

    Parameters
    ----------
    objective : Objective
        F.
    theta : (p, n_outputs)
        The point to certify, usually the one that the step led to.
    dual_residual : (n, n_outputs)
        q - target, from `Loss.dual_point`. Any other is allowed, and gives a valid bound or none.

    References
    ----------
    Weak duality for generalised linear models: Rockafellar 1970, section 31. The dual point and its use are
    torchlogit's own (docs/certificate.md).
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
    rounding = _rounding(objective, point.residual) + _dual_error(objective, point)
    share = _share_within_range(objective, dual, rounding)
    if share < 1:
        point, dual = _DualPoint(share * point.residual, point.log_odds_error), share * dual
    losses = _losses(objective, raw, point.residual)
    value = losses.value + objective.penalty.value(objective.coef(theta))
    penalty = objective.penalty.fenchel_young(*(objective.coef(part) for part in (theta, dual, rounding)))
    allowance = _margin_rounding(objective, theta, losses) + _divergence_error(objective, raw, losses, point)
    bound = (1 + ROUNDING) * (losses.divergence + ROUNDING * losses.size + penalty + allowance)
    return Bound(bound if math.isfinite(bound) else None, value)


@dataclass(frozen=True, slots=True)
class _DualPoint:
    """A dual point q, as residual = q - target, balanced on the unpenalised columns up to rounding.

    An exactly balanced dual point exists whose log-odds differ from this one's by at most `log_odds_error` in every
    row. The bound is that of the exactly balanced point.
    """

    residual: Tensor
    log_odds_error: float


@dataclass(frozen=True, slots=True)
class _Losses:
    """Weighted sums over the rows, at raw predictions with probabilities p and a dual point q.

    value: the losses. divergence: KL(q || p). size: the absolute terms that the divergence is made of. entropy: of q.
    spread: the largest less the smallest raw prediction of a row (the size of the logit for two classes).
    """

    value: float
    divergence: float
    size: float
    entropy: float
    spread: float


def features_are_free(objective: Objective) -> bool:
    """Whether some coefficient, the intercept aside, may grow without a penalty, so that a minimum may not exist."""
    low, high = (objective.coef(end) for end in objective.dual_range)
    return bool(((low == 0) | (high == 0)).any())


def too_many_free(objective: Objective) -> bool:
    """Whether features are free and the parameters too many for a bound, or for the search for separation."""
    return objective.n_parameters > MAX_PARAMETERS and features_are_free(objective)


def _losses(objective: Objective, raw: Tensor, residual: Tensor) -> _Losses:
    """The sums of `_Losses`.

    KL(q || p) = value(raw, q) + sum q ln q, where value(raw, q) = value(raw, y) - (q - y) raw loses no digits.
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
    """By how much rounding in the margins x_i' theta, whose terms may cancel, can change the divergence.

    An error e_i in a margin changes the row's divergence by at most |p_i - q_i| |e_i| + e_i^2. sqrt(sum s_i e_i^2) is
    at most eps sum_j |theta_j| |x_j|, |x_j| the length of column j; sum s_i |p_i - q_i|^2 is at most twice the
    divergence (Pinsker's inequality).
    """
    # error * error, here and below: Python's ** raises OverflowError where the result is infinite
    error = ROUNDING * float((objective.moments[1].sqrt()[:, None] * theta.abs()).sum())
    return math.sqrt(2 * (losses.divergence + ROUNDING * losses.size)) * error + error * error


def _divergence_error(objective: Objective, raw: Tensor, losses: _Losses, point: _DualPoint) -> float:
    """By how much the divergence of the exactly balanced point may exceed this point's.

    To first order it is the change in log-odds times the derivative of the divergence by the log-odds l of q, which is
    C (l - z), C the variance at q. Its absolute value is at most twice the entropy of q, which bounds C l, plus the
    spread of z. That rough bound is used where it is negligible; elsewhere the derivatives are summed. The
    second-order term is at most log_odds_error^2 for each unit of weight.
    """
    loss, target = objective.loss, objective.target

    def slopes(rows: slice) -> list[Tensor]:
        z, r, y = raw[rows], point.residual[rows], target[rows]
        return [loss.curvature_product(r, y, loss.canonical(r, y) - z).abs_()]

    slope = 2 * losses.entropy + losses.spread
    error = point.log_odds_error
    if error * slope > NEGLIGIBLE * losses.divergence:
        slope = float(objective.total(slopes))
    return error * slope + error * error * objective.total_weight


def _dual_error(objective: Objective, point: _DualPoint) -> Tensor:
    """By how much each entry of the exactly balanced point's dual may differ from this point's: (p, 1)."""

    def squared_variance(rows: slice) -> list[Tensor]:
        q = objective.target[rows] + point.residual[rows]
        return [(q * (1 - q)).square_()]

    size = float(objective.total(squared_variance))
    return point.log_odds_error * math.sqrt(size) * objective.moments[1].sqrt()[:, None]


def _share_within_range(objective: Objective, dual: Tensor, rounding: Tensor) -> float:
    """The largest c <= 1 for which c * dual lies where Omega's conjugate is finite.

    c (q - target) is a dual point too, between the target and q, and is balanced wherever q - target is. Columns whose
    dual has to be zero are left out: they are balanced.
    """
    low, high = objective.dual_range
    low, high, dual = (objective.coef(part) for part in (low, high, dual))
    limit = torch.where(dual > 0, high, -low)
    within = limit - 2 * objective.coef(rounding)
    outside = (within < dual.abs()) & (limit != 0)
    if not bool(outside.any()):
        return 1.0
    return max(0.0, float((within / dual.abs())[outside].min()))


def _raw_and_dual(objective: Objective, theta: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """X theta and -X'(s residual) in one reading of X."""
    raw = objective.empty()

    def term(rows: slice, block: Rows) -> Tensor:
        raw[rows] = block.matmul(theta)
        return block.rmatmul(residual[rows] * objective.weight[rows, None])

    dual = -objective.sum_blocks(term)
    return raw if objective.offset is None else raw.add_(objective.offset), dual


def _rounding(objective: Objective, residual: Tensor) -> Tensor:
    """A bound on the rounding error of -X'(s residual), (p, 1): 16 eps |x_j| |residual|.

    By the Cauchy-Schwarz inequality that is at least 16 eps times the sum of absolute terms.
    """
    squares = objective.moments[1]
    size = float(objective.total(lambda rows: [residual[rows].square()]))
    return (ROUNDING * squares.sqrt() * math.sqrt(size))[:, None]


def _balanced_intercept(objective: Objective, residual: Tensor) -> _DualPoint | None:
    """The dual point whose weighted residuals sum to zero, as an unpenalised intercept requires, or None: no pass."""
    if not objective.design.has_intercept:
        return _DualPoint(residual, 0.0)
    basis, loss, target = objective.basis(), objective.loss, objective.target
    total = float(objective.total(lambda rows: [residual[rows].abs()]))

    for _ in range(MAX_REPAIRS):
        variances = (
            loss.total_variance(residual[rows], target[rows], objective.weight[rows]) for rows in objective.chunks()
        )
        factored = factor(basis.T @ torch.stack(list(variances)).sum(dim=0) @ basis)
        imbalance = objective.total(partial(_by_output, residual)) @ basis
        if float(imbalance.abs().max()) <= ROUNDING * total:
            reach = (basis.abs() @ factored.inverse().abs()).sum(dim=1)
            left = float(imbalance.abs().max()) + ROUNDING * total
            return _DualPoint(residual, 2 * left * float(reach.max()))
        shift = (factored.solve(imbalance[:, None])[:, 0] @ basis.T)[None, :]
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

    Solves G t = dual_U, G the Hessian at q on those columns U, and moves q_i by -variance_i x_i' t. Every probability
    stays strictly inside (0, 1) while |x_i' t| < 1/2. The move that the rounding error of dual_U could require is added
    to |x_i' t|, so that a q whose small entries are only rounding is refused. A column whose coefficient is free on one
    side of zero has to be balanced only where its dual is on the wrong side.
    """
    free = _to_be_balanced(objective, residual, dual)
    factored = _factored(objective, residual, free)
    for _ in range(MAX_REPAIRS):
        if factored is None:
            return None
        imbalance = objective.to_free(dual)[free]
        rounding = _rounding(objective, residual).repeat(objective.n_free, 1)[free, 0]
        step = torch.zeros(len(free), dtype=torch.float64, device=dual.device)
        step[free] = factored.solve(imbalance[:, None])[:, 0]
        shift = objective.product(objective.from_free(step))
        move = float(objective.loss.spread(shift).max())
        move += _move_by_rounding(objective, factored.inverse(), rounding, free)
        if not move < MAX_MOVE:
            return None
        more = _to_be_balanced(objective, residual, dual) | free
        if bool((imbalance.abs() <= 4 * rounding).all()) and bool((more == free).all()):
            return _DualPoint(residual, 2 * move)
        residual = _moved(objective, residual, shift)
        dual = objective.dual(residual)
        more = _to_be_balanced(objective, residual, dual) | free
        if bool((more != free).any()):
            free, factored = more, _factored(objective, residual, more)
    return None


def _to_be_balanced(objective: Objective, residual: Tensor, dual: Tensor) -> Tensor:
    """Booleans for the free coordinates: whether the dual has to be zero there.

    It has to where a coefficient is free on both sides of zero, or on the one side that its dual is on.
    """
    low, high = (end.expand_as(dual) for end in objective.dual_range)
    slack = 8 * _rounding(objective, residual)
    wrong = ((high == 0) & (dual > -slack)) | ((low == 0) & (dual < slack))
    free = ((low == 0) & (high == 0)) | wrong
    n_free = objective.n_free
    return (free if n_free == free.shape[1] else free[:, :1].expand(-1, n_free)).T.reshape(-1)


def _factored(objective: Objective, residual: Tensor, free: Tensor) -> Factor | None:
    """The Hessian at q on these coordinates, factored, or None where its rank is lower than that of the data.

    Rank that is missing because probabilities vanish, not because columns are collinear, belongs to directions along
    which no imbalance can be seen, and then balance proves nothing. The rank of the data is that of the Hessian with
    equal probabilities, in which every row counts.
    """
    factored = factor(objective.hessian(residual)[free][:, free])
    if factored.triangular:
        return factored
    even = objective.residual(objective.empty().zero_())
    return factored if factored.rank >= factor(objective.hessian(even)[free][:, free]).rank else None


def _move_by_rounding(objective: Objective, inverse: Tensor, rounding: Tensor, free: Tensor) -> float:
    """The largest move in log-odds that an imbalance e within `rounding` could require: |x_i|_(1/G) |e|_(1/G)."""
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
