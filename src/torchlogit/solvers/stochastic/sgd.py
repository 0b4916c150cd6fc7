"""SGD: minibatches, an explicit learning rate, any torch.optim optimiser. For learning, and for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.errors import DivergedError, InputError
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.stochastic.batches import average, batch_gradient, batches, generator_at, refuse_kinks, state

Optimizer = Callable[..., torch.optim.Optimizer]
Scheduler = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent on F divided by the sum of weights, as a PyTorch loop has it.

    A step moves against the mean gradient of `batch_size` rows plus the penalty's gradient per row. A state is yielded
    after each of `n_epochs` epochs. Raises DivergedError, with the batch and the rate.

    shuffle: every epoch takes the rows in an order drawn from `seed`. optimizer: called as optimizer([theta],
    lr=learning_rate), a class of torch.optim or a functools.partial of one (momentum: partial(torch.optim.SGD,
    momentum=0.9)). scheduler: called as scheduler(optimizer), a partial of a class of torch.optim.lr_scheduler whose
    step() needs no argument; stepped after every epoch. average_after: the answer is the mean of the points after each
    step of all but the first so many epochs (Polyak and Juditsky 1992, doi:10.1137/0330046); None: the last point.

    >>> from functools import partial
    >>> halved = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    >>> SGD(learning_rate=0.5, batch_size=32, shuffle=True, scheduler=halved, average_after=1).n_epochs
    20
    """

    learning_rate: float = 0.05
    batch_size: int = 5
    n_epochs: int = 20
    shuffle: bool = False
    optimizer: Optimizer = torch.optim.SGD
    scheduler: Scheduler | None = None
    average_after: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate={self.learning_rate}: expected a positive number")
        if self.batch_size < 1 or self.n_epochs < 1:
            raise InputError(f"batch_size={self.batch_size}, n_epochs={self.n_epochs}: expected at least 1 of each")
        if self.average_after is not None and not 0 <= self.average_after < self.n_epochs:
            raise InputError(
                f"average_after={self.average_after}: expected fewer than n_epochs={self.n_epochs}, or None"
            )

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each epoch, n_epochs of them. What is read to evaluate F is not counted as a pass."""
        refuse_kinks(objective, "SGD")
        theta = objective.theta(start) if start is not None else torch.zeros_like(objective.start())
        return self._states(objective, _Descent(self, theta))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states that are left."""
        return self._states(objective, _Descent.at(self, snapshot))

    def _states(self, objective: Objective, way: _Descent) -> Iterator[State]:
        while way.epoch < self.n_epochs:
            for number, batch in enumerate(batches(objective, self.batch_size, way.generator), start=1):
                way.theta.grad = batch_gradient(objective, batch, way.theta)
                way.optimizer.step()
                if not bool(torch.isfinite(way.theta).all()):
                    raise DivergedError(
                        f"the coefficients left the range of floats in epoch {way.epoch + 1}, batch {number}, with "
                        f"learning_rate={self.learning_rate}: lower it, scale the columns, or use the default solver"
                    )
                if self.average_after is not None and way.epoch >= self.average_after:
                    way.averaged += 1
                    way.mean = average(way.mean, way.theta, way.averaged)
            if way.scheduler is not None:
                way.scheduler.step()
            way.epoch += 1
            yield state(objective, way.mean if way.averaged else way.theta, float(way.epoch), way.snapshot)


class _Descent:
    """What moves: theta, what the optimizer and the schedule keep, the order of the rows, the mean of the points."""

    def __init__(self, solver: SGD, theta: Tensor) -> None:
        self.theta = theta
        self.optimizer = solver.optimizer([theta], lr=solver.learning_rate)
        self.scheduler = solver.scheduler(self.optimizer) if solver.scheduler is not None else None
        self.generator = torch.Generator().manual_seed(solver.seed) if solver.shuffle else None
        self.mean, self.averaged, self.epoch = theta.clone(), 0, 0

    def snapshot(self) -> Snapshot:
        """All of it."""
        return {
            "theta": self.theta,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "generator": None if self.generator is None else self.generator.get_state(),
            "mean": self.mean,
            "averaged": self.averaged,
            "epoch": self.epoch,
        }

    @classmethod
    def at(cls, solver: SGD, snapshot: Snapshot) -> _Descent:
        """The descent of this snapshot."""
        way = cls(solver, snapshot["theta"])
        optimizer = snapshot["optimizer"]
        if way.scheduler is not None:
            way.scheduler.load_state_dict(snapshot["scheduler"])
        way.optimizer.load_state_dict({**optimizer, "state": {}})
        for kept in optimizer["state"].values():  # of theta; load_state_dict would change types, and with them bits
            way.optimizer.state[way.theta] = kept
        way.generator = None if way.generator is None else generator_at(snapshot["generator"])
        way.mean, way.averaged, way.epoch = snapshot["mean"], snapshot["averaged"], snapshot["epoch"]
        return way
