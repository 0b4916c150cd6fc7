"""The strength of the penalty that keeps the intercept near its last value during an epoch of dual ascent.

F has no penalty on the intercept, so the weighted residuals have to sum to zero at the optimum. During an epoch the
intercept has a penalty on its change. It must be weak where columns could take the intercept's place: the indicators of
a category add up to one, and can move the raw prediction of every row under a small penalty.
"""

from __future__ import annotations

from torchlogit.objective import Objective

COLUMNS_RATE = 0.3  # least rate of the intercept over that of the columns; larger: weaker (docs/decisions/0013)


def columns_rate(objective: Objective) -> float:
    """sum_j mean_j^2 / precision_j: how far the raw prediction of a mean row moves for residuals that sum to one."""
    sums, precision = objective.coef(objective.moments[0][:, None]), objective.coef(objective.precision[:, None])
    return float(((sums / objective.total_weight).square() / precision).sum())
