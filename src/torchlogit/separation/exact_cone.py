"""The directions along which no margin of some rows is negative, in integers, without tolerances: for few entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.exact import alternative, null_vector
from torchlogit.separation.table import Table

GENERIC = 1 << 20  # the size of the random entries of a direction that no margin is zero along by chance

Vector = list[int]


@dataclass(frozen=True, slots=True, eq=False)
class ExactCone:
    """The u with rows u >= 0 that are zero in all entries but the `free` ones. rows: distinct, in the free entries."""

    rows: list[Vector]
    free: list[int]
    size: int

    @classmethod
    def of(cls, table: Table, rows: Tensor, held: NDArray[np.bool_]) -> ExactCone:
        """Those of the rows with these indices. held (size,): entries that are zero."""
        free = np.flatnonzero((table.lower < table.upper) & ~held).tolist()
        shared = table.constraints(rows).shared
        found = dict[tuple[int, ...], None]()
        for margin, both in zip(table.exact(rows, np.arange(len(shared))), shared.tolist(), strict=True):
            kept = tuple(margin[j] for j in free)
            found[kept] = None
            if both:
                found[tuple(-value for value in kept)] = None
        for i, j in enumerate(free):
            if table.lower[j] == 0 or table.upper[j] == 0:
                found[tuple((1 if table.upper[j] else -1) * int(i == k) for k in range(len(free)))] = None
        return cls([list(margin) for margin in found if any(margin)], free, table.size)

    def inner(self) -> tuple[Vector, list[Vector]]:
        """A u with the most positive margins, and the rows whose margins are zero for every u of the cone.

        u is a sum. As long as some u' of the cone has a positive sum of the margins that are still zero, u' is added.
        """
        total, tied = [0] * len(self.free), self.rows
        while tied and (more := alternative(self.rows, [-sum(column) for column in zip(*tied, strict=True)])):
            total = [a + b for a, b in zip(total, more, strict=True)]
            tied = [row for row in tied if not _product(row, total)]
        return self._whole(total), tied

    def below(self, function: Vector) -> Vector | None:
        """A u of the cone where function' u < 0, or None where there is none."""
        found = alternative(self.rows, [function[j] for j in self.free])
        return None if found is None else self._whole(found)

    def across(self, tied: list[Vector]) -> Vector:
        """A random u along which these rows are zero, and others only if they are combinations of them."""
        near = np.random.default_rng(0).integers(-GENERIC, GENERIC, len(self.free)).tolist()
        return self._whole(null_vector(tied, near))

    def _whole(self, kept: Vector) -> Vector:
        result = [0] * self.size
        for j, value in zip(self.free, kept, strict=True):
            result[j] = value
        return result


def _product(row: Vector, u: Vector) -> int:
    return sum(a * b for a, b in zip(row, u, strict=True))
