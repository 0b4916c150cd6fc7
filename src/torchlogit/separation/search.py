"""The search for a direction that separates the classes, and its proof."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.exact import null_vector
from torchlogit.objective import Objective
from torchlogit.records import Separation
from torchlogit.separation.directions import Checked, Direction, check
from torchlogit.separation.exact_cone import ExactCone
from torchlogit.separation.infinite import infinite, infinite_of_few
from torchlogit.separation.programs import Constraints
from torchlogit.separation.table import Table

# Margins up to this share of a row's and the direction's largest entries may be errors of HiGHS, whose tolerances are
# 1e-10. It only says where to look further: proofs have no tolerance.
NOISE = 1e-9
MARGINS_PER_ENTRY = 20  # margins of the first program, and added in each round, for each entry; larger: fewer rounds
MAX_VALUES = 1 << 26  # entries of these rows, 512 MiB
MAX_ENTRIES = 10  # entries of a direction up to which programs are solved in integers; more take tens of seconds
MAX_DOUBTFUL = 20  # the same where HiGHS finds a direction that cannot be proven, which is rare
ROUNDS = 60  # the most programs that are solved
# Attempts at a proof, as pairs (cut, bits). Entries of HiGHS's solution up to `cut` times its largest entry become
# zero; the others are rounded to multiples of 2^-bits times the largest. The first attempts give short integers, with
# which ties are found fast; the last ones keep all digits that HiGHS found.
ATTEMPTS = ((1e-6, 12), (1e-9, 36), (1e-13, 60), (0.0, 120))
DEPENDENT = 1e-10  # relative size of a pivot up to which rows count as dependent; larger: fewer rows in a proof

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def all_classified(objective: Objective, raw: Tensor) -> bool:
    """Whether this raw prediction has every row on its right side, up to rounding: no pass."""
    linear = raw if objective.offset is None else raw - objective.offset
    margin = objective.loss.margin(linear, objective.target)
    return bool((margin[objective.weight > 0] > 0).all())


def find_separation(objective: Objective, raw: Tensor) -> Separation | None:
    """The separation of the classes along unpenalised columns, or None if none is found and proven.

    raw: any raw prediction (n, n_outputs). The program starts from the rows that it classifies worst, so a good one
    saves time.

    Examples
    --------
    >>> from torchlogit.design import Dense
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [0.5], [1.0]])
    >>> objective = Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet())
    >>> find_separation(objective, objective.empty().zero_())
    Separation(complete=False, directions=((0, 0, 1),), intercepts=((0, -1),))
    """
    search = _Search(objective, raw)
    found = search.proven()
    if found is None:
        return None
    name = infinite_of_few if search.table.size <= MAX_ENTRIES else infinite
    directions, intercepts = name(search.table, search.rows, found.direction)
    return Separation(len(found.checked.tied) == 0, directions, intercepts)


@dataclass(frozen=True, slots=True, eq=False)
class _Proof:
    """A direction, and how all rows lie along it: none on the wrong side, and some margin positive."""

    direction: Direction
    checked: Checked


class _Search:
    """The search over all rows, by programs of a few of them.

    The rows that a solution gets wrong are added, and the program is solved again, until there are none.
    rows: those of the program. count: how many are added at a time.
    """

    def __init__(self, objective: Objective, raw: Tensor) -> None:
        self.objective, self.table = objective, Table.of(objective)
        size = self.table.size
        margins = min(MARGINS_PER_ENTRY * size, MAX_VALUES // size)
        self.count = min(len(raw), max(margins // max(objective.loss.n_outputs - 1, 1), 1))
        margin = objective.loss.margin(raw, objective.target)
        self.rows = self._least(torch.where(objective.weight > 0, margin, torch.inf)).sort().values

    def proven(self) -> _Proof | None:
        """A direction that is proven to separate, with as many rows apart as possible; None where none is found."""
        if self.table.size <= MAX_ENTRIES:
            return self._enumerated()
        found, doubtful = self._approximated()
        return self._enumerated() if doubtful and self.table.size <= MAX_DOUBTFUL else found

    def _enumerated(self) -> _Proof | None:
        """`proven` without tolerances: the programs are solved in integers.

        Of the rows that are tied along the solution, those that are tied along everything that is orthogonal to the
        ties of the program are ties for good; others are added.
        """
        best = None
        for _ in range(ROUNDS):
            cone = ExactCone.of(self.table, self.rows, np.zeros(self.table.size, dtype=bool))
            u, tied = cone.inner()
            undecided = (self.objective.weight > 0)[:, None]
            if any(u):
                direction = self.table.direction(u)
                checked = check(self.objective, direction)
                if len(checked.wrong):
                    self._add(self._some(checked.wrong))
                    continue
                best, undecided = _Proof(direction, checked), checked.signs == 0
            across = check(self.objective, self.table.direction(cone.across(tied)))
            if not self._add(self._some((undecided & (across.signs != 0)).any(dim=1).nonzero()[:, 0])):
                return best
        return best

    def _some(self, rows: Tensor) -> Tensor:
        """`count` of these rows, evenly spaced."""
        return rows[torch.linspace(0, len(rows) - 1, min(len(rows), self.count)).round().long()]

    def _approximated(self) -> tuple[_Proof | None, bool]:
        """`proven` with HiGHS, and whether it found a direction that could not be made exact and proven."""
        best = None
        gain = self.table.gain()
        gain = gain / max(float(np.abs(gain).max()), 1e-300)
        for _ in range(ROUNDS):
            constraints = self.table.constraints(self.rows)
            u = constraints.most(gain)
            if u is None or not np.abs(u).max() > NOISE:
                return best, False
            margins = self.table.margins(u)
            if self._add(self._least(torch.where(margins < -NOISE, margins, torch.inf))):
                continue
            if best is None and not (constraints.rows @ u > NOISE).any():  # it sets only other rows apart, if any
                apart = (margins > NOISE) & margins.isfinite()
                if self._add(self._least(torch.where(apart, -margins, torch.inf))):
                    continue
            direction, all_apart = self._exact(constraints, u)
            if direction is None:
                return best, best is None
            checked = check(self.objective, direction)
            if checked.separates:
                best = _Proof(direction, checked)
            more = checked.wrong if not checked.separates else checked.tied if all_apart else checked.tied[:0]
            if not self._add(self._some(more)):
                return best, False
        return best, False

    def _exact(self, constraints: Constraints, u: Array) -> tuple[Direction | None, bool]:
        """An exact direction, proven on the rows of the program, and whether it sets all of them apart.

        The widest direction is tried first. The rows that are tied along it are tied without rounding.
        """
        some = self.objective.sample(self.rows, torch.ones_like(self.rows))
        for widest in (partial(constraints.wider, u), constraints.widest):
            widened = widest()
            if widened is None:
                continue
            for cut, bits in ATTEMPTS:
                direction = self.table.direction(self._with_ties(constraints, widened[0], ~widened[1], cut, bits))
                if check(some, direction).separates:
                    return direction, bool(widened[1].all())
        return None, False

    def _with_ties(self, constraints: Constraints, u: Array, tied: Booleans, cut: float, bits: int) -> list[int]:
        """Integers near u, times some number, with margins of zero in the rows that are tied."""
        largest = float(np.abs(u).max())
        kept = np.flatnonzero(np.abs(u) > cut * largest)
        near = [round(Fraction(value) / Fraction(largest) * 2**bits) for value in u[kept].tolist()]
        which = np.flatnonzero(tied)[_independent(constraints.rows[np.ix_(tied, kept)])]
        rows = [[row[j] for j in kept] for row in self.table.exact(self.rows, which)] if len(which) else []
        result = [0] * len(u)
        for j, value in zip(kept.tolist(), null_vector(rows, near), strict=True):
            result[j] = value
        return result

    def _add(self, more: Tensor) -> bool:
        """Adds these rows to the program's; returns whether any of them is new."""
        rows = torch.unique(torch.cat([self.rows, more]))
        grown = len(rows) > len(self.rows)
        self.rows = rows
        return grown

    def _least(self, margin: Tensor) -> Tensor:
        """The indices of the `count` rows of smallest margin, without those of infinite margin."""
        rows = torch.topk(margin, self.count, largest=False).indices
        return rows[margin[rows] < torch.inf]


def _independent(rows: Array) -> NDArray[np.int64]:
    """The indices of rows of which all others are combinations, up to rounding."""
    if not rows.size:
        return np.zeros(0, dtype=np.int64)
    first = np.unique(rows, axis=0, return_index=True)[1]
    triangle, order = scipy.linalg.qr(rows[first].T, mode="r", pivoting=True)
    pivots = np.abs(np.diagonal(triangle))
    kept: NDArray[np.int64] = first[order[: int((pivots > DEPENDENT * pivots.max(initial=0.0)).sum())]]
    return kept
