"""Balanced dual points: probabilities q with u = -X'(s (q - y)) equal to a given slope on some coefficients.

Sums are rounded, so u is never exactly balanced. But an exactly balanced point q* exists near q wherever Newton's
method for the balance provably converges. Let G be the Hessian at q on the coefficients U to be balanced, and e the
imbalance there, with all rounding errors added to its size. Phi(t) = sum_i s_i A(l_i + x_i' t) - t'(X's y - slope),
with A the log-partition and l_i the log-odds of q_i, has gradient e and Hessian G at 0, and its third derivative along
v is at most R |v|_G times the second, R = max_i range(x_i' v) / |v|_G. So if

    R sqrt(e' G^-1 e) = move < 1,

Phi has a minimum t*, where the balance is exact, and no row's log-odds differ there by more than -ln(1 - move) (Bach
2010, doi:10.1214/09-EJS521, proposition 2). G is not singular then, which is what the proof of overlap needs. All
rounding terms are derived in docs/decisions/0028.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.objective import CHUNK, Objective
from torchlogit.quadratic import Factor, definite_factor
from torchlogit.records import Relation

UNIT = torch.finfo(torch.float64).eps / 2  # the largest relative error of one operation in float64
# Additions that a term goes through in torch's sum of a chunk of rows, which has four levels of at most 16 terms for
# each of its accumulators; the chunks are added one by one. Larger: looser bounds.
SUM_OPERATIONS = 96
# Factor on allowances, which are computed in float64 themselves, from norms whose own rounding is below 1e-8.
INFLATED = 1 + 1e-6
MAX_MOVE = 0.5  # log-odds by which balancing may move a dual probability: below 1, so that it stays inside (0, 1)
MAX_REPAIRS = 6  # the most Newton steps for balancing a dual point; where they are not enough, there is no bound
BALANCED = 4  # an imbalance of at most this many times its rounding error counts as none; larger: fewer steps
# A row may be left as it is by balancing where its statistical leverage is at most this share of a row's. Larger: more
# rows are, and the leverage of the others is bounded more roughly.
UNMOVED = 0.25
# Share of the bound asked for up to which the squared distance of the exactly balanced point may come from a rough
# bound on rounding errors. Smaller: the sums of absolute terms are computed more often, for half a pass.
ROUGH = 0.01

Relations = Callable[[], tuple[Relation, ...]]
Demand = Callable[[Tensor, Tensor], Tensor]  # of the residual and the dual: booleans (p, n_outputs), what to balance


@dataclass(frozen=True, slots=True)
class DualPoint:
    """A dual point q, as residual = q - target, balanced up to rounding.

    An exactly balanced dual point exists whose log-odds differ from this one's by d_i, at most `log_odds_error` in
    every row, with sum s_i d_i' C_i d_i at most `distance` squared, C_i the variance at this point. The bound is that
    of the exactly balanced point.

    balanced (p, n_outputs) or None: booleans, the coefficients with a penalty where it is equal to `slope`, the
    penalty's.
    """

    residual: Tensor
    log_odds_error: float
    distance: float
    balanced: Tensor | None = None
    slope: Tensor | None = None


def variances(residual: Tensor, target: Tensor) -> Tensor:
    """q_k (1 - q_k) of every class, (n, n_outputs), without cancellation where q_k is nearly certain."""
    return (target + residual) * ((1 - target) - residual)


def rounding_of_terms(objective: Objective, residual: Tensor) -> Tensor:
    """`rounding_of_dual` from the sums of absolute terms themselves, for half a pass.

    It is smaller where a column is large only in rows with small residuals.
    """
    n, outputs = objective.target.shape

    def absolute(rows: slice, block: Rows) -> Tensor:
        return block.absolute().rmatmul(residual[rows].abs() * objective.weight[rows, None])

    size = objective.sum_blocks(absolute).square().sum(dim=1, keepdim=True).sqrt()
    return INFLATED * UNIT * ((n + outputs + 8) * size + _soft_rounding(objective))


def _soft_rounding(objective: Objective) -> Tensor:
    """A bound on sum s_i |x_ij| over the rows of several classes whose target is no label, times 2 (K + 1), (p, 1).

    The residuals of such a row sum to zero only up to that number of units.
    """
    outputs = objective.loss.n_outputs
    weight = 2 * (outputs + 1) * math.sqrt(objective.soft_weight) if outputs > 1 else 0.0
    return weight * objective.moments[1].sqrt()[:, None]


def rounding_of_dual(objective: Objective, residual: Tensor) -> Tensor:
    """A bound on the rounding error of -X'(s residual), (p, 1).

    It is n + K + 8 units times |x_j| |residual|, which is at least the sum of absolute terms (Cauchy-Schwarz).
    """
    n, outputs = objective.target.shape
    size = math.sqrt(float(objective.total(lambda rows: [residual[rows].square()])))
    lengths = objective.moments[1].sqrt()[:, None]
    return INFLATED * UNIT * ((n + outputs + 8) * size * lengths + _soft_rounding(objective))


def balanced_intercept(objective: Objective, residual: Tensor) -> DualPoint | None:
    """The dual point whose weighted residuals sum to zero, as an unpenalised intercept requires, or None: no pass.

    The residual is moved inside the simplex first.
    """
    residual = objective.each(lambda rows: objective.loss.inside(residual[rows], objective.target[rows]))
    if not objective.design.has_intercept:
        return DualPoint(residual, 0.0, 0.0)
    loss, target = objective.loss, objective.target
    basis = loss.basis().to(target)
    n, outputs = target.shape
    size = float(objective.total(lambda rows: [residual[rows].abs()]))
    additions = SUM_OPERATIONS + (n * outputs) // CHUNK
    rounding = INFLATED * UNIT * (additions + 2 * outputs) * size
    rounding += INFLATED * UNIT * 2 * (outputs + 1) * objective.soft_weight if outputs > 1 else 0.0
    for _ in range(MAX_REPAIRS):
        variances = (
            loss.total_variance(residual[rows], target[rows], objective.weight[rows]) for rows in objective.chunks()
        )
        factored = definite_factor(basis.T @ torch.stack(list(variances)).sum(dim=0) @ basis)
        if factored is None:
            return None
        imbalance = objective.total(partial(_by_output, residual)) @ basis
        if float(imbalance.abs().max()) <= BALANCED * rounding:
            inverse = factored.inverse()
            left = imbalance.abs() + rounding
            trust = _trust(factored, inverse, additions)
            if trust == 0:
                return None
            distance = INFLATED * math.sqrt(float(left @ inverse.abs() @ left) / trust)
            move = distance * math.sqrt(2 * float(inverse.trace()) / trust)
            return _certain(residual, move, distance) if move < MAX_MOVE else None
        shift = (factored.solve(imbalance[:, None])[:, 0] @ basis.T)[None, :]
        if not float(loss.spread(shift).max()) < MAX_MOVE:
            return None
        residual = _moved(objective, residual, -shift.expand_as(residual))
    return None


def _certain(residual: Tensor, move: float, distance: float) -> DualPoint:
    """The dual point, with the exactly balanced one as near as Newton's method for the balance proves it to be."""
    return DualPoint(residual, -math.log1p(-move), distance / (1 - move))


def _by_output(values: Tensor, rows: slice) -> tuple[Tensor, ...]:
    return values[rows].unbind(dim=1)


def _moved(objective: Objective, residual: Tensor, shift: Tensor) -> Tensor:
    """The dual point whose log-odds have moved by `shift`, to first order."""
    loss, target = objective.loss, objective.target
    return objective.each(
        lambda rows: loss.inside(
            residual[rows] + loss.curvature_product(residual[rows], target[rows], shift[rows]), target[rows]
        )
    )


def balanced(
    objective: Objective,
    residual: Tensor,
    dual: Tensor,
    demand: Demand,
    slope: Tensor,
    equal: EqualColumns,
    enough: float,
) -> tuple[DualPoint, Tensor] | None:
    """The dual point balanced on the coefficients that `demand` asks for, and its dual; None where there is none.

    Parameters
    ----------
    objective : Objective
        F.
    residual, dual : (n, n_outputs), (p, n_outputs)
        The dual point to begin with, and its dual.
    demand : callable
        Returns the coefficients to balance, from a residual and its dual. What it asks for once stays balanced.
    slope : (p, n_outputs)
        What the dual has to be equal to there.
    equal : EqualColumns
        Columns that are combinations of others, which are balanced along with those.
    enough : float
        The bound that is asked for, in nats. Rounding errors that are small compared with it are bounded roughly.
    """
    rounding_of, negligible = rounding_of_dual, math.sqrt(ROUGH * enough)
    demanded, mask, factored, trust = torch.zeros_like(dual, dtype=torch.bool), torch.empty(0), None, 1.0
    for _ in range(MAX_REPAIRS):
        more = demand(residual, dual) & ~demanded
        if factored is None or bool(more.any()):
            demanded, trust = demanded | more, 1.0
            mask, factored = _factored(objective, residual, _coordinates(objective, demanded), equal)
        if factored is None:
            return None
        imbalance = objective.to_free(dual - slope)[mask]
        rounding = _in_coordinates(objective, rounding_of(objective, residual))[mask]
        rounding = rounding + (objective.loss.n_outputs + 2) * UNIT * (imbalance.abs() + _sizes(objective, slope)[mask])
        if bool((imbalance.abs() <= BALANCED * rounding).all()):
            move, distance = _largest_move(objective, residual, factored, mask, imbalance.abs() + rounding, trust)
            if rounding_of is rounding_of_terms or (move < MAX_MOVE and distance <= negligible):
                return (_certain(residual, move, distance), dual) if move < MAX_MOVE else None
            rounding_of = rounding_of_terms
            continue
        step = torch.zeros(len(mask), dtype=torch.float64, device=dual.device)
        step[mask] = factored.solve(imbalance[:, None])[:, 0]
        shift = objective.product(objective.from_free(step))
        move = float(objective.loss.spread(shift).max())
        if not move < MAX_MOVE:
            return None
        residual, trust = _moved(objective, residual, shift), (1 - move) * trust
        dual = objective.dual(residual)
    return None


class EqualColumns:
    """The columns that are combinations of others: their coefficients are balanced where those of the others are.

    provider: returns the relations; it is called once, where a Hessian is singular. assumed: the relations used that
    hold only up to rounding.
    """

    def __init__(self, objective: Objective, provider: Relations) -> None:
        self._provider, self._n_features = provider, objective.n_features
        self._relations: tuple[Relation, ...] | None = None
        conditioning = objective.conditioning
        rounded = () if conditioning is None else conditioning.rounded
        self.assumed = tuple(
            Relation(j, ((self._n_features, float(conditioning.center[j])),), exact=False)
            for j in rounded
            if conditioning is not None
        )

    def without(self, mask: Tensor, p: int) -> Tensor:
        """The mask (n_free p,) without the coordinates of columns that are combinations of others."""
        if self._relations is None:
            self._relations = self._provider()
            known = {relation.column for relation in self.assumed}
            self.assumed += tuple(r for r in self._relations if not r.exact and r.column not in known)
        kept = torch.ones(p, dtype=torch.bool, device=mask.device)
        kept[[relation.column for relation in self._relations]] = False
        return mask & kept.repeat(len(mask) // p)


def _coordinates(objective: Objective, demanded: Tensor) -> Tensor:
    """Booleans for the free coordinates (n_free p,), of these coefficients (p, n_outputs).

    Where the coordinates are the coefficients of several classes, the dual of a column sums to zero over them, so the
    last of a column with all of them is balanced where the others are.
    """
    n_free = objective.n_free
    if n_free < demanded.shape[1]:
        demanded = demanded.any(dim=1, keepdim=True).expand(-1, n_free)
    elif n_free > 1:
        demanded = demanded.clone()
        demanded[demanded.all(dim=1), -1] = False
    return demanded.T.reshape(-1)


def _in_coordinates(objective: Objective, by_column: Tensor) -> Tensor:
    """Bounds (p, 1) on the length of a row of theta, as bounds on its free coordinates, (n_free p,)."""
    return by_column.repeat(objective.n_free, 1)[:, 0]


def _sizes(objective: Objective, theta: Tensor) -> Tensor:
    """The length of the row of theta that each free coordinate belongs to, (n_free p,)."""
    return _in_coordinates(objective, theta.square().sum(dim=1, keepdim=True).sqrt())


def _factored(
    objective: Objective, residual: Tensor, mask: Tensor, equal: EqualColumns
) -> tuple[Tensor, Factor | None]:
    """The Hessian of the losses at q on these coordinates, factored, without those of columns that depend on others.

    The factor is None where the Hessian is singular for another reason: because probabilities vanish along some
    direction, where no imbalance can be seen, and balance proves nothing.
    """
    hessian = objective.hessian_of_losses(residual)
    factored = definite_factor(hessian[mask][:, mask])
    if factored is None:
        mask = equal.without(mask, objective.design.shape[1])
        factored = definite_factor(hessian[mask][:, mask])
    return mask, factored


def _trust(factored: Factor, inverse: Tensor, operations: int) -> float:
    """The share of the computed Hessian that the exact one is certainly as large as, or 0.

    Each entry of the Hessian, scaled to a unit diagonal, has an error of at most this number of operations, and its
    Cholesky factor has some for each coordinate. An error E in a matrix C is at most |E| |C^-1| times C.
    """
    size = len(factored.scale)
    unit = inverse * factored.scale[:, None] * factored.scale
    share = INFLATED * (operations + 4 * size + 64) * UNIT * size * float(unit.square().sum().sqrt())
    return 1 - share if share < 0.5 else 0.0


def _largest_move(
    objective: Objective, residual: Tensor, factored: Factor, mask: Tensor, imbalance: Tensor, trust: float
) -> tuple[float, float]:
    """R |imbalance|_(1/G), see the module, and |imbalance|_(1/G); infinite where G is too close to singular.

    range(x_i' v) is at most sqrt(2 h_i) |v|_G, where h_i sums x_i' G^-1 x_i over the outputs. A row whose probabilities
    are nearly certain may have a huge h_i, and no part in G: its leverage s_i variance_i h_i is tiny. Such rows are
    left as they are, if R is smaller then: G becomes smaller by at most the sum of their leverages.

    trust: the share of G that is left where G was computed at another point.
    """
    inverse, p = factored.inverse(), objective.design.shape[1]
    trust *= _trust(factored, inverse, len(objective.target) + 16)
    if trust <= 0:
        return math.inf, math.inf
    full = torch.zeros(len(mask), len(mask), dtype=inverse.dtype, device=inverse.device)
    full[torch.outer(mask, mask)] = inverse.reshape(-1)
    n_free = len(mask) // p
    blocks = full.reshape(n_free, p, n_free, p).diagonal(dim1=0, dim2=2)
    trace = blocks.sum(dim=2)
    rounding = 2 * (p + 2) * UNIT * p * n_free * blocks.abs().amax(dim=2).diagonal()
    matrix = trace + torch.diag(rounding)
    n = len(objective.target)
    moved, every, unmoved = 0.0, 0.0, 0.0
    for rows, block in objective.design.blocks():
        h = block.quadratic(matrix).clamp_(min=0)
        leverage = objective.weight[rows] * variances(residual[rows], objective.target[rows]).sum(dim=1) * h
        stays = leverage <= UNMOVED / n * trust
        every, unmoved = max(every, float(h.max())), unmoved + float(leverage[stays].sum())
        moved = max(moved, float(h[~stays].max()) if not bool(stays.all()) else 0.0)
    distance = INFLATED * math.sqrt(float(imbalance @ inverse.abs() @ imbalance) / trust)
    left = 1 - unmoved / trust  # the share of G that is left without the rows that stay
    with_all, with_some = distance * math.sqrt(2 * every / trust), distance * math.sqrt(2 * moved / trust) / left
    return (with_all, distance) if with_all <= with_some else (with_some, distance / math.sqrt(left))
