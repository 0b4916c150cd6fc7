"""Steps from points where rows are far on their wrong sides.

The curvature of such a row is e^-|z|, which rounding loses, while its residual is one: Newton's equation then has no
solution, or one that is far too long. The curvature of `Loss.far_curvature` takes its place, with which the quadratic
model reaches as far as the row's loss does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import repeat

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import conjugate_gradients, factor
from torchlogit.solvers.newton.curvature import block_gram
from torchlogit.solvers.newton.models import step_by_blocks
from torchlogit.solvers.newton.step import Iterate, NewtonStep, newton_step
from torchlogit.solvers.newton.working_set import WorkingSet, promising_columns

LOST = 1e-12  # variance over residual up to which a row's curvature counts as lost; larger: more rows count
# Predicted decrease, over the losses of the rows whose curvature is lost, above which a Newton step is taken unseen.
# Larger: more steps are compared with that of the far model, which takes half a pass.
PROMISING = 0.01
LONGEST = 1e150  # entry of a direction up to which its products with X, whose values are below 1e100, are finite
FIRST_COLUMNS = 100  # of a working set with l1 or bounds: as in model_choice.py
MAX_COLUMNS = 2500  # the most columns whose Gram matrix is formed; larger: costlier steps from bad starts
MAX_PRODUCTS, ENERGY = 60, 0.1  # of conjugate gradients with more columns: as in preconditioned.py


def better_step(objective: Objective, iterate: Iterate, step: NewtonStep, value: float) -> NewtonStep:
    """The step, or that of the far model where the step is too long or promises less than that one.

    value: F at the iterate, which no step can lower by more. Without rows whose curvature is lost, the far model is not
    evaluated.
    """
    promise, finite = step.predicted_decrease, _finite(step)
    if finite and PROMISING * value < promise <= value:
        return step
    lost = lost_losses(objective, iterate) if finite else value
    if finite and (lost == 0 or PROMISING * lost <= promise <= value or lost <= PROMISING * value < promise):
        return step
    far = far_step(objective, iterate)
    better = far.predicted_decrease > promise or promise > value or not finite
    return replace(far if better else step, passes=step.passes + far.passes)


def _finite(step: NewtonStep) -> bool:
    """Whether the step's numbers are finite, and will be so in products with X."""
    return bool((step.direction.abs() <= LONGEST).all()) and step.predicted_decrease < torch.inf


def lost_losses(objective: Objective, iterate: Iterate) -> float:
    """The sum of the losses, to within ln n_outputs each, of the rows whose own curvature is lost: no pass."""

    def losses(rows: slice) -> list[Tensor]:
        residual, target = iterate.residual[rows], objective.target[rows]
        variance = ((target + residual) * ((1 - target) - residual)).sum(dim=1)
        size = residual.abs().amax(dim=1)
        return [torch.where(variance <= LOST * size, size * objective.loss.spread(iterate.raw[rows]), 0.0)]

    return float(objective.total(losses))


def far_step(objective: Objective, iterate: Iterate) -> NewtonStep:
    """The step of the far model; one of zero where that is not finite either."""
    if objective.design.shape[1] <= MAX_COLUMNS:
        step = FarModel().step(objective, iterate, exact=False)
    elif objective.penalty.smooth:
        step = _step_of_many_columns(objective, iterate)
    else:
        columns = partial(promising_columns, first=FIRST_COLUMNS, most=MAX_COLUMNS)
        step = WorkingSet(columns, lambda part: FarModel()).step(objective, iterate, exact=False)
    return step if _finite(step) else NewtonStep(torch.zeros_like(iterate.theta), 0.0, 0.0, step.passes, False)


class FarModel:
    """The quadratic model with the far curvature c_i of every row: X' diag(s c) X in each output."""

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The step to the model's minimum; never exact."""
        gram = block_gram(objective, None, _curvature(objective, iterate))
        if objective.penalty.smooth:
            return newton_step(iterate, factor(gram).solve(-iterate.gradient), 0.5, exact=False)
        return step_by_blocks(objective, iterate, repeat(gram, objective.n_free), 0.5, exact=False)


def _step_of_many_columns(objective: Objective, iterate: Iterate) -> NewtonStep:
    """The step of the far model by conjugate gradients, which the diagonal preconditions."""
    weight, precision = _curvature(objective, iterate)[:, None], objective.precision[:, None]
    diagonal = objective.sum_blocks(lambda rows, block: block.squares(weight[rows])).add_(precision)
    inverse = torch.where(diagonal > 0, 1 / diagonal, 1.0)

    def product(direction: Tensor) -> Tensor:
        curved = objective.sum_blocks(lambda rows, block: block.rmatmul(block.matmul(direction).mul_(weight[rows])))
        return curved.addcmul_(precision, direction)

    step, products = conjugate_gradients(
        product, -iterate.gradient, lambda remainder: remainder * inverse, lambda x, r, energy: energy <= ENERGY,
        MAX_PRODUCTS,
    )  # fmt: skip
    return newton_step(iterate, step, 0.5 + products, exact=False)


def _curvature(objective: Objective, iterate: Iterate) -> Tensor:
    """s_i c_i, (n,)."""
    return objective.loss.far_curvature(iterate.raw).mul_(objective.weight)
