"""A Newton step, and what makes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.records import Snapshot


@dataclass(frozen=True, slots=True)
class Point:
    """theta, and the residual and the gradient of F's smooth part there. room: nats that a dual gap may be too wide."""

    theta: Tensor
    residual: Tensor
    gradient: Tensor
    room: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A step (p, n_outputs). slope: of F along it, at most. promise: what F should lose. passes: what it took."""

    step: Tensor
    slope: float
    promise: float
    passes: float
    exact: bool


class NewtonModel(Protocol):
    """A model of F around a point."""

    def step(self, objective: Objective, point: Point, exact: bool) -> Step:
        """The model's step from this point, solved for all rows where `exact`."""
        ...

    def moved(self, reach: float) -> None:
        """Told of a step that moved the log-odds of a row by this much."""
        ...

    def snapshot(self) -> Snapshot:
        """What it goes by, from step to step, besides what it was made of."""
        ...

    def go_on(self, objective: Objective, snapshot: Snapshot) -> None:
        """To where this snapshot of such a model was taken."""
        ...
