"""Solvers: generators of `State`s. They never print, save, stop themselves for quality, or look at a clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torchlogit.objective import Objective
from torchlogit.records import Params, State


class Solver(Protocol):
    """A way to lower F, from a start, one step at a time."""

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The states after each step; the generator ends where the solver has nothing more to do."""
        ...
