"""Models whose Hessian is formed: of all rows, of a sample, or block by block; Newton's equation is solved directly.

A model solves H step = -gradient, or, where the penalty has kinks or bounds, minimises the quadratic model of the
losses plus the penalty itself by coordinate descent. A step is *exact* where H is the Hessian of all rows: a dual point
follows from such a step, and from that a bound on F - min F.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import coordinate_descent, factor
from torchlogit.records import Snapshot
from torchlogit.solvers.newton.curvature import ByOutput, block_gram
from torchlogit.solvers.newton.step import Iterate, NewtonStep, newton_step

# Of the inner coordinate descent: it ends once the optimality conditions are violated by no more than this share of
# their violation at the start, or after MAX_SWEEPS sweeps. A smaller share: more sweeps, and more exact steps.
QUADRATIC_TOL = 1e-9
MAX_SWEEPS = 1000


@dataclass(frozen=True, slots=True)
class AllRows:
    """The Hessian of all rows."""

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The exact step, by a Cholesky factor or by coordinate descent."""
        return exact_step(objective, iterate)


@dataclass(frozen=True, slots=True)
class SampleWithKinks:
    """The Hessian of a sample, under a penalty with kinks or bounds; that of all rows for exact steps."""

    sample: Objective
    indices: Tensor

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The minimum of the quadratic model, by coordinate descent."""
        if exact:
            return exact_step(objective, iterate)
        hessian = self.sample.hessian(iterate.residual[self.indices])
        passes = 0.5 * len(self.indices) / objective.design.shape[0]
        return _minimum(objective, iterate, hessian, passes, exact=False)


class BlocksWithKinks:
    """The diagonal blocks of the Hessian, under a penalty with kinks or bounds, where the whole of it is too large.

    The steps are those of a proximal gradient method in a good metric, and take tens of passes where Newton's take ten
    (docs/decisions/0010). Their dual points are evaluated like any other, and become good as the steps become small.
    """

    def __init__(self, blocks: ByOutput, seed: int) -> None:
        self._blocks, self._generator = blocks, torch.Generator().manual_seed(seed)

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The minimum of each block's quadratic model, by coordinate descent."""
        samples = list(self._blocks.samples(objective, iterate, self._generator))
        passes = sum(0.5 * len(weight) / (objective.design.shape[0] * len(samples)) for _, weight in samples)
        grams = (block_gram(objective, rows, weight) for rows, weight in samples)
        return step_by_blocks(objective, iterate, grams, passes, exact=True)

    def after_step(self, reach: float) -> None:
        """Does nothing: blocks are computed again for every step."""

    def snapshot(self) -> Snapshot:
        """The state of the random numbers."""
        return {"draw": self._generator.get_state()}

    def restore(self, objective: Objective, snapshot: Snapshot) -> None:
        """Continue with the random numbers that follow."""
        self._generator.set_state(snapshot["draw"].cpu())


def exact_step(objective: Objective, iterate: Iterate) -> NewtonStep:
    """The step by the Hessian of all rows; reading X for it counts as half a pass."""
    return _minimum(objective, iterate, objective.hessian(iterate.residual), 0.5, exact=True)


def step_by_blocks(
    objective: Objective, iterate: Iterate, grams: Iterable[Tensor], passes: float, exact: bool
) -> NewtonStep:
    """The step to the minimum of the model with these diagonal blocks of the Hessian, under kinks and bounds."""
    start, gradient = objective.to_free(iterate.theta), objective.to_free(iterate.gradient)
    kinks, p = _kinks_and_bounds(objective), objective.design.shape[1]
    step, curvature = torch.zeros_like(start), 0.0
    for k, gram in enumerate(grams):
        block = slice(k * p, (k + 1) * p)
        step[block] = _descend(gram, start[block], gradient[block], *(part[block] for part in kinks))
        curvature += float(step[block] @ gram @ step[block])
    return _step_with_kinks(objective, iterate, step, curvature, passes, exact)


def _minimum(objective: Objective, iterate: Iterate, hessian: Tensor, passes: float, exact: bool) -> NewtonStep:
    """The step to the minimum of the quadratic model with this Hessian, kinks and bounds of the penalty included."""
    start, gradient = objective.to_free(iterate.theta), objective.to_free(iterate.gradient)
    if objective.penalty.smooth:
        step = factor(hessian).solve(-gradient[:, None])[:, 0]
        return newton_step(iterate, objective.from_free(step), passes, exact)
    step = _descend(hessian, start, gradient, *_kinks_and_bounds(objective))
    return _step_with_kinks(objective, iterate, step, float(step @ hessian @ step), passes, exact)


def _descend(hessian: Tensor, start: Tensor, gradient: Tensor, rates: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The step from `start` to the minimum of the quadratic model with kinks and bounds, by coordinate descent."""
    linear = gradient - hessian @ start
    found = coordinate_descent(hessian, linear, start, rates, lower, upper, tol=QUADRATIC_TOL, max_sweeps=MAX_SWEEPS)
    return found.solution - start


def _step_with_kinks(
    objective: Objective, iterate: Iterate, step: Tensor, curvature: float, passes: float, exact: bool
) -> NewtonStep:
    """The Newton step of these free coordinates; curvature: step' H step."""
    start, (rates, _, _) = objective.to_free(iterate.theta), _kinks_and_bounds(objective)
    slope = float(objective.to_free(iterate.gradient) @ step + rates @ ((start + step).abs() - start.abs()))
    return NewtonStep(objective.from_free(step), slope, -slope - 0.5 * curvature, passes, exact)


def _kinks_and_bounds(objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
    """The l1 rate and the bounds of every free coordinate, (n_free p,) each; the intercept has neither."""
    penalty, n_features = objective.penalty, objective.n_features
    intercept, inf = (0, objective.design.shape[1] - n_features), float("inf")
    pad = torch.nn.functional.pad
    lower, upper = penalty.box(n_features)
    parts = (
        pad(penalty.l1_rates(n_features), intercept),
        pad(lower, intercept, value=-inf),
        pad(upper, intercept, value=inf),
    )
    rates, low, high = (part.to(objective.target).repeat(objective.loss.n_outputs) for part in parts)
    return rates, low, high
