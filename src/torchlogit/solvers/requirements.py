"""Checks that a solver can minimise an objective: the one place where solvers refuse a penalty.

StochasticNewton, ImplicitSGD and SAGA take every penalty: the first by coordinate descent on its quadratic models, the
others by proximal steps.
"""

from __future__ import annotations

from torchlogit.errors import InputError
from torchlogit.objective import Objective


def refuse_kinks(objective: Objective, name: str) -> None:
    """InputError where the penalty has kinks or bounds, which gradient steps do not respect; name: the solver's."""
    if not objective.penalty.smooth:
        raise InputError(f"{name} steps along gradients: expected no l1 and no bounds; use the default solver")


def refuse_dual_ascent(objective: Objective) -> None:
    """InputError where dual ascent cannot minimise the objective."""
    if (reason := obstacle_to_dual_ascent(objective)) is not None:
        raise InputError(reason)


def obstacle_to_dual_ascent(objective: Objective) -> str | None:
    """Why dual ascent cannot minimise the objective, and what to use instead; None where it can.

    The coefficients follow from the dual as S(u, l1) / l2, so l2 has to be positive on every column.
    """
    penalty, n_features = objective.penalty, objective.n_features
    if objective.target.device.type != "cpu":
        return f"data on {objective.target.device}: dual ascent runs on the CPU; move them, or use solver='newton'"
    if not bool((penalty.precision(n_features) > 0).all()):
        return "a column without l2: dual ascent needs l2 > 0 on every column; use solver='newton'"
    if any(bool(end.isfinite().any()) for end in penalty.box(n_features)):
        return "bounds: dual ascent cannot keep coefficients within them; use solver='newton'"
    if objective.loss.n_outputs > 1 and not penalty.smooth:
        return "l1 for several classes: dual ascent takes l1 for two classes only; use solver='newton'"
    return None
