"""Batches of rows, their gradients and the averages of iterates, for the solvers that step batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State


def batches(objective: Objective, batch_size: int, generator: torch.Generator | None) -> Iterator[Objective]:
    """Every row once, in batches of `batch_size` rows; the last batch has the rest.

    generator: draws a shuffle, whose rows are gathered. None: the rows in their own order, as views.
    """
    n = objective.design.shape[0]
    if generator is None:
        for start in range(0, n, batch_size):
            yield objective.rows(start, min(n, start + batch_size))
        return
    order = torch.randperm(n, generator=generator).to(objective.target.device)
    for indices in torch.split(order, batch_size):
        yield rows_at(objective, indices)


def rows_at(objective: Objective, indices: Tensor) -> Objective:
    """The objective of these rows, with the weights that they have."""
    return objective.sample(indices, torch.ones((), dtype=torch.float64, device=objective.target.device))


def share(objective: Objective, batch: Objective) -> float:
    """n / (b N), N the sum of the weights: the factor from the sum over a batch of b rows to an estimate of F / N.

    A row of weight 2 counts as two rows do.
    """
    return objective.design.shape[0] / (batch.design.shape[0] * objective.total_weight)


def batch_gradient(objective: Objective, batch: Objective, theta: Tensor) -> Tensor:
    """The gradient of F / N estimated from a batch, that of the penalty included, (p, n_outputs)."""
    losses = -batch.dual(batch.residual(batch.raw(theta)))
    return share(objective, batch) * losses + objective.penalty_gradient(theta) / objective.total_weight


def penalty_step(objective: Objective, theta: Tensor, rate: float) -> Tensor:
    """The proximal step of the penalty: argmin_w Omega(w) / N + |w - theta|^2 / (2 rate)."""
    theta = theta.clone()
    coef = objective.coef(theta)
    coef.copy_(objective.penalty.prox(coef, rate / objective.total_weight))
    return theta


def average(mean: Tensor, theta: Tensor, step: int, power: float = 0.0) -> Tensor:
    """The running mean of the iterates after `step` = 1, 2, ... steps, iterate t weighted by about t^power.

        mean + (power + 1) / (power + step) * (theta - mean)

    power 0 is the plain mean of Polyak and Juditsky 1992, doi:10.1137/0330046; with larger ones early iterates are
    forgotten faster (Shamir and Zhang 2013, arXiv:1212.1824).

    >>> points, mean = torch.tensor([1.0, 2.0, 6.0]), torch.tensor(0.0)
    >>> for step, point in enumerate(points, start=1):
    ...     mean = average(mean, point, step)
    >>> mean
    tensor(3.)
    """
    return torch.lerp(mean, theta, (power + 1) / (power + step))


def starting_point(objective: Objective, start: Params | None) -> Tensor:
    """The parameters to start from: those given, or else those of the empty model."""
    return objective.start() if start is None else objective.visible(objective.theta(start))


def generator_at(random_state: Tensor) -> torch.Generator:
    """A generator that continues from this state."""
    generator = torch.Generator()
    generator.set_state(random_state.cpu())
    return generator


def state(objective: Objective, theta: Tensor, passes: float, snapshot: Callable[[], Snapshot]) -> State:
    """The state at theta. Reading X here, to evaluate F, does not count as a pass."""
    raw = objective.raw(theta)
    return State(objective.params(theta), passes, objective.value(theta, raw), raw=raw, snapshot=snapshot)
