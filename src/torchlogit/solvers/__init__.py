"""Solvers: generators of `State`s.

A solver prints nothing, saves nothing and measures no time. `fit` does, and decides when an answer is good enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State


class Solver(Protocol):
    """A method that lowers F step by step."""

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each step, from the given start or, for None, from one that the solver chooses."""
        ...


@runtime_checkable
class Resumable(Solver, Protocol):
    """A solver whose states have snapshots, so that a fit can be resumed from a checkpoint."""

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states that follow the snapshot's, with the same bits, for the same objective."""
        ...
