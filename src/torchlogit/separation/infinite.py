"""Which coefficients of separated classes go to infinity, however F approaches its infimum.

The directions V of the package's docstring, all of whose margins are >= 0, are a cone. A linear function f of the
coefficients, such as one of them, goes to plus infinity along every sequence of points on which F goes to its infimum
exactly if f(V) >= 0 for all V of the cone, and > 0 for one:

- If so, f is a sum of margins with factors >= 0, and of margins that are zero in the whole cone with any factors
  (Farkas' lemma). Some margin of the first kind goes to infinity with F to its infimum, and no margin of either kind to
  minus infinity; those of the second kind converge.
- If f(V) < 0 for some V of the cone, F is no higher after a step along V, which lowers f as far as one likes. If f is
  zero on the whole cone, it converges.

So f is found by minimising it over the cone; the factors of the margins prove it, in exact arithmetic. Where columns
are collinear, only some choice of independent columns has coefficients that are determined. The one that is made
has the columns of the smallest direction first, and the coefficients of the others are held at zero.

References: Geyer 2009, doi:10.1214/08-EJS349 (the cone of directions of recession); Konis 2007 (linear programs).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.exact import combination, integers
from torchlogit.separation.directions import Direction, check
from torchlogit.separation.exact_cone import ExactCone
from torchlogit.separation.programs import Constraints
from torchlogit.separation.table import Table

NOISE = 1e-7  # a minimum above minus this, of a function of largest factor 1, may be zero; larger: fewer are excluded
MULTIPLIER = 1e-9  # multipliers up to this share of the largest are taken as zero
# A column counts as a combination of others where its squared distance from one is at most this share of its square.
# Larger: more columns count as such.
COLLINEAR = 1e-12
ROWS_PER_ENTRY = 2  # rows of the first program that are not tied, for each entry; larger: fewer rows are added later
# The most entries of all programs that are solved for this, margins times entries of a direction: up to a minute.
# More: more coefficients are named where tables are large.
MAX_WORK = 2e7
# The most margins whose sum is proven to be a function without rounding. That takes seconds for 150; where more are
# needed, HiGHS's minimum is taken as it is.
MAX_EXACT = 150

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Named = tuple[tuple[int, int, int], ...]
Intercepts = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Function:
    """A coefficient or an intercept (feature None) of an output as a function of u, up to a positive factor.

    sign: that of its value along the direction that was found. factors: of every entry of u, exact.
    """

    feature: int | None
    output: int
    sign: int
    factors: list[Fraction]

    def signed(self) -> Array:
        """The factors times the sign, the largest 1 in size."""
        largest = max(map(abs, self.factors)) * self.sign
        return np.array([float(factor / largest) for factor in self.factors])

    def exactly(self) -> list[int]:
        """The factors times the sign and some positive number."""
        return [value * self.sign for value in integers(self.factors)]


def infinite(table: Table, rows: Tensor, direction: Direction) -> tuple[Named, Intercepts]:
    """The coefficients (feature, output, sign) and the intercepts (output, sign) that go to infinity.

    rows: indices of the rows among which those that matter are looked for first. direction: one that separates, with as
    many rows apart as can be.
    """
    if ROWS_PER_ENTRY * table.size**2 > MAX_WORK:
        return (), ()  # not even one program
    u = table.units_of(direction)
    cone = _Cone(table, _near_ties(table, rows, u), u)
    return _listed(cone.determined(_functions(table, cone.inner)))


def infinite_of_few(table: Table, rows: Tensor, direction: Direction) -> tuple[Named, Intercepts]:
    """`infinite` in exact arithmetic throughout: for few entries."""
    held = np.zeros(table.size, dtype=bool)
    u = table.units_of(direction)
    cone = ExactCone.of(table, rows, held)
    flat = table.direction(cone.across(cone.rows))
    if any(flat.entries) and not bool((check(table.objective, flat).signs[table.objective.weight > 0] != 0).any()):
        held = _Cone(table, rows, u).held
    found, left = list[_Function](), _functions(table, ExactCone.of(table, rows, held).inner()[0])
    while left:
        lowest = ExactCone.of(table, rows, held).below(left[0].exactly())
        if lowest is None:
            found.append(left.pop(0))
            continue
        wrong = check(table.objective, table.direction(lowest)).wrong
        if len(wrong):
            rows = torch.unique(torch.cat([rows, wrong[: len(rows)]]))
        else:
            left = [f for f in left if sum(a * b for a, b in zip(f.exactly(), lowest, strict=True)) >= 0]
    return _listed(found)


def _listed(found: list[_Function]) -> tuple[Named, Intercepts]:
    named = tuple((f.feature, f.output, f.sign) for f in found if f.feature is not None)
    return named, tuple((f.output, f.sign) for f in found if f.feature is None)


def _near_ties(table: Table, rows: Tensor, u: Array) -> Tensor:
    """Those of these rows that are tied along u, and a few for each entry that are nearest to a tie."""
    margins, order = table.margins(u)[rows].sort()
    return rows[order[: int((margins <= NOISE).sum()) + ROWS_PER_ENTRY * table.size]].sort().values


def _functions(table: Table, u: Array | list[int]) -> list[_Function]:
    """The coefficients and intercepts that are not zero along u, in order, the intercepts last."""
    objective, outputs = table.objective, table.objective.loss.n_outputs
    exact, noise = (u, 0.0) if isinstance(u, list) else (u.tolist(), NOISE)
    result = []
    for feature in [*range(objective.n_features), *([None] if objective.design.has_intercept else [])]:
        if feature is not None and not any(exact[feature * outputs : (feature + 1) * outputs]):
            continue
        parts = [_by_output(table, feature, k) for k in range(outputs)]
        relative = feature is None or objective.n_free < outputs  # only differences of outputs count
        mean = [sum(column, Fraction(0)) / outputs for column in zip(*parts, strict=True)]
        for k, part in enumerate(parts):
            factors = [a - b for a, b in zip(part, mean, strict=True)] if relative and outputs > 1 else part
            terms = [factor * Fraction(value) for factor, value in zip(factors, exact, strict=True) if factor and value]
            value, size = sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))
            if abs(value) > noise * size:
                result.append(_Function(feature, k, 1 if value > 0 else -1, factors))
    return result


def _by_output(table: Table, feature: int | None, output: int) -> list[Fraction]:
    """The factors of u in the coefficient of this feature, or the intercept, for the columns of X as given."""
    p, outputs = len(table.scale), table.objective.loss.n_outputs
    factors = [Fraction(0)] * (p * outputs)
    if feature is not None:
        factors[feature * outputs + output] = Fraction(1)
        return factors
    conditioning = table.objective.conditioning
    for j in range(p - 1):
        center = Fraction(float(table.center[j]))
        if conditioning is not None:
            center += Fraction(float(conditioning.scale[j])) * Fraction(float(conditioning.center[j]))
        factors[j * outputs + output] = -center / Fraction(float(table.scale[j]))
    factors[(p - 1) * outputs + output] = Fraction(1)
    return factors


class _Cone:
    """The directions u whose margins are not negative in any row, by programs of a few rows, which may grow.

    inner: one of them, with as many rows apart as can be. held: the entries that are held at zero. work: the entries
    of the programs that were solved.
    """

    def __init__(self, table: Table, rows: Tensor, u: Array) -> None:
        self.table, self.rows, self.work = table, rows, 0
        self.held: Booleans = np.zeros(table.size, dtype=bool)
        self.inner = self._representative(u)
        self.inner_margins = table.margins(self.inner) * float(np.abs(self.inner).max())

    def _representative(self, u: Array) -> Array:
        """A direction like u that is zero in columns that are combinations of others; these are held at zero then."""
        table = self.table
        constraints, gram = table.constraints(self.rows), table.gram()
        free = np.flatnonzero((table.lower < table.upper).reshape(len(table.scale), -1)[:, 0])
        if len(_independent_columns(gram, free)) == len(free):
            return u
        strict = constraints.rows @ u > NOISE * np.abs(u).max()
        smallest = constraints.smallest(strict & ~constraints.shared)
        if smallest is None:
            return u
        size = np.abs(smallest).reshape(len(table.scale), -1).max(axis=1)
        last = np.arange(len(size)) == (len(size) - 1 if table.objective.design.has_intercept else -1)
        order = np.lexsort([-size, ~last, size == 0])  # the intercept before the columns that are not needed
        kept = _independent_columns(gram, order[np.isin(order, free)])
        self.held = np.repeat(~np.isin(np.arange(len(table.scale)), kept), table.objective.loss.n_outputs)
        widest = self._constraints().widest()
        return u if widest is None else widest[0] / max(float(np.abs(widest[0]).max()), 1e-300)

    def determined(self, functions: list[_Function]) -> list[_Function]:
        """Those of these functions that are found to go to infinity with their sign."""
        left = list(functions)
        while len(left) > 1 and self.work < MAX_WORK:  # those that can be negative, many at a time
            u = self._least(np.sum([f.signed() for f in left], axis=0))[1]
            excluded = [f for f in left if f.signed() @ u < -NOISE]
            left = [f for f in left if f not in excluded]
            if not excluded:
                break
        found = []
        while left and self.work < MAX_WORK:
            function = left.pop(0)
            value, u, constraints, multipliers = self._least(function.signed())
            if value < -NOISE:
                left = [f for f in left if f.signed() @ u >= -NOISE]
            elif self._is_proven(function, constraints, multipliers):
                found.append(function)
        return found

    def _constraints(self) -> Constraints:
        return self.table.constraints(self.rows).held(self.held)

    def _least(self, value: Array) -> tuple[float, Array, Constraints, Array]:
        """The minimum of value' u over the cone, or a u where it is negative; the constraints and their multipliers.

        A minimum of zero over fewer rows is one over all. Below zero, u is moved along the inner direction until it is
        in the cone; where that does not leave the value negative, the rows that u gets wrong are added.
        """
        while True:
            constraints = self._constraints()
            solution, self.work = constraints.least(value), self.work + constraints.rows.size
            if solution is None or (self.work >= MAX_WORK and solution[0] < -NOISE):
                return -1.0, np.zeros(self.table.size), constraints, np.zeros(len(constraints.rows))
            least, u, multipliers = solution
            if least >= -NOISE:
                return least, u, constraints, multipliers
            margins = self.table.margins(u) * float(np.abs(u).max())
            wrong = torch.where(margins < -NOISE, margins, torch.inf)
            inside = self.inner_margins > NOISE
            share = float(torch.where(inside & wrong.isfinite(), -wrong / self.inner_margins, 0.0).max())
            moved = u + share * self.inner
            tied = torch.where(inside, torch.inf, wrong)
            if value @ moved < -NOISE * max(1.0, share) and not bool(tied.isfinite().any()):
                return float(value @ moved), moved, constraints, multipliers
            worst = torch.topk(wrong, min(len(wrong), len(self.rows)), largest=False).indices
            rows = torch.unique(torch.cat([self.rows, worst[wrong[worst].isfinite()]]))
            if len(rows) == len(self.rows):
                return least, u, constraints, multipliers
            self.rows = rows

    def _is_proven(self, function: _Function, constraints: Constraints, multipliers: Array) -> bool:
        """Whether the function is a sum of the margins, without rounding, with factors >= 0 unless they are shared.

        Entries that are held or fixed at zero do not count. Of those that have one sign, what is left of the function
        has to have that sign.
        """
        which = np.flatnonzero(np.abs(multipliers) > MULTIPLIER * np.abs(multipliers).max(initial=0.0))
        if len(which) > MAX_EXACT:
            return True
        rows = self.table.exact(self.rows, which) if len(which) else []
        signed = function.signed()
        rest = np.abs(signed - multipliers @ constraints.rows) > NOISE
        lower, upper = constraints.lower, constraints.upper
        one_sided = (lower < upper) & ((lower == 0) | (upper == 0)) & rest
        equations = np.flatnonzero((lower < upper) & ~one_sided)
        target = function.exactly()
        factors = combination([[row[j] for j in equations] for row in rows], [target[j] for j in equations])
        if factors is None:
            return False
        if any(factor < 0 for factor, i in zip(factors, which, strict=True) if not constraints.shared[i]):
            return False
        for j in np.flatnonzero(one_sided):
            left = target[j] - sum(factor * row[j] for factor, row in zip(factors, rows, strict=True))
            if left * (1 if lower[j] == 0 else -1) < 0:
                return False
        return True


def _independent_columns(gram: Array, order: NDArray[np.int64]) -> list[int]:
    """The columns, in this order, that are no combinations of those kept before them: a Cholesky factorisation."""
    left, kept = gram.copy(), []
    for j in order.tolist():
        if left[j, j] > COLLINEAR * gram[j, j]:
            kept.append(j)
            left -= np.outer(left[:, j], left[j] / left[j, j])
    return kept
