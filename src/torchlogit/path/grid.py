"""Which penalties to try: a coarse grid from next to no coefficients to next to no penalty, then a fine one."""

from __future__ import annotations

import numpy as np
import torch

from torchlogit.objective import Objective
from torchlogit.path.batch import precisions

COARSE, FINE = 20, 7  # points of the two grids
FREE = 1.0  # coefficients, in all, that the data determine at the largest penalty
HELD = 1e-6  # of the curvature of the column with the least of it, that is the smallest penalty
WIDEST = 1e14  # the largest over the smallest, at most


def span(objective: Objective) -> tuple[float, float]:
    """The largest and the smallest l2 worth a look.

    d_j = the second derivative by column j at the empty model, its mean taken out, over its penalty factor. The data
    determine at most sum_j d_j / (d_j + l2) coefficients of an output: the largest l2 makes this 1. The smallest is
    1e-6 of the least d_j: then no column that says something is held back by it.
    """
    sums, squares = (objective.coef(part[:, None])[:, 0] for part in objective.moments)
    centre = sums.square() / objective.total_weight if objective.design.has_intercept else torch.zeros_like(sums)
    spread = (squares - centre).clamp(min=0)
    factor = objective.coef(precisions(objective)[1][:, None])[:, 0]
    seen = (spread > 1e-12 * squares) & (factor > 0)
    if not bool(seen.any()):
        return 1.0, 1.0
    share = objective.target.T @ objective.weight / objective.total_weight
    curvature = float((share * (1 - share)).mean()) or 0.25
    d = curvature * spread[seen] / factor[seen]
    largest = float(d.sum()) / FREE
    return largest, max(HELD * float(d.min()), largest / WIDEST)


def coarse(objective: Objective) -> list[float]:
    """Penalties from the largest to the smallest, evenly spaced on the scale of logarithms."""
    largest, smallest = span(objective)
    return [largest] if largest == smallest else rounded(np.geomspace(largest, smallest, COARSE).tolist())


def fine(l2s: list[float], k: int) -> list[float]:
    """Penalties between the neighbours of the k-th, those left out that are there already."""
    high, low = l2s[max(0, k - 1)], l2s[min(len(l2s) - 1, k + 1)]
    if high == low:
        return []
    between = rounded(np.geomspace(high, low, FINE + 2).tolist())
    return [l2 for l2 in between[1:-1] if all(abs(l2 / known - 1) > 0.02 for known in l2s)]


def rounded(l2s: list[float]) -> list[float]:
    """To three digits: nothing hangs on more."""
    return [float(f"{l2:.3g}") for l2 in l2s]
