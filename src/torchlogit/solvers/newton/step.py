"""The iterate that a Newton step starts from, the step that a model returns, and the protocol of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.records import Snapshot


@dataclass(frozen=True, slots=True)
class Iterate:
    """The current point of Newton's method.

    theta (p, n_outputs). raw, residual (n, n_outputs): the raw prediction and the derivative of each row's loss by it.
    gradient (p, n_outputs): of the smooth part of F. gap_allowance: nats by which solving Newton's
    equation inexactly may widen the duality gap.
    """

    theta: Tensor
    raw: Tensor
    residual: Tensor
    gradient: Tensor
    gap_allowance: float = 0.0


@dataclass(frozen=True, slots=True)
class NewtonStep:
    """A step from an iterate.

    direction (p, n_outputs): the full step. slope_bound: the derivative of F along it; where the penalty has kinks, an
    upper bound of it. predicted_decrease: of F over the full step, by the quadratic model, in nats. passes: readings
    of X that finding it took. exact: whether it was solved for all rows, so that a dual point follows from it.
    """

    direction: Tensor
    slope_bound: float
    predicted_decrease: float
    passes: float
    exact: bool


class NewtonModel(Protocol):
    """A quadratic model of F around an iterate."""

    def step(self, objective: Objective, iterate: Iterate, exact: bool) -> NewtonStep:
        """The step from this iterate, solved for all rows where `exact`."""
        ...


@runtime_checkable
class ModelWithMemory(NewtonModel, Protocol):
    """A model that keeps something from one step to the next: a preconditioner, a set of columns, random numbers."""

    def after_step(self, reach: float) -> None:
        """Called after a step. reach: the largest change of a row's log-odds in it."""
        ...

    def snapshot(self) -> Snapshot:
        """All that the next steps depend on, besides the arguments that the model was made with."""
        ...

    def restore(self, objective: Objective, snapshot: Snapshot) -> None:
        """Continue from a snapshot of a model made with the same arguments, with the same bits."""
        ...


def newton_step(iterate: Iterate, direction: Tensor, passes: float, exact: bool) -> NewtonStep:
    """The step in this direction, a solution of H direction = -gradient under a smooth penalty."""
    slope = float((iterate.gradient * direction).sum())
    return NewtonStep(direction, slope, -0.5 * slope, passes, exact)


def snapshot_of(model: NewtonModel) -> Snapshot:
    """The snapshot of a model, empty where it has no memory."""
    return model.snapshot() if isinstance(model, ModelWithMemory) else {}
