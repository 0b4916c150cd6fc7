"""Which columns of X are linear combinations of others, up to rounding, and whether exactly so.

Only columns without a penalty and bounds are looked at, the intercept's constant column among them: where they are
collinear, F alone does not determine their coefficients. Column d is a combination of others where

    |x_d - sum_j a_j x_j|  <=  64 eps (|x_d| + sum_j |a_j x_j|)

in every row of positive weight, eps = 2.2e-16. In exact arithmetic that is weaker than x_d = sum_j a_j x_j, and as much
as columns that were computed in float64 can satisfy. It does not depend on units or weights. A relation is *exact*
where it was verified in error-free arithmetic (Dekker 1971, doi:10.1007/BF01397083; Knuth 1997, section 4.2.2).

The relations are looked for in the Gram matrix of the columns, without weights, which may differ by many powers of ten.
An ordered Cholesky factorisation of it, the intercept first, keeps columns that are clearly independent of those before
them, as R does, and its rounding errors are removed by projecting on the columns kept. A column that does not pass the
test above in every row is a column of its own, however close it is to others: then its distance from them is used in
its place, and the search goes on in the digits below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.objective import Objective
from torchlogit.records import Relation

Array = NDArray[np.float64]

EPS = torch.finfo(torch.float64).eps
COLLINEAR = 64 * EPS  # relations hold up to this share of the sum of their absolute terms; larger: more columns count
# Squared pivot, of a matrix of unit diagonal, up to which a column may be collinear. Gram matrices are summed with
# errors of some 1e-15. Larger: more columns are projected and tested for nothing.
SUSPECT = 1e-10
NOISIEST = 0.5  # the same where a column is mostly rounding errors; below 1, so that the first one is always kept
PANEL = 64  # columns that are factored at a time; larger: fewer products of matrices, more of vectors
# Factors are tried as fractions up to this common denominator where that changes no term by more than this share of the
# column: precise ones, and whole numbers behind rounding errors. Larger: more attempts, which fail in the first rows.
PRECISE, ROUGH = (64, 1e-6), (1, 0.05)
SMALL = 1e-9  # terms of at most this share of the column are left out at first
SPLITTER = 2.0**27 + 1  # splits a float64 into two of 26 bits each
WHOLE = 2.0**53  # sums of whole numbers are exact up to this size
UNDERFLOW = 1e-250  # products below this may have lost digits to underflow: no relation counts as exact with them


# The factors to try, if any, in the columns' own units, from the place of a column, a combination and the lengths.
Way: TypeAlias = Callable[[int, Tensor, Tensor], Tensor | None]


def relations(objective: Objective) -> tuple[Relation, ...]:
    """The relations among the columns without penalty and bounds, in the order of their columns.

    The other columns of each are independent, and come before it unless it is only nearly a combination of these. Costs
    a Gram matrix, and about as much for each column that may be collinear as one product with X.

    Examples
    --------
    >>> from torchlogit.design import Dense
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0], [1.0], [1.0]])
    >>> relations(Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet()))
    (Relation(column=1, others=((0, -1.0), (2, 1.0)), exact=True),)
    """
    columns = _without_penalty(objective)
    if not len(columns):
        return ()
    found = sorted(_Search.of(objective, columns).relations(), key=lambda relation: relation.column)
    return tuple(_as_given(relation, objective) for relation in found)


def _without_penalty(objective: Objective) -> Tensor:
    """The rows of theta that have no penalty and no bounds, the intercept's first."""
    low, high = objective.dual_range
    free = ((low == 0) & (high == 0))[:, 0].nonzero()[:, 0]
    return free.roll(1) if objective.design.has_intercept else free


def _as_given(relation: Relation, objective: Objective) -> Relation:
    """The relation for the columns of X as given, from that for conditioned columns."""
    if objective.conditioning is None or relation.column == objective.n_features:
        return relation
    last = objective.n_features
    center = np.append(objective.conditioning.center, 0.0)
    scale = np.append(objective.conditioning.scale, 1.0)
    if scale[relation.column] == 0:  # a constant column, conditioned to zeros
        exact = relation.column not in objective.conditioning.rounded
        return Relation(relation.column, ((last, float(center[relation.column])),), exact)
    others = {j: factor * scale[j] / scale[relation.column] for j, factor in relation.others}
    shift = center[relation.column] - sum(factor * center[j] for j, factor in others.items())
    if shift != 0 or last in others:
        others[last] = others.get(last, 0.0) + shift
    given = tuple((j, float(factor)) for j, factor in sorted(others.items()) if factor != 0)
    return Relation(relation.column, given, relation.exact)


@dataclass(frozen=True, slots=True)
class _Search:
    """The search among `columns` (k,) of X, in units of their lengths `scale` (k,).

    A combination of columns is a vector (k,) of factors, in these units. gram (k, k): of the columns. shifts: by column
    of X, the center that was subtracted, times its scale.
    """

    objective: Objective
    columns: Tensor
    scale: Tensor
    gram: Tensor
    shifts: list[float]

    @classmethod
    def of(cls, objective: Objective, columns: Tensor) -> _Search:
        def term(rows: slice, block: Rows) -> Tensor:
            return block.gram((objective.weight[rows, None] > 0).double())

        gram = objective.sum_blocks(term)[0][columns][:, columns]
        diagonal = gram.diagonal()
        scale = torch.where(diagonal > 0, diagonal, 1.0).sqrt()
        moved = objective.conditioning
        shifts = np.zeros(objective.n_features) if moved is None else np.abs(moved.center * moved.scale)
        return cls(objective, columns, scale, gram / scale / scale[:, None], [*shifts.tolist(), 0.0])

    def relations(self) -> list[Relation]:
        """All relations. Stage by stage, columns are kept, or found to be combinations of those kept."""
        found: list[Relation] = []
        some = torch.eye(len(self.columns), dtype=torch.float64, device=self.scale.device)
        places, basis, gram = torch.arange(len(some)), some[:, :0], self.gram
        noise = torch.zeros(len(some), dtype=torch.float64)
        while len(places):
            kept, root = _independent(gram, noise)
            new = torch.linalg.solve_triangular(root, some[:, kept].T, upper=False).T
            along = torch.linalg.solve_triangular(root, gram[kept][:, ~kept], upper=False)
            basis = torch.cat([basis, new], dim=1)
            places, some = places[~kept], some[:, ~kept] - new @ along
            for ways in STAGE:
                confirmed = self._confirmed(places, some, ways)
                found += [relation for relation in confirmed if relation is not None]
                left = torch.tensor([relation is None for relation in confirmed], dtype=torch.bool)
                places, some = places[left], some[:, left]
                if len(places) == 0:
                    return found
                some = some - basis @ (basis.T @ self._correlations(some))
            some, gram, noise = self._unit(some)
            if not bool(gram.diagonal().all()):
                return found  # columns so small that their squares are zero
        return found

    def _correlations(self, some: Tensor) -> Tensor:
        """The inner products of the columns with these combinations, (k, combinations): X is read once."""
        theta = self._theta(some)

        def term(rows: slice, block: Rows) -> Tensor:
            return block.rmatmul(block.matmul(theta) * (self.objective.weight[rows, None] > 0))

        return self.objective.sum_blocks(term)[self.columns] / self.scale[:, None]

    def _unit(self, some: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """These combinations, scaled to length one, their Gram matrix, and the lengths that rounding may have."""
        theta = self._theta(some)

        def term(rows: slice, block: Rows) -> Tensor:
            values = block.matmul(theta) * (self.objective.weight[rows, None] > 0)
            return values.T @ values

        gram = self.objective.sum_blocks(term)
        length = gram.diagonal().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        return some / length, gram / length / length[:, None], COLLINEAR * some.abs().sum(dim=0) / length

    def _theta(self, some: Tensor) -> Tensor:
        """The combinations as vectors that X is multiplied by, (p, combinations)."""
        theta = torch.zeros(self.objective.design.shape[1], some.shape[1], dtype=torch.float64, device=some.device)
        theta[self.columns] = some / self.scale[:, None]
        return theta

    def _confirmed(self, places: Tensor, some: Tensor, ways: tuple[Way, ...]) -> list[Relation | None]:
        """For each combination, the relation for the column at its place, if one holds of those tried in these ways."""
        result: list[Relation | None] = [None] * len(places)
        for way in ways:
            tests = {}
            for i, place in enumerate(places.tolist()):
                factors = None if result[i] else way(place, some[:, i], self.scale)
                if factors is not None:
                    tests[i] = _Test.of(factors, self.columns, place, self.shifts)
            self._run(list(tests.values()))
            again = {i: test.with_ratio() for i, test in tests.items() if test.worth_a_ratio}
            self._run(list(again.values()))
            tests |= {i: test for i, test in again.items() if test.exact}
            for i, test in tests.items():
                result[i] = test.relation() if test.holds else None
        return result

    def _run(self, tests: list[_Test]) -> None:
        """Test combinations on every row of positive weight, until they fail."""
        for rows, block in self.objective.design.blocks() if tests else ():
            running = [test for test in tests if test.holds]
            involved = sorted({column for test in running for column, _ in test.terms})
            if not involved:
                return
            values = {j: _Values.of(*each) for j, each in zip(involved, block.entries(involved), strict=True)}
            counted = (self.objective.weight[rows] > 0).cpu().numpy()
            with np.errstate(all="ignore"):  # a test in which a number overflows fails
                for test in running:
                    test.update(values, counted)


def _independent(gram: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Which columns are clearly independent of those kept before them, booleans, and the Cholesky factor of the kept.

    gram (k, k): of unit diagonal. noise (k,): the length of the part of each column that may be rounding. A Cholesky
    factorisation, PANEL columns at a time, that leaves out columns with a small pivot.
    """
    k = len(gram)
    least = noise.square().clamp(SUSPECT, NOISIEST).tolist()
    root, info = torch.linalg.cholesky_ex(gram)
    if int(info) == 0 and bool((root.diagonal().square() > torch.tensor(least)).all()):
        return torch.ones(k, dtype=torch.bool), root
    root, kept = torch.zeros_like(gram), torch.zeros(k, dtype=torch.bool)
    for start in range(0, k, PANEL):
        stop = min(k, start + PANEL)
        left = gram[start:, start:stop] - root[start:, :start] @ root[start:stop, :start].T
        for j in range(stop - start):
            if float(left[j, j]) > least[start + j]:
                kept[start + j] = True
                column = left[:, j] / left[j, j].sqrt()
                root[start:, start + j] = column
                left[:, j + 1 :] -= column[:, None] * column[j + 1 : stop - start]
    return kept, root[kept][:, kept].tril()


def _fractions(largest: int, near: float, place: int, one: Tensor, scale: Tensor) -> Tensor | None:
    """The combination in the columns' own units, as whole numbers with the smallest common denominator, if any do."""
    factors = one / scale
    tolerance = near * scale[place] / scale
    for denominator in range(1, largest + 1):
        numerators = denominator * factors / factors[place]
        if bool(((numerators - numerators.round()).abs() <= tolerance).all()):
            return numerators.round()
    return None


def _without(least: float, place: int, one: Tensor, scale: Tensor) -> Tensor:
    """The combination in the columns' own units, without terms of at most this share of the column at this place."""
    factors = one / scale
    return torch.where(one.abs() > least * one[place].abs(), factors / factors[place], 0.0)


FRACTIONS: tuple[Way, ...] = (partial(_fractions, *PRECISE), partial(_fractions, *ROUGH))
DECIMALS: tuple[Way, ...] = tuple(partial(_without, least) for least in (SMALL, COLLINEAR, 0.0))
# A stage's attempts, from the Gram matrix, and after each of two projections. Longer: more digits of the factors, more
# passes.
STAGE = (FRACTIONS, (*FRACTIONS, *DECIMALS), (*FRACTIONS, *DECIMALS))


@dataclass(slots=True)
class _Test:
    """The test whether factor * column + the sum of factor * column over `others` vanishes in every row.

    It fails or goes on with each `update`. shifts: the parts of the columns, as given, that conditioning took away;
    they count as terms. ratio: of the column to the other one, in a row where that is not 0; None where there are
    several others.
    """

    column: int
    factor: float
    others: list[tuple[int, float]]
    shifts: list[float]
    holds: bool = True
    exact: bool = True
    ratio: float | None = None

    @classmethod
    def of(cls, factors: Tensor, columns: Tensor, place: int, shifts: list[float]) -> _Test:
        places = [int(j) for j in factors.nonzero()[:, 0] if j != place]
        others = sorted((int(columns[j]), float(factors[j])) for j in places)
        return cls(int(columns[place]), float(factors[place]), others, shifts)

    @property
    def terms(self) -> list[tuple[int, float]]:
        """All columns and their factors."""
        return [(self.column, self.factor), *self.others]

    @property
    def worth_a_ratio(self) -> bool:
        """Whether the relation may be exact with the ratio of its two columns as the factor."""
        return self.holds and not self.exact and self.ratio is not None

    def with_ratio(self) -> _Test:
        """The test with the ratio of the two columns as the factor."""
        assert self.ratio is not None
        return _Test(self.column, -1.0, [(self.others[0][0], self.ratio)], self.shifts)

    def relation(self) -> Relation:
        """The relation that this test has confirmed."""
        return Relation(self.column, tuple((j, -factor / self.factor) for j, factor in self.others), self.exact)

    def update(self, columns: dict[int, _Values], counted: NDArray[np.bool_]) -> None:
        """Test the rows of a block; counted: rows of positive weight."""
        total, error, lost, size = np.zeros((4, len(counted)))
        if sum(abs(factor) * columns[j].whole(factor, self.shifts[j]) for j, factor in self.terms) < WHOLE:
            for j, factor in self.terms:  # no sum of these whole numbers is rounded, in any order
                total[columns[j].rows] += factor * columns[j].values
            if not total[counted].any():
                return
            total[:] = 0
        for j, factor in self.terms:
            rows, values = columns[j].rows, columns[j].values
            term, first = _product(factor, values)
            total[rows], second = _sum(total[rows], term)
            error[rows] += first + second
            lost[rows] += np.abs(first) + np.abs(second) + columns[j].may_be_lost(term, self.shifts[j])
            size[rows] += np.abs(term) + abs(factor) * self.shifts[j]
        self.holds = bool((np.abs(total + error) <= COLLINEAR * size)[counted].all())
        self.exact = self.exact and self.holds and not (np.abs(total) + lost)[counted].any()
        if self.ratio is None and len(self.others) == 1:
            self.ratio = _ratio(columns[self.column], columns[self.others[0][0]], counted)


@dataclass(slots=True)
class _Values:
    """The stored values of a column in a block, and the rows that they are in. size: the largest, inf unless whole."""

    rows: slice | NDArray[np.int64]
    values: Array
    size: float | None = None

    @classmethod
    def of(cls, rows: slice | Tensor, values: Tensor) -> _Values:
        """numpy computes on one thread: torch's threads would wait for each other at every operation."""
        return cls(rows if isinstance(rows, slice) else rows.cpu().numpy(), values.cpu().numpy())

    def whole(self, factor: float, shift: float) -> float:
        """The largest absolute value if all values and the factor are whole numbers and exact; otherwise inf."""
        if self.size is None:
            is_whole = bool((self.values == np.rint(self.values)).all())
            self.size = float(np.abs(self.values).max(initial=0.0)) if is_whole else math.inf
        return self.size if factor.is_integer() and (not shift or self.size <= 0.5 * shift) else math.inf

    def may_be_lost(self, term: Array, shift: float) -> NDArray[np.bool_]:
        """Whether a digit of a term may be lost without a trace: to underflow, or in x - center (Sterbenz 1974)."""
        lost: NDArray[np.bool_] = (np.abs(term) < UNDERFLOW) & (self.values != 0)
        return lost | (np.abs(self.values) > 0.5 * shift) if shift else lost


def _ratio(column: _Values, other: _Values, counted: NDArray[np.bool_]) -> float | None:
    """column / other in the first row of positive weight where the other is not zero."""
    first, second = np.zeros((2, len(counted)))
    first[column.rows], second[other.rows] = column.values, other.values
    usable = np.flatnonzero((second != 0) & counted)[:1]
    return float(first[usable[0]] / second[usable[0]]) if len(usable) else None


def _sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b rounded, and what rounding took away, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _product(factor: float, values: Array) -> tuple[Array, Array]:
    """factor * values rounded, and what rounding took away, exactly unless it underflows."""
    if abs(factor) == 1:
        return factor * values, np.zeros_like(values)
    product = factor * values
    high, low = _halves(values)
    first, second = _halves(np.float64(factor))
    return product, low * second - (((product - high * first) - low * first) - high * second)


def _halves(values: Any) -> tuple[Any, Any]:
    """Two numbers of 26 bits each, whose sum is the value."""
    scaled = SPLITTER * values
    high = scaled - (scaled - values)
    return high, values - high
