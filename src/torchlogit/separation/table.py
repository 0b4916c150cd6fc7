"""The rows of an objective as linear inequalities for a direction, in units in which its entries are comparable."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.exact import integers
from torchlogit.objective import Objective
from torchlogit.separation.directions import Direction
from torchlogit.separation.programs import Constraints

SAMPLE = 2000  # rows from which the units of columns are taken; more: units that fit more of the rows

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The inequalities x' (v_y - v_k) >= 0 of rows as functions of u (p * n_outputs,), a column's outputs together.

    u = scale * v in each column, and the intercept's entry is the value at x = center: v is stretched and moved so that
    its entries are of comparable size and margins do not cancel. center, scale (p,): a value in the middle of each
    column, 0 for the intercept's; and a power of two near the median distance from it. Both conversions are exact.
    lower, upper (p * n_outputs,): the ends of u's entries as in `Constraints`, 0 for columns of zeros and for the last
    class where only differences between classes count.
    """

    objective: Objective
    center: Array
    scale: Array
    lower: Array
    upper: Array

    @classmethod
    def of(cls, objective: Objective) -> Table:
        """The table with units from SAMPLE of its rows."""
        counted = (objective.weight > 0).nonzero()[:, 0]
        some = counted[torch.linspace(0, len(counted) - 1, min(len(counted), SAMPLE)).round().long()]
        sample = objective.design.take(some).dense().cpu().numpy()
        squares = objective.moments[1].cpu().numpy()
        center = np.median(sample, axis=0) if objective.design.has_intercept else np.zeros(sample.shape[1])
        center[-1:] = 0.0 if objective.design.has_intercept else center[-1:]
        center[np.abs(center) < np.abs(sample).max(axis=0) * 1e-300] = 0.0
        away = np.abs(sample - center)
        typical = np.array([np.median(column[column > 0]) if column.any() else np.nan for column in away.T])
        typical = np.where(np.isnan(typical), np.sqrt(squares), typical)
        scale = np.exp2(np.round(np.log2(np.where(typical > 0, typical, 1.0))))
        low, high = (end.cpu().numpy() for end in objective.dual_range)
        empty, outputs = (squares == 0)[:, None], objective.loss.n_outputs
        fixed = np.repeat(empty, outputs, axis=1)
        if objective.n_free < outputs:  # a constant added to a row of v changes nothing: the last class's is zero
            fixed[:, -1] = True
        lower, upper = np.where(fixed | (low != 0), 0.0, -1.0), np.where(fixed | (high != 0), 0.0, 1.0)
        return cls(objective, center, scale, lower.reshape(-1), upper.reshape(-1))

    @property
    def size(self) -> int:
        """The number of entries of u."""
        return len(self.lower)

    def constraints(self, rows: Tensor) -> Constraints:
        """Those of the rows with these indices, one for every other class, row by row; each of largest entry 1."""
        design = (self.objective.design.take(rows).dense().cpu().numpy() - self.center) / self.scale
        contrasts, shared = self._contrasts(rows)
        matrix = np.einsum("np,nmc->nmpc", design, contrasts).reshape(-1, self.size)
        largest = np.abs(matrix).max(axis=1, keepdims=True, initial=0.0)
        matrix /= np.where(largest > 0, largest, 1.0)
        return Constraints(matrix, shared.reshape(-1), self.lower, self.upper)

    def exact(self, rows: Tensor, which: NDArray[np.int64]) -> list[list[int]]:
        """The constraints `which` of these rows without rounding, each times some positive number."""
        per_row = self._contrasts(rows[:1])[0].shape[1]
        rows = rows[torch.from_numpy(which // per_row)]
        design, contrasts = self.objective.design.take(rows).dense().tolist(), self._contrasts(rows)[0].astype(int)
        columns = [(Fraction(c), Fraction(s)) for c, s in zip(self.center.tolist(), self.scale.tolist(), strict=True)]
        result = []
        for values, contrast in zip(design, contrasts[np.arange(len(rows)), which % per_row].tolist(), strict=True):
            units = [(Fraction(x) - c) / s if x != c else 0 for x, (c, s) in zip(values, columns, strict=True)]
            result.append(integers([Fraction(x * k) for x in units for k in contrast]))
        return result

    def _contrasts(self, rows: Tensor) -> tuple[Array, NDArray[np.bool_]]:
        target, loss = self.objective.target[rows], self.objective.loss
        return loss.contrasts(target).cpu().numpy(), loss.shared(target).cpu().numpy()

    def gain(self) -> Array:
        """The sum of the margins of all rows, each divided by its largest entry, as a function of u: X is read once."""
        objective, p = self.objective, len(self.scale)
        center, precision = torch.from_numpy(self.center), torch.from_numpy(self.scale**-2.0)
        center, precision = center.to(objective.target), precision.to(objective.target)

        def term(rows: slice, block: Rows) -> Tensor:
            target, loss = objective.target[rows], objective.loss
            apart = (loss.contrasts(target) * ~loss.shared(target)[:, :, None]).sum(dim=1)
            largest = block.largest(center, precision).sqrt_()
            counted = (objective.weight[rows] > 0) & (largest > 0) & largest.isfinite()
            return block.rmatmul(torch.where(counted[:, None], apart / largest[:, None], 0.0))

        total = objective.sum_blocks(term).cpu().numpy()
        moved = total - self.center[:, None] * total[-1:] if self.center.any() else total
        return (moved / self.scale[:, None]).reshape(p * objective.loss.n_outputs)

    def gram(self) -> Array:
        """The inner products of the columns in their units, over the rows of positive weight, (p, p)."""
        objective = self.objective

        def term(rows: slice, block: Rows) -> Tensor:
            return block.gram((objective.weight[rows, None] > 0).to(objective.target))[0]

        return objective.sum_blocks(term).cpu().numpy() / self.scale / self.scale[:, None]

    def margins(self, u: Array) -> Tensor:
        """The margin of every row along u, its least over all other classes, (n,): X is read once, in float64.

        In units of the row's largest entry and of u's; infinite for rows of weight zero. Negative where a class that
        the target has ranks below another one, or two of the target's classes differ.
        """
        objective = self.objective
        v = torch.tensor(self._own(u)).to(objective.target)
        center, precision = torch.from_numpy(self.center), torch.from_numpy(self.scale**-2.0)
        center, precision = center.to(objective.target), precision.to(objective.target)
        result = torch.empty_like(objective.target[:, 0])
        for rows, block in objective.design.blocks():
            margin = objective.loss.margin(block.matmul(v), objective.target[rows])
            margin = margin / block.largest(center, precision).sqrt_().clamp_(min=1e-300)
            result[rows] = torch.where(objective.weight[rows] > 0, margin, torch.inf)
        return result / max(float(np.abs(u).max()), 1e-300)

    def _own(self, u: Array) -> Array:
        """v (p, n_outputs), rounded."""
        v = u.reshape(len(self.scale), -1) / self.scale[:, None]
        if self.center.any():
            v[-1] -= self.center @ v
        return v

    def direction(self, u: list[int]) -> Direction:
        """v for an exact u, times some positive number."""
        outputs = self.objective.loss.n_outputs
        scale = [Fraction(s) for s in self.scale.tolist()]
        v = [Fraction(value) / scale[i // outputs] if value else Fraction(0) for i, value in enumerate(u)]
        for j in np.flatnonzero(self.center):
            for k in range(outputs):
                v[len(v) - outputs + k] -= Fraction(float(self.center[j])) * v[j * outputs + k]
        return Direction(integers(v), outputs)

    def units_of(self, direction: Direction) -> Array:
        """The direction as u, its largest entry 1 in size: the inverse of `direction`, rounded."""
        outputs = direction.outputs
        v = [Fraction(value) for value in direction.entries]
        for j in np.flatnonzero(self.center):
            for k in range(outputs):
                v[len(v) - outputs + k] += Fraction(float(self.center[j])) * v[j * outputs + k]
        u = [value * Fraction(float(self.scale[i // outputs])) for i, value in enumerate(v)]
        largest = max(map(abs, u)) or Fraction(1)
        return np.array([float(value / largest) for value in u])
