"""How loosely dual ascent holds an intercept that has no penalty.

Without a penalty on the intercept the weighted residuals have to sum to zero. During an epoch the intercept is held to
where it was by a penalty, loose enough for it to move where columns could take its place: the indicators of a category
add up to one, and move the raw prediction of every row at hardly any price.
"""

from __future__ import annotations

from torchlogit.objective import Objective

COLUMNS_RATE = 0.3  # least rate of the intercept, over that of the columns; larger: a looser hold (docs/decisions/0013)


def columns_rate(objective: Objective) -> float:
    """sum_j mean_j^2 / precision_j: how far the raw prediction of a mean row moves for residuals that sum to one."""
    sums, precision = objective.coef(objective.moments[0][:, None]), objective.coef(objective.precision[:, None])
    return float(((sums / objective.total_weight).square() / precision).sum())
