"""Separation: does F have a finite minimum, and if not, which coefficients grow without bound?

Without a penalty F has no finite minimum exactly when some direction v != 0 separates the classes: no row is on its
wrong side, x_i' (v_y - v_k) >= 0 for every row i of class y and every other class k, and some row is on its right side,
> 0 (Albert and Anderson 1984, doi:10.1093/biomet/71.1.1). Along v F falls without end. The separation is complete where
all rows are on their right sides, and quasi-complete otherwise. A linear program finds v:

    maximise the sum of all margins,  subject to every margin >= 0 and |v_j| <= 1 in units of the column's size,

where v_j = 0 if a penalty or bounds limit the coefficient, and has one sign if it may grow on that side only.

The columns with v_j != 0 in the solution are those whose coefficients run off (Konis 2007). Where columns are
collinear v is not unique; then the one of least sum |v_j| that separates the same rows is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import factor
from torchlogit.records import Separation

TIED = 1e-8  # margins and entries of a direction up to this share of the largest count as zero
NAMED = 1e-6  # entries of a direction up to this share of the largest are not reported; larger: fewer coefficients are
ROWS_PER_COLUMN = 20  # rows of the first program, and added in each round, for each coefficient; larger: fewer rounds
ROUNDS = 60  # the most programs that are solved
PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}  # the smallest that HiGHS takes

Array = NDArray[np.float64]
Program = Callable[[Array, Tensor], Array | None]


def all_classified(objective: Objective, raw: Tensor) -> bool:
    """Whether this raw prediction has every row on its right side, which proves complete separation: no pass."""
    linear = raw if objective.offset is None else raw - objective.offset
    margin = objective.loss.margin(linear, objective.target)
    return bool((margin[objective.weight > 0] > 0).all())


def find_separation(objective: Objective, raw: Tensor) -> Separation | None:
    """The separation of the classes along unpenalised columns, or None if none is found.

    raw: any raw prediction (n, n_outputs). The program starts from the rows that it classifies worst, so a good one
    saves time. Soft targets are not searched: the result is None.
    """
    labels = bool(((objective.target == 0) | (objective.target == 1)).all())
    if not labels:
        return None
    search = _Search(objective, raw)
    found = search.solve(search.most_gain, torch.zeros_like(objective.weight, dtype=torch.bool))
    if found is None:
        return None
    gram = objective.hessian(objective.residual(objective.empty().zero_()))
    if not factor(gram).triangular:
        separated = found.margin > TIED * found.largest
        found = search.solve(search.least_size(separated), separated) or found
    direction = objective.coef(objective.visible(found.direction))
    named = (direction.abs() > NAMED * direction.abs().max().clamp(min=1e-300)).nonzero()
    signs = tuple((int(j), int(k), 1 if float(direction[j, k]) > 0 else -1) for j, k in named)
    classified = bool((found.margin > 0).all()) or (search.all_free and all_classified(objective, raw))
    return Separation(complete=classified or search.separates_all(), directions=signs)


@dataclass(frozen=True, slots=True)
class _Found:
    """A direction (p, n_outputs) in units of the columns' sizes, and the margin of every row along it.

    largest: the largest spread of a row's raw prediction along it, by which margins are judged.
    """

    direction: Tensor
    margin: Tensor
    largest: float


class _Search:
    """The linear program over all rows, solved for a few of them first.

    The rows that a solution gets wrong are added, and the program is solved again, until there are none.

    gain: the derivative of the sum of all margins by the direction, scaled. lower, upper: the bounds of the direction,
    -1, 0 or 1. count: how many rows are added at a time.
    """

    def __init__(self, objective: Objective, raw: Tensor) -> None:
        self.objective = objective
        self.scale = objective.moments[1].sqrt().clamp(min=1e-300)
        gain = -objective.dual(objective.loss.contrasts(objective.target).sum(dim=1)) / self.scale[:, None]
        self.gain = (gain / gain.abs().max().clamp(min=1e-300)).reshape(-1).cpu().numpy()
        low, high = (end.expand_as(gain).reshape(-1).cpu().numpy() for end in objective.dual_range)
        self.lower, self.upper = -(low == 0).astype(float), (high == 0).astype(float)
        self.all_free = bool(((self.lower < 0) & (self.upper > 0)).all())
        self.shape = gain.shape
        self.count = min(len(raw), ROWS_PER_COLUMN * gain.numel())
        self.rows = self._worst(self._margin(raw))

    def solve(self, program: Program, separated: Tensor) -> _Found | None:
        """The program's solution, checked on every row, or None where there is none beyond rounding.

        separated: the rows that the solution has to have on their right side; all others may be tied.
        """
        for _ in range(ROUNDS):
            solution = program(self._constraints(), self.rows)
            if solution is None:
                return None
            solution[np.abs(solution) <= TIED * np.abs(solution).max()] = 0.0
            direction = torch.from_numpy(solution).reshape(self.shape).to(self.objective.target)
            raw = self.objective.product(direction / self.scale[:, None])
            margin, largest = self._margin(raw), float(self.objective.loss.spread(raw).max())
            wrong = torch.where(separated, margin <= TIED * largest, margin < -TIED * largest)
            if not bool(wrong.any()):
                return _Found(direction, margin, largest)
            more = torch.unique(torch.cat([self.rows, self._worst(torch.where(wrong, margin, torch.inf))]))
            if len(more) == len(self.rows):
                return None  # the program contains all wrong rows: they are wrong within the solver's tolerance
            self.rows = more
        return None

    def most_gain(self, constraints: Array, rows: Tensor) -> Array | None:
        """max gain' v subject to A v >= 0 and the bounds; None where the gain is zero up to rounding."""
        solution = _minimise(-self.gain, constraints, np.zeros(len(constraints)), self.lower, self.upper)
        if solution is None or self.gain @ solution <= TIED * np.abs(self.gain).sum():
            return None
        return solution

    def least_size(self, separated: Tensor) -> Program:
        """The program min |v|_1 subject to A v >= 1 on the separated rows and A v >= 0 on the others."""

        def program(constraints: Array, rows: Tensor) -> Array | None:
            per_row = len(constraints) // len(rows)
            least = np.repeat(separated[rows].to(torch.float64).cpu().numpy(), per_row)
            both = np.concatenate([constraints, -constraints], axis=1)
            bound = np.where(np.concatenate([self.upper, -self.lower]) > 0, np.inf, 0.0)
            split = _minimise(np.ones(2 * len(self.gain)), both, least, np.zeros_like(bound), bound)
            return None if split is None else split[: len(self.gain)] - split[len(self.gain) :]

        return program

    def separates_all(self) -> bool:
        """Whether some direction has all rows on their right sides, even if that of most gain has rows at zero."""
        every = torch.ones_like(self.objective.weight, dtype=torch.bool)
        return self.solve(self.least_size(every), every) is not None

    def _constraints(self) -> Array:
        """A: the margins of the program's rows as linear functions of v, rows scaled to a largest entry of 1."""
        design = self.objective.design.take(self.rows).dense() / self.scale
        design = design / design.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
        contrasts = self.objective.loss.contrasts(self.objective.target[self.rows])
        constraints: Array = torch.einsum("np,nmc->nmpc", design, contrasts).flatten(2).flatten(0, 1).cpu().numpy()
        return constraints

    def _margin(self, raw: Tensor) -> Tensor:
        margin = self.objective.loss.margin(raw, self.objective.target)
        return torch.where(self.objective.weight > 0, margin, torch.inf)

    def _worst(self, margin: Tensor) -> Tensor:
        """The indices of the `count` rows of smallest margin, without those of infinite margin."""
        rows = torch.topk(margin, self.count, largest=False).indices
        return rows[margin[rows] < torch.inf]


def _minimise(cost: Array, constraints: Array, least: Array, lower: Array, upper: Array) -> Array | None:
    """The solution of min cost' v subject to constraints v >= least, lower <= v <= upper; None without one."""
    from scipy.optimize import linprog

    bounds = np.stack([lower, upper], axis=1)
    result = linprog(cost, A_ub=-constraints, b_ub=-least, bounds=bounds, method="highs", options=PRECISE)
    return None if result.x is None else np.asarray(result.x, dtype=np.float64)
