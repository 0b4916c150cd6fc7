"""The linear programs over some rows, solved by HiGHS. Their solutions are approximate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]

# The ways in which HiGHS is called, until it has an answer: with the smallest tolerances that it takes, with its own,
# and by an interior-point method. Solutions are approximate in any case. The time limits, in seconds, end runs that
# cycle; other runs take far less.
TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10, "time_limit": 300.0}
Way: TypeAlias = tuple[str, dict[str, float]]
WAYS: tuple[Way, ...] = (("highs", TIGHT), ("highs", {}), ("highs-ipm", {}))
GAVE_UP = (1, 4)  # scipy's numbers for a limit that was reached, and for numerical difficulties
CLEAR = 1e-6  # margins above this share of the largest entries are positive, whatever HiGHS's errors
SPARSE = 0.2  # share of nonzeros up to which constraints are given to HiGHS as a sparse matrix; larger: more of them


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """The directions u (size,) with margins (m,) that are not negative: rows u >= 0, and = 0 where `shared`.

    rows (m, size): of largest entry 1. lower, upper (size,): the ends of the entries of u, -1, 0 or 1; -1 and 1 stand
    for an entry that is not limited on that side.
    """

    rows: Array
    shared: Booleans
    lower: Array
    upper: Array

    def held(self, entries: Booleans) -> Constraints:
        """The directions that are zero in these entries."""
        return Constraints(
            self.rows, self.shared, np.where(entries, 0.0, self.lower), np.where(entries, 0.0, self.upper)
        )

    def most(self, gain: Array) -> Array | None:
        """The u of largest gain' u, its entries at most 1 in size."""
        solution = self._solve(-gain, self._matrix(self.rows), self.lower, self.upper)
        return None if solution is None else np.asarray(solution.x)

    def least(self, value: Array) -> tuple[float, Array, Array] | None:
        """The minimum of value' u over entries of at most 1 in size, the u, and the rows' multipliers (m,).

        At a minimum of 0, value = rows' multipliers, beside the entries that are limited.
        """
        solution = self._solve(value, self._matrix(self.rows), self.lower, self.upper)
        if solution is None:
            return None
        multipliers = np.zeros(len(self.rows))
        multipliers[~self.shared] = -solution.ineqlin.marginals
        multipliers[self.shared] = solution.eqlin.marginals
        return float(solution.fun), np.asarray(solution.x), multipliers

    def widest(self) -> tuple[Array, Booleans] | None:
        """A u with as many margins >= 1 as can be, and which those are (m,). The entries are of any size.

        Margins of 1 or more count 1. Since u may be stretched, every margin that can be positive at all is 1 at the
        optimum, and all others are 0: HiGHS's tolerances, here its own, play no role for what is a tie.
        """
        m, size = self.rows.shape
        apart = ~self.shared
        counted = scipy.sparse.eye_array(m, format="csr")[:, apart]
        matrix = scipy.sparse.hstack([self._matrix(self.rows), -counted], format="csr")
        cost = np.concatenate([np.zeros(size), -np.ones(int(apart.sum()))])
        lower = np.concatenate([np.where(self.lower < 0, -np.inf, 0.0), np.zeros(int(apart.sum()))])
        upper = np.concatenate([np.where(self.upper > 0, np.inf, 0.0), np.ones(int(apart.sum()))])
        solution = self._solve(cost, matrix, lower, upper, ways=(*WAYS[1:], WAYS[0]))
        if solution is None:
            return None
        strict = np.zeros(m, dtype=bool)
        strict[apart] = solution.x[size:] > 0.5
        return np.asarray(solution.x[:size]), strict

    def wider(self, u: Array) -> tuple[Array, Booleans] | None:
        """`widest` from a direction u of margins that are not negative: a program of the margins that are not clear.

        Margins that are clearly positive along u stay so for t u + w, t large enough, whatever w is.
        """
        u = u / np.abs(u).max()
        margins = self.rows @ u
        clear = (margins > CLEAR) & ~self.shared
        unclear = np.concatenate([self.rows[~clear], self.shared[~clear, None]], axis=1)
        left = np.flatnonzero(~clear)[np.unique(unclear, axis=0, return_index=True)[1]]
        found = Constraints(self.rows[left], self.shared[left], self.lower, self.upper).widest()
        if found is None or not found[1].any():
            return u, clear
        w, strict = found[0], clear.copy()
        across = self.rows @ w
        needed = ((0.5 - across[clear]) / margins[clear]).max(initial=0.0)
        stretched = max(needed, 0.0) * u + w
        strict[~clear] = (across[~clear] > 0.5) & ~self.shared[~clear]
        return stretched, strict

    def smallest(self, strict: Booleans) -> Array | None:
        """The u of least sum of sizes with margins >= 1 where `strict`, and = 0 elsewhere."""
        bound = np.concatenate([self.upper > 0, self.lower < 0])
        both = self._matrix(np.concatenate([self.rows, -self.rows], axis=1))
        size = self.rows.shape[1]
        solution = Constraints(both, ~strict, np.zeros(2 * size), bound.astype(float))._solve(
            np.ones(2 * size), both, np.zeros(2 * size), np.where(bound, np.inf, 0.0), least=1.0
        )
        return None if solution is None else solution.x[:size] - solution.x[size:]

    def _matrix(self, rows: Array) -> Any:
        return scipy.sparse.csr_array(rows) if np.count_nonzero(rows) <= SPARSE * rows.size else rows

    def _solve(
        self,
        cost: Array,
        matrix: Any,
        lower: Array,
        upper: Array,
        least: float = 0.0,
        ways: tuple[Way, ...] = WAYS,
    ) -> Any | None:
        """HiGHS's answer to min cost' x, matrix x >= least, = 0 where shared, between the ends; None without one."""
        from scipy.optimize import linprog

        apart = ~self.shared
        for method, options in ways:
            result = linprog(
                cost,
                A_ub=-matrix[apart],
                b_ub=np.full(int(apart.sum()), -least),
                A_eq=matrix[self.shared] if self.shared.any() else None,
                b_eq=np.zeros(int(self.shared.sum())) if self.shared.any() else None,
                bounds=np.stack([lower, upper], axis=1),
                method=method,
                options=options,
            )
            if result.status not in GAVE_UP:
                return None if result.x is None else result
        return None
