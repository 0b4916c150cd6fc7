"""The solvers by their names, and what "auto" chooses. aim: the relative bound that is asked for."""

from __future__ import annotations

from collections.abc import Callable

from torchlogit.design import Sparse
from torchlogit.objective import Objective
from torchlogit.solvers import Solver
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.dual.problem import obstacle
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.newton.working_set import occupied
from torchlogit.solvers.stochastic.sgd import SGD

CROWDED = 1000.0  # of a penalty's precision, what a value's column holds: dual ascent takes too many epochs beyond that


def dual(objective: Objective, seed: int, aim: float) -> Solver:
    """Dual ascent for two classes, or for more."""
    return DualAscent(seed, aim) if objective.loss.n_outputs == 1 else SoftmaxAscent(seed)


def automatic(objective: Objective, seed: int, aim: float) -> Solver:
    """Dual ascent where it is the faster one, StochasticNewton everywhere else.

    It is for sparse rows under a penalty that holds every column, of so many coefficients that Newton's method forms no
    Hessian. Its epochs grow in number with the root of how crowded columns are: m_j / precision_j, m_j = sum_i s_i
    x_ij^2, on average over the values (docs/decisions/0014-auto.md).
    """
    newton = StochasticNewton(aim, seed=seed)
    if not (isinstance(objective.design, Sparse) and obstacle(objective) is None):
        return newton
    columns = int(occupied(objective).sum()) + objective.design.has_intercept
    if columns * objective.n_free <= newton.max_dense:
        return newton
    precision, mass = (objective.coef(part[:, None])[:, 0] for part in (objective.precision, objective.moments[1]))
    crowd = float((mass.square() / precision).sum() / mass.sum())
    return dual(objective, seed, aim) if crowd <= CROWDED else newton


BY_NAME: dict[str, Callable[[Objective, int, float], Solver]] = {
    "auto": automatic,
    "newton": lambda objective, seed, aim: StochasticNewton(aim, seed=seed),
    "dual": dual,
    "sgd": lambda objective, seed, aim: SGD(seed=seed),
}
