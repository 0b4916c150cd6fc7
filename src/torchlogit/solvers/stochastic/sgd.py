"""SGD: minibatches, a learning rate, and any optimizer of torch.optim. For learning and for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.errors import DivergedError, InputError
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.requirements import refuse_kinks
from torchlogit.solvers.stochastic.batches import average, batch_gradient, batches, generator_at, state

Optimizer = Callable[..., torch.optim.Optimizer]
Scheduler = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


@dataclass(frozen=True, slots=True)
class SGD:
    """Minibatch gradient descent with a learning rate and any optimizer of torch.optim, as in a PyTorch training loop.

        theta_(t+1) = theta_t - rate_t ((n / (b N)) sum_(i in batch) s_i grad loss_i + grad Omega / N)

    b rows of n are in the batch, and N is the sum of the weights. A state is yielded after each of `n_epochs` epochs.
    Takes smooth penalties only. Raises DivergedError, with the batch and the rate, where coefficients leave the range
    of floats.

    Parameters
    ----------
    learning_rate : float
        The rate, before any schedule.
    batch_size : int
        Rows of a batch.
    n_epochs : int
        Number of epochs, after which the solver ends.
    shuffle : bool
        Whether each epoch takes the rows in a new order, drawn from `seed`.
    optimizer : callable
        Called as optimizer([theta], lr=learning_rate): a class of torch.optim, or a functools.partial of one (momentum:
        partial(torch.optim.SGD, momentum=0.9)).
    scheduler : callable, optional
        Called as scheduler(optimizer), and stepped after every epoch: a partial of a class of torch.optim.lr_scheduler
        whose step() needs no argument.
    average_after : int, optional
        Number of epochs after which averaging begins: the result is the mean of the iterates from then on (Polyak and
        Juditsky 1992, doi:10.1137/0330046). None: the last iterate.
    seed : int
        Seed of the shuffles.

    Examples
    --------
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
        """The state after each of the n_epochs epochs. Reading X to evaluate F does not count as a pass."""
        refuse_kinks(objective, "SGD")
        theta = objective.theta(start) if start is not None else torch.zeros_like(objective.start())
        return self._states(objective, _Progress(self, theta))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot."""
        return self._states(objective, _Progress.restored(self, snapshot))

    def _states(self, objective: Objective, progress: _Progress) -> Iterator[State]:
        while progress.epoch < self.n_epochs:
            for number, batch in enumerate(batches(objective, self.batch_size, progress.generator), start=1):
                progress.theta.grad = batch_gradient(objective, batch, progress.theta)
                progress.optimizer.step()
                if not bool(torch.isfinite(progress.theta).all()):
                    raise DivergedError(
                        f"the coefficients left the range of floats in epoch {progress.epoch + 1}, batch {number}, "
                        f"with learning_rate={self.learning_rate}: lower it, scale the columns, or use the default "
                        "solver"
                    )
                if self.average_after is not None and progress.epoch >= self.average_after:
                    progress.averaged += 1
                    progress.mean = average(progress.mean, progress.theta, progress.averaged)
            if progress.scheduler is not None:
                progress.scheduler.step()
            progress.epoch += 1
            yield state(
                objective,
                progress.mean if progress.averaged else progress.theta,
                float(progress.epoch),
                progress.snapshot,
            )


class _Progress:
    """All that an epoch changes: theta, the optimizer, the scheduler, the random numbers, the mean of the iterates."""

    def __init__(self, solver: SGD, theta: Tensor) -> None:
        self.theta = theta
        self.optimizer = solver.optimizer([theta], lr=solver.learning_rate)
        self.scheduler = solver.scheduler(self.optimizer) if solver.scheduler is not None else None
        self.generator = torch.Generator().manual_seed(solver.seed) if solver.shuffle else None
        self.mean, self.averaged, self.epoch = theta.clone(), 0, 0

    def snapshot(self) -> Snapshot:
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
    def restored(cls, solver: SGD, snapshot: Snapshot) -> _Progress:
        progress = cls(solver, snapshot["theta"])
        optimizer = snapshot["optimizer"]
        if progress.scheduler is not None:
            progress.scheduler.load_state_dict(snapshot["scheduler"])
        progress.optimizer.load_state_dict({**optimizer, "state": {}})
        for buffers in optimizer["state"].values():  # of theta; load_state_dict would change their types, and so bits
            progress.optimizer.state[progress.theta] = buffers
        progress.generator = None if progress.generator is None else generator_at(snapshot["generator"])
        progress.mean, progress.averaged, progress.epoch = snapshot["mean"], snapshot["averaged"], snapshot["epoch"]
        return progress
