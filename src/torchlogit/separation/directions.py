"""A direction in integers, and the signs of the margins of all rows along it, without rounding."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.exact import signs
from torchlogit.objective import Objective

EPS = torch.finfo(torch.float64).eps
# Added to the error bound of a margin, in units of the direction's largest entry: products may be lost to underflow.
UNDERFLOW = 1e-140


@dataclass(frozen=True)
class Direction:
    """V (p, n_outputs), row by row in one list of integers: only their ratios count."""

    entries: list[int]
    outputs: int

    @cached_property
    def columns(self) -> list[int]:
        """The rows of V that are not zero."""
        return sorted({i // self.outputs for i, value in enumerate(self.entries) if value})

    def rounded(self) -> Tensor:
        """V in float64, its largest entry 1 in size."""
        largest = max(map(abs, self.entries)) or 1
        values = [float(Fraction(value, largest)) for value in self.entries]
        return torch.tensor(values, dtype=torch.float64).reshape(-1, self.outputs)


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """The signs of the margins along a direction, (n, other classes) int8; 1 in rows of weight zero.

    wrong: the rows on the wrong side (indices). apart: whether a margin is positive in a row that counts.
    """

    signs: Tensor
    wrong: Tensor
    apart: bool

    @property
    def separates(self) -> bool:
        """Whether this proves separation: no row is on the wrong side, and some margin is positive."""
        return len(self.wrong) == 0 and self.apart

    @property
    def tied(self) -> Tensor:
        """The rows with a margin of zero (indices)."""
        return (self.signs == 0).any(dim=1).nonzero()[:, 0]


def check(objective: Objective, direction: Direction) -> Checked:
    """The rows of positive weight along the direction: X is read once.

    A margin is computed in float64. Where it is smaller than a bound on its rounding error, its sign is found in exact
    arithmetic (exact.py).
    """
    values = direction.rounded().to(objective.target)
    signs, wrong, apart = list[Tensor](), list[Tensor](), False
    for rows, block in objective.design.blocks():
        target, counted = objective.target[rows], objective.weight[rows] > 0
        contrasts, shared = objective.loss.contrasts(target), objective.loss.shared(target)
        margin = (contrasts @ block.matmul(values)[:, :, None])[:, :, 0]
        error = (contrasts.abs() @ _errors(block, values, len(direction.columns))[:, :, None])[:, :, 0]
        unsure = ~(margin.abs() > error) & counted[:, None]
        sign = margin.sign()
        if bool(unsure.any()):
            sign[unsure] = _exact_signs(block, contrasts, unsure, direction).to(sign)
        wrong.append(rows.start + (counted & ((sign < 0) | (shared & (sign != 0))).any(dim=1)).nonzero()[:, 0])
        apart |= bool(((sign > 0) & ~shared & counted[:, None]).any())
        signs.append(torch.where(counted[:, None], sign, 1.0).to(torch.int8))
    return Checked(torch.cat(signs), torch.cat(wrong), apart)


def _errors(block: Rows, values: Tensor, terms: int) -> Tensor:
    """Bounds on the errors of the block's products with each column of `values`, (rows, outputs).

    A sum of products in any order errs by at most eps * terms times the sum of their sizes, which is at most the number
    of terms times the largest. The rounding of `values`, of the bound and of the difference of two products is covered
    by the factor 4 and by 4 more terms.
    """
    zero = torch.zeros_like(values[:, 0])
    largest = torch.stack([block.largest(zero, column.square()).sqrt() for column in values.T], dim=1)
    return 4 * EPS * (terms + 4) * terms * largest + UNDERFLOW


def _exact_signs(block: Rows, contrasts: Tensor, unsure: Tensor, direction: Direction) -> Tensor:
    """The signs of the unsure margins (rows, other classes), in their order."""
    pick = torch.zeros(len(direction.entries) // direction.outputs, len(direction.columns)).to(contrasts)
    pick[direction.columns, torch.arange(len(direction.columns))] = 1.0
    row, which = unsure.nonzero(as_tuple=True)
    needed, place = torch.unique(row, return_inverse=True)
    design = block.matmul(pick)[needed].cpu().numpy()
    kinds, kind = torch.unique(contrasts[row, which], dim=0, return_inverse=True)
    result = np.zeros(len(row), dtype=np.int8)
    place, kind = place.cpu().numpy(), kind.cpu().numpy()
    for k, contrast in enumerate(kinds.long().tolist()):
        mine = kind == k
        factors = [
            sum(c * direction.entries[j * direction.outputs + i] for i, c in enumerate(contrast))
            for j in direction.columns
        ]
        result[mine] = signs(design[place[mine]], factors)
    return torch.from_numpy(result)
