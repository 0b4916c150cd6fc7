"""Solvers: generators of `State`s. They never print, save, stop themselves for quality, or look at a clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State


class Solver(Protocol):
    """A way to lower F, from a start, one step at a time."""

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The states after each step; the generator ends where the solver has nothing more to do."""
        ...


@runtime_checkable
class Resumable(Solver, Protocol):
    """A solver whose states have snapshots, so that a fit can go on from a checkpoint."""

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of this snapshot, to the same bits, on the same objective."""
        ...
