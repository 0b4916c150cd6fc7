"""Which objectives dual ascent takes, and how loosely it holds an intercept that has no penalty.

Without a penalty on the intercept the weighted residuals have to sum to zero. During an epoch the intercept is held to
where it was by a penalty, loose enough for it to move where columns could take its place: the indicators of a category
add up to one, and move the raw prediction of every row at hardly any price.
"""

from __future__ import annotations

from torchlogit.errors import InputError
from torchlogit.objective import Objective

COLUMNS_RATE = 0.3  # least rate of the intercept, over that of the columns; larger: a looser hold (docs/decisions/0013)


def obstacle(objective: Objective) -> str | None:
    """Why dual ascent cannot minimise this objective, and what to use instead; None where it can."""
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


def columns_rate(objective: Objective) -> float:
    """sum_j mean_j^2 / precision_j: how far the raw prediction of a mean row moves for residuals that sum to one."""
    sums, precision = objective.coef(objective.moments[0][:, None]), objective.coef(objective.precision[:, None])
    return float(((sums / objective.total_weight).square() / precision).sum())
