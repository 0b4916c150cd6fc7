"""SGD: minibatches, an explicit learning rate, any torch.optim optimiser. For learning, and for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.errors import DivergedError, InputError
from torchlogit.objective import Objective
from torchlogit.records import Params, State

Optimizer = Callable[..., torch.optim.Optimizer]


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent on F divided by the sum of weights, as a PyTorch loop has it.

    A step moves against the mean gradient of `batch_size` rows plus the penalty's gradient per row. `optimizer`
    is called as optimizer([theta], lr=learning_rate): a class of torch.optim, or a functools.partial of one.
    A state is yielded after each of `n_epochs` epochs. Raises DivergedError, with the batch and the rate.

    >>> SGD(learning_rate=0.05, batch_size=5, n_epochs=20).shuffle
    False
    """

    learning_rate: float = 0.05
    batch_size: int = 5
    n_epochs: int = 20
    shuffle: bool = False
    optimizer: Optimizer = torch.optim.SGD
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate={self.learning_rate}: expected a positive number")
        if self.batch_size < 1 or self.n_epochs < 1:
            raise InputError(
                f"batch_size={self.batch_size}, n_epochs={self.n_epochs}: expected at least 1 of each"
            )

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each epoch, n_epochs of them. What is read to evaluate F is not counted as a pass."""
        generator = torch.Generator().manual_seed(self.seed)
        theta = objective.theta(start) if start is not None else torch.zeros_like(objective.start())
        optimizer = self.optimizer([theta], lr=self.learning_rate)
        n = objective.design.shape[0]
        for epoch in range(self.n_epochs):
            order = torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)
            for batch, indices in enumerate(torch.split(order.to(theta.device), self.batch_size)):
                theta.grad = _mean_gradient(objective, theta, indices)
                optimizer.step()
                if not bool(torch.isfinite(theta).all()):
                    raise DivergedError(
                        f"the coefficients left the range of floats in epoch {epoch + 1}, batch {batch + 1}, with "
                        f"learning_rate={self.learning_rate}: lower it, scale the columns, or use the default solver"
                    )
            raw = objective.raw(theta)
            yield State(objective.params(theta), epoch + 1.0, objective.value(theta, raw), raw=raw)


def _mean_gradient(objective: Objective, theta: Tensor, indices: Tensor) -> Tensor:
    """Gradient of the mean loss of these rows, plus the penalty's per unit of weight."""
    batch = objective.sample(indices, torch.ones((), dtype=theta.dtype, device=theta.device))
    total = batch.weight.sum().clamp(min=1e-300)
    losses = -batch.dual(batch.residual(batch.raw(theta))) / total
    return losses + objective.penalty_gradient(theta) / objective.total_weight
