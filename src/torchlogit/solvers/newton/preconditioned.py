"""Newton's equation by an estimate of the Hessian: directly, or by conjugate gradients that the estimate preconditions.

Conjugate gradients multiply by the Hessian of all rows, one pass a product, and need no matrix. The number of products
depends on the preconditioner. This module decides how exactly they solve: roughly for a direction, and for a dual point
as exactly as the bound requires.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import Accept, conjugate_gradients
from torchlogit.records import Snapshot
from torchlogit.solvers.newton.curvature import HessianEstimate, Inverse
from torchlogit.solvers.newton.models import exact_step
from torchlogit.solvers.newton.step import Iterate, NewtonStep, newton_step

# The *energy* of a remainder r of H step = -gradient is r' H^-1 r, as a share of its value for a step of zero, with the
# preconditioner in place of H^-1. It is about twice the part of the model's decrease that the step still misses. The
# values below are those of docs/decisions/0009 and 0012.
LOOSE = 0.1  # the largest share of the energy that a step may leave; larger: cheaper and poorer steps
TIGHT = 0.01  # the smallest share that is asked for, of the energy or of the predicted decrease; smaller: more products
VANISHED = 1e-20  # the share that may be left where a column has no penalty: there a remainder makes the gap infinite

FRESH_REACH = 1.0  # log-odds that rows may move before a preconditioner is renewed; larger: renewed less often
FEW_PRODUCTS = 6  # products of the last solve up to which a preconditioner is kept however far rows have moved
MANY_PRODUCTS = 10  # products of a solve above which the costlier estimate takes over; larger: later
MAX_PRODUCTS = 60  # products of one solve, at most; larger: steps that are better solved and may take longer


@dataclass
class _Memory:
    """What a preconditioned model keeps from step to step. The names of the fields are keys of snapshots.

    dear: whether the costlier estimate has taken over. taken: what the estimate in use measured. moved: log-odds that
    rows may have moved since. products: of the last solve. loose: the share of the energy that the next inexact solve
    may leave. promise: the last predicted decrease.
    """

    dear: bool = False
    taken: Snapshot | None = None
    moved: float = 0.0
    products: int = 0
    loose: float = LOOSE
    promise: float = math.inf


class Preconditioned:
    """Steps by an estimate of the Hessian, under a smooth penalty.

    Parameters
    ----------
    estimate : HessianEstimate
        The estimate of the Hessian.
    direct : bool
        Whether the estimate is good enough to be solved in place of the Hessian, in steps that need not be exact.
        Otherwise it preconditions conjugate gradients on all rows.
    max_dense : int
        The number of parameters up to which the Hessian of all rows is formed for exact steps where a column has no
        penalty: a dual point then takes a solution to the last digits.
    costlier : HessianEstimate, optional
        An estimate that replaces the first once a solve has taken more than MANY_PRODUCTS products.
    seed : int
        Seed of the random numbers that `estimate` draws.
    """

    def __init__(
        self,
        estimate: HessianEstimate,
        direct: bool,
        max_dense: int,
        costlier: HessianEstimate | None = None,
        seed: int = 0,
    ) -> None:
        self.estimate, self.direct, self.max_dense, self.costlier = estimate, direct, max_dense, costlier
        self._generator = torch.Generator().manual_seed(seed)
        self._memory = _Memory()
        self._inverse: Inverse | None = None  # of the estimate in use, computed from what it measured
        self._last: Iterate | None = None  # the iterate of the last step; an exact step from it may follow
        self._solution: Tensor | None = None  # of the last solve at that iterate

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The estimate's own step, or a step of conjugate gradients on all rows."""
        if exact and not _penalised(objective) and objective.n_parameters <= self.max_dense:
            return exact_step(objective, iterate)
        direct = self.direct and not exact
        inverse, passes = self._current_inverse(objective, iterate, renew=direct)
        if direct:
            self._last, self._solution = iterate, None
            return newton_step(iterate, inverse(-iterate.gradient), passes, exact=False)
        return self._solved(objective, iterate, inverse, passes, exact)

    def after_step(self, reach: float) -> None:
        """Add up how far rows have moved since the estimate was measured."""
        self._memory.moved += reach

    def snapshot(self) -> Snapshot:
        """The memory, and the state of the random numbers."""
        return {**vars(self._memory), "draw": self._generator.get_state()}

    def restore(self, objective: Objective, snapshot: Snapshot) -> None:
        """Continue from a snapshot; the inverse is computed again from what was measured."""
        memory = dict(snapshot)
        self._generator.set_state(memory.pop("draw").cpu())
        self._memory = _Memory(**memory)
        if self._memory.taken is not None:
            self._inverse = self._estimate_in_use().inverse(objective, self._memory.taken)

    def _solved(
        self, objective: Objective, iterate: Iterate, inverse: Inverse, passes: float, exact: bool
    ) -> NewtonStep:
        """The step of preconditioned conjugate gradients. passes: those spent on the preconditioner."""
        right, memory = -iterate.gradient, self._memory
        solution, products = conjugate_gradients(
            objective.hessian_operator(iterate.residual),
            right,
            inverse,
            _enough_for_a_bound(objective, right, iterate.gap_allowance) if exact else _enough(memory.loose),
            MAX_PRODUCTS,
            start=self._solution if self._last is iterate else None,
        )
        self._last, self._solution, memory.products = iterate, solution, products
        step = newton_step(iterate, solution, passes + products, exact)
        # Near the optimum Newton steps shrink quadratically, so the equation is solved to the square of the ratio
        # by which the predicted decrease fell.
        ratio = step.predicted_decrease / memory.promise if memory.promise > 0 else 0.0
        memory.loose, memory.promise = min(LOOSE, max(TIGHT, ratio * ratio)), step.predicted_decrease
        return step

    def _estimate_in_use(self) -> HessianEstimate:
        return self.costlier if self._memory.dear and self.costlier is not None else self.estimate

    def _current_inverse(self, objective: Objective, iterate: Iterate, renew: bool) -> tuple[Inverse, float]:
        """The inverse of the estimate, and the passes it took; an old one if it still preconditions well enough.

        renew: whether it has to be of this iterate.
        """
        memory = self._memory
        if memory.products > MANY_PRODUCTS and self.costlier is not None and not memory.dear:
            memory.dear, self._inverse = True, None
        preconditions = memory.moved <= FRESH_REACH or memory.products <= FEW_PRODUCTS
        if self._inverse is not None and (self._last is iterate or (preconditions and not renew)):
            return self._inverse, 0.0
        estimate = self._estimate_in_use()
        memory.taken, passes = estimate.measure(objective, iterate, self._generator)
        self._inverse, memory.moved = estimate.inverse(objective, memory.taken), 0.0
        return self._inverse, passes


def _penalised(objective: Objective) -> bool:
    """Whether every feature has a quadratic penalty."""
    return bool((objective.coef(objective.precision[:, None]) > 0).all())


def _enough(share: float) -> Accept:
    """Accept a solution for a direction, once no more than this share of the energy is left."""
    return lambda step, remainder, energy: energy <= share


def _enough_for_a_bound(objective: Objective, right: Tensor, gap_allowance: float) -> Accept:
    """Accept a solution for a dual point, once the remainder adds little to F after the step and to the dual gap.

    A remainder r_j of the equation of column j adds r_j^2 / (2 l2_j) to the gap. The remainder of the intercept's
    equation is removed later, by balancing. The sum may be `gap_allowance` nats, or TIGHT times the predicted decrease,
    whichever is more. Where a column has no penalty the energy has to vanish.
    """
    precision, penalised = objective.precision, _penalised(objective)
    weight = torch.where(precision > 0, 0.5 / precision.clamp(min=1e-300), torch.zeros_like(precision))

    def accept(step: Tensor, remainder: Tensor, energy: float) -> bool:
        predicted_decrease = 0.5 * float((step * right).sum())
        allowed = max(gap_allowance, TIGHT * predicted_decrease)
        if energy > (LOOSE if penalised else VANISHED) or energy * predicted_decrease > allowed:
            return False
        return float((weight @ remainder.square()).sum()) <= allowed

    return accept
