"""Solvers: generators of `State`s.

They print nothing, save nothing, look at no clock, and do not decide when an answer is good enough: `fit` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State


class Solver(Protocol):
    """A method that lowers F step by step."""

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each step, from the start given or one of the solver's own, until no step is left to take."""
        ...


@runtime_checkable
class Resumable(Solver, Protocol):
    """A solver whose states have snapshots, so that a fit can be resumed from a checkpoint."""

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states that follow the snapshot's, with the same bits, for the same objective."""
        ...
