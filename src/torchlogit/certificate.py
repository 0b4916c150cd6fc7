"""How far F(w) is from its minimum: the Newton dual certificate.

One exact Newton step from w gives, for every row, a probability q_i = p_i + variance_i x_i' delta
that satisfies the optimality conditions of the dual. By weak duality, for any point w~ and any
q in the simplex with u = -X'(s (q - y)) zero on the unpenalised columns,

    F(w~) - min F  <=  sum_i s_i KL(q_i || p~_i)  +  Omega(w~) + Omega*(u) - <w~, u>

(the Fenchel-Young gap of the losses plus that of the penalty; both are sums of terms that are not
negative). Nothing about the step is trusted: q is moved inside the simplex and made to satisfy the
conditions (balancing.py), u is summed from it in float64, and the margins of w~ are computed from w~ as
returned. In the code q is carried as `residual` = q - y, and u is called `dual`; q is *balanced* on a
coefficient where u is equal to a target, which is zero for one without a penalty.

Every sum is rounded, so u is never balanced exactly. But an exactly balanced q* exists near q wherever
Newton's method for the balance provably converges, and the bound is that of q*. The same serves coefficients
with a weak penalty, whose own term would magnify rounding by 1 / l2: q is balanced to Omega's slope at w~
there, and the term vanishes. All rounding terms are derived in docs/decisions/0028.

With no penalty, an exactly balanced q* whose Hessian is not singular is itself a proof that a finite
minimum exists: such weights exist if and only if no direction separates the classes (Stiemke 1915).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from torchlogit.balancing import (
    INFLATED,
    SUM_OPERATIONS,
    UNIT,
    DualPoint,
    EqualColumns,
    Relations,
    balanced,
    balanced_intercept,
    rounding_of_dual,
)
from torchlogit.collinear import COLLINEAR, relations
from torchlogit.design import Rows
from torchlogit.losses import is_soft
from torchlogit.objective import CHUNK, Objective
from torchlogit.records import Relation

# Operations behind a term of a row's divergence, its functions included, to which those over the classes are added;
# torch's exp, log and log1p are right to one unit in the last place. Larger: looser bounds.
ROW_OPERATIONS = 16
# Share of the divergence up to which an allowance is bounded roughly; above it, it is summed over the rows. Larger:
# fewer sums, looser bounds.
NEGLIGIBLE = 0.01
# The most parameters with which features without a penalty are balanced, which factors a square matrix of them. Larger:
# bounds for wider problems, whose matrices take more time and memory.
MAX_PARAMETERS = 10_000
MAX_WEAK = 2500  # the most parameters with which weakly penalised ones are balanced too, for the same reason
# Shares of the penalty's mean gap above which a coefficient counts as weakly penalised, tried in turn. Smaller: more
# coefficients are balanced, whose Hessian may be singular.
WEAK_SHARES = (1e-6, 0.1)


@dataclass(frozen=True, slots=True)
class Bound:
    """F(w~) - min F <= value, in nats; None where the dual point could not be made feasible.

    objective: F(w~). collinear: the relations among columns that the bound takes as exact though they hold only up to
    rounding.
    """

    value: float | None
    objective: float
    collinear: tuple[Relation, ...] = ()


def newton_dual_bound(
    objective: Objective,
    theta: Tensor,
    dual_residual: Tensor,
    *,
    enough: float = 0.0,
    collinear: Relations | None = None,
) -> Bound:
    """The bound at theta from the dual point of a Newton step: one pass, and more where coefficients are balanced.

    Parameters
    ----------
    objective : Objective
        F.
    theta : (p, n_outputs)
        The point to certify, usually the one that the step led to.
    dual_residual : (n, n_outputs)
        q - target, from `Loss.dual_point`. Any other is allowed, and gives a valid bound or none.
    enough : float
        A bound, in nats, that need not become smaller at the cost of further passes; 0 for the smallest one.
    collinear : callable, optional
        Returns the relations among the columns without a penalty; by default `relations`. It is called where their
        Hessian is singular.

    References
    ----------
    Weak duality for generalised linear models: Rockafellar 1970, section 31. The dual point and its use are
    torchlogit's own (docs/certificate.md).
    """
    point = balanced_intercept(objective, dual_residual)
    raw, dual = _raw_and_dual(objective, theta, dual_residual if point is None else point.residual)
    value = objective.value(theta, raw)
    free = features_are_free(objective)
    if not math.isfinite(value) or (free and (point is None or too_many_free(objective))):
        return Bound(None, value)
    gap = _Gap(objective, theta, raw, value)
    if point is None:
        return Bound(gap.trivial(), value)
    equal = EqualColumns(objective, collinear or partial(relations, objective))
    if free:
        zero, demand = torch.zeros_like(theta), partial(_unpenalised, objective)
        found = balanced(objective, point.residual, dual, demand, zero, equal, enough)
        if found is None:
            return Bound(None, value)
        point, dual = found
        gap.equal_columns = _taken_as_equal(objective, theta, equal.assumed)
    of_losses, of_penalty = gap.parts(point, dual)
    bound = of_losses + of_penalty
    # The penalty's part spoils a bound whose other part is as small as is asked for.
    if objective.n_parameters <= MAX_WEAK and of_losses < of_penalty and (enough == 0 or of_losses <= enough):
        for share in WEAK_SHARES:
            if not bound <= enough:
                bound = min(bound, _with_weak_balanced(gap, point, dual, equal, share, enough))
    bound = min(bound, gap.trivial())
    return Bound(bound if math.isfinite(bound) else None, value, equal.assumed)


def value_rounding(objective: Objective, theta: Tensor, value: float) -> float:
    """A bound on the rounding error of F(theta), which was computed as `value`."""
    n, outputs = objective.target.shape
    operations = SUM_OPERATIONS + ROW_OPERATIONS + outputs + (n * outputs) // CHUNK
    margins = math.sqrt(2 * objective.total_weight) * _margin_rounding(objective, theta)
    return INFLATED * (operations * UNIT * abs(value) + margins)


def features_are_free(objective: Objective) -> bool:
    """Whether some coefficient, the intercept aside, may grow without a penalty, so that a minimum may not exist."""
    low, high = (objective.coef(end) for end in objective.dual_range)
    return bool(((low == 0) | (high == 0)).any())


def too_many_free(objective: Objective) -> bool:
    """Whether features are free and the parameters too many for a bound, or for the search for separation."""
    return objective.n_parameters > MAX_PARAMETERS and features_are_free(objective)


def _raw_and_dual(objective: Objective, theta: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """X theta + offset and -X'(s residual) in one reading of X."""
    raw = objective.empty()

    def term(rows: slice, block: Rows) -> Tensor:
        raw[rows] = block.matmul(theta)
        return block.rmatmul(residual[rows] * objective.weight[rows, None])

    dual = -objective.sum_blocks(term)
    return raw if objective.offset is None else raw.add_(objective.offset), dual


# -- the gap of a dual point ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Losses:
    """Weighted sums over the rows, at raw predictions with probabilities p and a dual point q.

    divergence: KL(q || p). size: the absolute terms that the divergence is made of. entropy: of q. spread: the largest
    less the smallest raw prediction of a row (the size of the logit for two classes). soft: the same and that of q's
    log-odds, over the rows whose target is no label.
    """

    divergence: float
    size: float
    entropy: float
    spread: float
    soft: float


class _Gap:
    """The duality gap between a point theta, with its raw prediction and F, and dual points."""

    def __init__(self, objective: Objective, theta: Tensor, raw: Tensor, value: float) -> None:
        self.objective, self.theta, self.raw, self.value = objective, theta, raw, value
        n, outputs = objective.target.shape
        self.row_rounding = (ROW_OPERATIONS + outputs) * UNIT
        self.sum_rounding = INFLATED * (SUM_OPERATIONS + (n * outputs) // CHUNK) * UNIT
        self.margin_rounding = _margin_rounding(objective, theta)
        self.equal_columns = 0.0  # see `_taken_as_equal`

    def parts(self, point: DualPoint, dual: Tensor) -> tuple[float, float]:
        """The losses' and the penalty's parts of the gap, with all allowances for rounding.

        Their sum is a bound; it is infinite or NaN where there is none.
        """
        uncertainty = self._uncertainty(point)
        share = 1.0 if point.balanced is not None else self._share_within_range(dual, uncertainty)
        if share < 1:
            point, dual = replace(point, residual=share * point.residual), share * dual
        losses = self._losses(point.residual)
        rounding = self.row_rounding * losses.size + 4 * self.raw.shape[1] * UNIT * losses.soft
        # By how much rounding in the margins x_i' theta, whose terms may cancel, can change the divergence: an error
        # e_i in a margin changes the row's by at most |p_i - q_i| |e_i| + e_i^2 / 4, and sum s_i |p_i - q_i|^2 is at
        # most twice the divergence (Pinsker's inequality).
        error = self.margin_rounding
        margins = math.sqrt(2 * (losses.divergence + rounding)) * error + 0.25 * error * error
        if (error := self.equal_columns) > 0:  # F changes by sum s_i (p_i - y_i) e_i to first order
            squares = float(self.objective.total(lambda rows: [point.residual[rows].square()]))
            slope = math.sqrt(squares) + math.sqrt(2 * (losses.divergence + rounding))
            margins += slope * error + 0.25 * error * error
        allowance = INFLATED * (rounding + margins + self._balance_error(losses, point))
        of_penalty = float(self.penalties(point, dual, uncertainty).sum())
        return (1 + self.sum_rounding) * (losses.divergence + allowance), (1 + self.sum_rounding) * of_penalty

    def trivial(self) -> float:
        """F and its rounding: a bound, since no loss is negative."""
        return self.value + value_rounding(self.objective, self.theta, self.value)

    def penalties(self, point: DualPoint, dual: Tensor, uncertainty: Tensor | None = None) -> Tensor:
        """Each coefficient's part of the penalty's gap, (n_features, n_outputs)."""
        objective = self.objective
        error = self._uncertainty(point) if uncertainty is None else uncertainty
        if point.balanced is not None and point.slope is not None:
            dual = torch.where(point.balanced, point.slope, dual)
            error = torch.where(point.balanced, 0.0, error.expand_as(dual))
        return objective.penalty.fenchel_young_parts(*(objective.coef(part) for part in (self.theta, dual, error)))

    def _losses(self, residual: Tensor) -> _Losses:
        """The sums of `_Losses`.

        KL(q || p) = value(raw, q) + sum q ln q, where value(raw, q) = value(raw, y) - (q - y) raw loses no digits.
        """
        objective, loss = self.objective, self.objective.loss

        def terms(rows: slice) -> list[Tensor]:
            z, r, y = self.raw[rows], residual[rows], objective.target[rows]
            value, tilt, entropy = loss.value(z, y), r * z, loss.negative_entropy(r, y)
            divergence = (value - tilt.sum(dim=1) + entropy).clamp(min=0)
            size = value + tilt.abs().sum(dim=1) + entropy.abs() + r.abs().sum(dim=1)
            return [divergence, size, entropy.abs(), loss.spread(z)]

        soft = 0.0
        if objective.soft_weight > 0:

            def spreads(rows: slice) -> list[Tensor]:
                z, r, y = self.raw[rows], residual[rows], objective.target[rows]
                return [torch.where(is_soft(y), 1 + loss.spread(z) + loss.spread(loss.canonical(r, y)), 0.0)]

            soft = float(objective.total(spreads))
        divergence, size, entropy, spread = objective.total(terms).tolist()
        return _Losses(divergence, size, entropy, spread, soft)

    def _balance_error(self, losses: _Losses, point: DualPoint) -> float:
        """By how much the divergence of the exactly balanced point q* may exceed this point's.

        KL(q* || p) = KL(q || p) + KL(q* || q) + <q* - q, l - z>, l the log-odds of q. Let d be the largest difference
        of log-odds, C the variance at q. Variances between q and q* are at most e^d C, so sum KL(q* || q) is at most
        e^d / 2 times the squared distance, and the last term at most e^d times the distance times the root of
        sum s (l - z)' C (l - z); also at most (e^d - 1) sum s |C (l - z)|, and |C (l - z)| at most twice the entropy of
        q plus the spread of z. That rough bound is used where it is negligible; elsewhere the terms are summed.
        """
        objective, loss = self.objective, self.objective.loss

        def slopes(rows: slice) -> list[Tensor]:
            z, r, y = self.raw[rows], point.residual[rows], objective.target[rows]
            away = loss.canonical(r, y) - z
            curved = loss.curvature_product(r, y, away)
            return [curved.abs(), (curved * away).clamp_(min=0)]

        growth, error = math.exp(point.log_odds_error), math.expm1(point.log_odds_error)
        first = error * (2 * losses.entropy + losses.spread)
        if first > NEGLIGIBLE * losses.divergence:
            slope, square = objective.total(slopes).tolist()
            size = math.sqrt(2 * objective.total_weight)
            rough = error * (slope + size * self.margin_rounding + self.row_rounding * losses.size)
            length = math.sqrt(square + self.row_rounding * losses.size) + self.margin_rounding
            first = min(rough, growth * point.distance * length)
        return first + 0.5 * growth * point.distance**2

    def _uncertainty(self, point: DualPoint) -> Tensor:
        """By how much each entry of the exactly balanced point's dual may differ from the dual as computed: (p, 1).

        To the rounding of the dual, sum s |x_ij| |q* - q| is added, which is at most |x_j| times half of e^d times the
        distance (see `_balance_error`; a variance is at most 1/4).
        """
        moved = INFLATED * 0.5 * math.exp(point.log_odds_error) * point.distance
        return rounding_of_dual(self.objective, point.residual) + moved * self.objective.moments[1].sqrt()[:, None]

    def _share_within_range(self, dual: Tensor, uncertainty: Tensor) -> float:
        """The largest c <= 1 for which c * dual lies where Omega's conjugate is finite.

        c (q - target) is a dual point too, between the target and q, and is balanced wherever q - target is. Columns
        whose dual has to be zero are left out: they are balanced.
        """
        objective = self.objective
        low, high = objective.dual_range
        low, high, dual = (objective.coef(part) for part in (low, high, dual))
        limit = torch.where(dual > 0, high, -low)
        within = limit - 2 * objective.coef(uncertainty)
        outside = (within < dual.abs()) & (limit != 0)
        if not bool(outside.any()):
            return 1.0
        return max(0.0, float((within / dual.abs())[outside].min()))


def _margin_rounding(objective: Objective, theta: Tensor) -> float:
    """A bound on sqrt(sum s_i e_i^2), e_i the rounding error of the raw prediction x_i' theta + o_i.

    e_i is at most (p + 4) units times sum_j |x_ij theta_j| + |o_i|, the rounding of conditioned columns and intercepts
    included.
    """
    size = float((objective.moments[1].sqrt()[:, None] * theta.abs()).sum())
    if (offset := objective.offset) is not None:
        size += math.sqrt(float(objective.total(lambda rows: [offset[rows].square()])))
    return INFLATED * (objective.design.shape[1] + 4) * UNIT * size


def _taken_as_equal(objective: Objective, theta: Tensor, assumed: tuple[Relation, ...]) -> float:
    """A bound on sqrt(sum s_i e_i^2), e_i the change of x_i' theta where columns are replaced by their combinations.

    The minimum is that of F with the columns replaced, and F(w~) is that of X as given.
    """
    if not assumed:
        return 0.0
    root = math.sqrt(objective.total_weight)
    lengths, coef = objective.coef(objective.moments[1].sqrt()[:, None])[:, 0], objective.coef(theta).abs().sum(dim=1)
    if (moved := objective.conditioning) is not None:
        center, scale = (torch.from_numpy(part).to(lengths) for part in (moved.center, moved.scale))
        lengths = torch.where(scale > 0, lengths / scale, 0.0) + root * center.abs()
        coef = coef * scale
    sizes = [*lengths.tolist(), root]
    terms = (
        float(coef[r.column]) * (sizes[r.column] + sum(abs(factor) * sizes[j] for j, factor in r.others))
        for r in assumed
    )
    return INFLATED * COLLINEAR * math.fsum(terms)


# -- what is balanced -----------------------------------------------------------------------------


def _unpenalised(objective: Objective, residual: Tensor, dual: Tensor) -> Tensor:
    """Booleans (p, n_outputs): the coefficients where the dual has to be zero.

    It has to where a coefficient is free on both sides of zero, or on the one side that its dual is on.
    """
    low, high = (end.expand_as(dual) for end in objective.dual_range)
    slack = 8 * rounding_of_dual(objective, residual)
    wrong = ((high == 0) & (dual > -slack)) | ((low == 0) & (dual < slack))
    return ((low == 0) & (high == 0)) | wrong


def _with_weak_balanced(
    gap: _Gap, point: DualPoint, dual: Tensor, equal: EqualColumns, share: float, enough: float
) -> float:
    """The bound of a dual point that is also balanced on weakly penalised coefficients; infinite where there is none.

    A coefficient's part of the gap is (u - slope)^2 / (2 l2), which magnifies every inexactness of u where l2 is small
    for the column. Those whose part is more than this share of the mean part are balanced to the penalty's slope.
    """
    objective = gap.objective
    parts, slope = gap.penalties(point, dual), objective.penalty.slope(objective.coef(gap.theta))
    weak = (parts > share * parts.mean()) & slope.isfinite()
    if objective.n_free < weak.shape[1]:
        weak = weak.any(dim=1, keepdim=True).expand_as(weak)
    if not 0 < int(weak.sum()) <= objective.target.numel():
        return math.inf  # none, or more than a Hessian of so few rows can determine
    pad = objective.design.shape[1] - objective.n_features
    weak = torch.nn.functional.pad(weak, (0, 0, 0, pad))
    slope = torch.nn.functional.pad(torch.where(weak[: len(slope)], slope, 0.0), (0, 0, 0, pad))
    slope = objective.visible(slope) if objective.penalty.smooth else slope
    demand = lambda residual, dual: weak | _unpenalised(objective, residual, dual)  # noqa: E731
    found = balanced(objective, point.residual, dual, demand, slope, equal, enough)
    if found is None:
        return math.inf
    point, dual = found
    last = weak.all(dim=1) if not objective.penalty.smooth and weak.shape[1] > 1 else torch.zeros_like(weak[:, 0])
    exact = weak.clone()
    exact[last, -1] = False
    return sum(gap.parts(replace(point, balanced=exact, slope=slope), dual))
