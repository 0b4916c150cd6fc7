"""What the dual methods have in common: which objectives they take, and how an intercept without a penalty is held.

Such an intercept asks that the weighted residuals sum to zero. During an epoch it is held to where it was, so loosely
that it gives way where the columns could take its place: levels that add up to one do so at hardly any price.
"""

from __future__ import annotations

from torchlogit.errors import InputError
from torchlogit.objective import Objective

ABSORBED = 0.3  # of the columns' give, the share that the intercept gives way by, or more


def obstacle(objective: Objective) -> str | None:
    """Why dual ascent does not take this objective, and what does, or None where it does."""
    penalty, n_features = objective.penalty, objective.n_features
    if objective.target.device.type != "cpu":
        return f"data on {objective.target.device}: dual ascent runs on the CPU; move them, or use solver='newton'"
    if not bool((penalty.precision(n_features) > 0).all()):
        return "a column without l2: dual ascent needs some on every column; use solver='newton'"
    if any(bool(end.isfinite().any()) for end in penalty.box(n_features)):
        return "bounds: dual ascent is for coefficients without; use solver='newton'"
    if objective.loss.n_outputs > 1 and not penalty.smooth:
        return "l1 for several classes: dual ascent takes l2 alone there; use solver='newton'"
    return None


def refuse(objective: Objective) -> None:
    """InputError where there is an obstacle."""
    if (reason := obstacle(objective)) is not None:
        raise InputError(reason)


def give_of_columns(objective: Objective) -> float:
    """sum_j mean_j^2 / precision_j: how far the columns' raw prediction goes for an imbalance of one."""
    sums, precision = objective.coef(objective.moments[0][:, None]), objective.coef(objective.precision[:, None])
    return float(((sums / objective.total_weight).square() / precision).sum())
