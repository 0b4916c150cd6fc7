"""The solvers by name, and the choice that "auto" makes. aim: the bound that is asked for, relative to F."""

from __future__ import annotations

from collections.abc import Callable

from torchlogit.design import Sparse
from torchlogit.objective import Objective
from torchlogit.solvers import Solver
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.newton.working_set import occupied
from torchlogit.solvers.requirements import obstacle_to_dual_ascent
from torchlogit.solvers.stochastic.sgd import SGD

# Crowding is the mean of sum_i s_i x_ij^2 / precision_j over the columns j, each weighted by its share of the squared
# values of X. Dual ascent is chosen up to this value: the number of its epochs grows with the root of the crowding.
# Larger: dual ascent for denser columns (docs/decisions/0014).
MAX_CROWDING = 1000.0


def dual(objective: Objective, seed: int, aim: float) -> Solver:
    """Dual ascent for the number of classes of this objective."""
    return DualAscent(seed, aim) if objective.loss.n_outputs == 1 else SoftmaxAscent(seed)


def automatic(objective: Objective, seed: int, aim: float) -> Solver:
    """Dual ascent where it is faster, else StochasticNewton.

    Dual ascent is for sparse rows under an L2 penalty on every column, with so many coefficients that Newton's method
    would form no Hessian, and with columns that are not too crowded.
    """
    newton = StochasticNewton(aim, seed=seed)
    if not (isinstance(objective.design, Sparse) and obstacle_to_dual_ascent(objective) is None):
        return newton
    columns = int(occupied(objective).sum()) + objective.design.has_intercept
    if columns * objective.n_free <= newton.max_dense:
        return newton
    precision, squares = (objective.coef(part[:, None])[:, 0] for part in (objective.precision, objective.moments[1]))
    crowding = float((squares.square() / precision).sum() / squares.sum())
    return dual(objective, seed, aim) if crowding <= MAX_CROWDING else newton


BY_NAME: dict[str, Callable[[Objective, int, float], Solver]] = {
    "auto": automatic,
    "newton": lambda objective, seed, aim: StochasticNewton(aim, seed=seed),
    "dual": dual,
    "sgd": lambda objective, seed, aim: SGD(seed=seed),
}
