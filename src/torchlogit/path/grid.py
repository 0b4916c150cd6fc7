"""Grids of l2: a coarse one, from coefficients near zero to a negligible penalty, and a fine one around its best."""

from __future__ import annotations

import numpy as np
import torch

from torchlogit.objective import Objective
from torchlogit.path.batch import precisions

COARSE, FINE = 20, 7  # penalties of the two grids; more: l2 is chosen more precisely, from more fits
# An upper bound of the effective number of coefficients of an output at the largest l2. Larger: the grid starts at a
# smaller penalty.
FEWEST_COEFS = 1.0
# The smallest l2 as a share of the smallest d_j of `span`. Smaller: the grid ends at a smaller penalty.
SMALLEST_SHARE = 1e-6
MAX_RATIO = 1e14  # the largest l2 over the smallest, at most


def span(objective: Objective) -> tuple[float, float]:
    """The largest and the smallest l2 to try.

    d_j is the second derivative of the losses by column j, centred, at the model without features, divided by the
    column's penalty factor. At a given l2 the data determine at most sum_j d_j / (d_j + l2) coefficients of an output;
    the largest l2 makes sum_j d_j / l2 equal 1. The smallest is 1e-6 of the least d_j: it shrinks no column noticeably.
    """
    sums, squares = (objective.coef(part[:, None])[:, 0] for part in objective.moments)
    centre = sums.square() / objective.total_weight if objective.design.has_intercept else torch.zeros_like(sums)
    spread = (squares - centre).clamp(min=0)
    factor = objective.coef(precisions(objective)[1][:, None])[:, 0]
    usable = (spread > 1e-12 * squares) & (factor > 0)  # neither constant up to rounding nor without a penalty
    if not bool(usable.any()):
        return 1.0, 1.0
    share = objective.target.T @ objective.weight / objective.total_weight
    curvature = float((share * (1 - share)).mean()) or 0.25
    d = curvature * spread[usable] / factor[usable]
    largest = float(d.sum()) / FEWEST_COEFS
    return largest, max(SMALLEST_SHARE * float(d.min()), largest / MAX_RATIO)


def coarse(objective: Objective) -> list[float]:
    """20 penalties from the largest to the smallest, evenly spaced in log l2."""
    largest, smallest = span(objective)
    return [largest] if largest == smallest else rounded(np.geomspace(largest, smallest, COARSE).tolist())


def fine(l2s: list[float], k: int) -> list[float]:
    """7 penalties between the neighbours of the k-th, without those within 2 % of one in l2s."""
    high, low = l2s[max(0, k - 1)], l2s[min(len(l2s) - 1, k + 1)]
    if high == low:
        return []
    between = rounded(np.geomspace(high, low, FINE + 2).tolist())
    return [l2 for l2 in between[1:-1] if all(abs(l2 / known - 1) > 0.02 for known in l2s)]


def rounded(l2s: list[float]) -> list[float]:
    """Rounded to three digits, which are easier to read and precise enough."""
    return [float(f"{l2:.3g}") for l2 in l2s]
