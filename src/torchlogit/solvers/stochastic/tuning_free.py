"""Three stochastic methods that need no learning rate.

    DoG          computes the rate as the distance from the start divided by the norm of all gradients so far
    ImplicitSGD  minimises the batch's loss plus the squared distance from the current point: no step is too long
    SAGA         reduces the noise of the gradients to zero, so that a constant rate converges

They are for learning and for comparison: unlike the default solver, none is invariant to the scale of a column.
docs/sgd.md compares them on one problem. They yield states until the passes given to `fit` are spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.errors import InputError
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.requirements import refuse_kinks
from torchlogit.solvers.stochastic.batches import (
    average,
    batch_gradient,
    batches,
    generator_at,
    penalty_step,
    rows_at,
    share,
    starting_point,
    state,
)

AVERAGING_POWER = 8.0  # iterate t has a weight of about t^8 in the mean, as in DoG's paper; larger: forgets faster
FIRST_MOVE = 1e-6  # length of DoG's first step over 1 + |start|; larger: a faster start that may overshoot
MAX_CURVATURE = 0.25  # the largest second derivative of a logistic loss by its raw prediction
# Log-odds that the last Newton step of an implicit step may move; its error is about the square. Smaller: more steps.
NEWTON_TOL = 1e-7
MAX_NEWTON_STEPS = 100  # the most Newton steps for one implicit step
MAX_COLUMNS = 10_000  # the most columns for which SAGA forms X'X, (p, p), to compute its rate


@dataclass(frozen=True, slots=True)
class DoG:
    """Distance over gradients: SGD whose rate is the distance from the start over the norm of the gradients so far.

        theta_(t+1) = theta_t - max(r, max_(i<=t) |theta_i - theta_0|) / sqrt(sum_(i<=t) |g_i|^2) g_t

    g_t is the gradient of a batch, and r = 1e-6 (1 + |theta_0|): small enough to be safe, and forgotten after a few
    dozen steps. The result is the mean of the iterates, later ones weighted more. A state is yielded after each epoch
    of shuffled batches. Takes smooth penalties only.

    Parameters
    ----------
    batch_size : int
        Rows of a batch.
    seed : int
        Seed of the shuffles.

    References
    ----------
    Ivgi, Hinder and Carmon 2023, arXiv:2302.12022.

    Examples
    --------
    >>> DoG(batch_size=16).seed
    0
    """

    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.batch_size)

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each epoch, without end."""
        refuse_kinks(objective, "DoG")
        theta = starting_point(objective, start)
        progress = _DoGProgress(theta, theta, theta, FIRST_MOVE * (1 + float(theta.norm())))
        return _averaged_states(objective, progress, self.batch_size, torch.Generator().manual_seed(self.seed))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot."""
        progress, generator = _DoGProgress(**snapshot["way"]), generator_at(snapshot["generator"])
        return _averaged_states(objective, progress, self.batch_size, generator)


@dataclass(frozen=True, slots=True)
class ImplicitSGD:
    """Implicit (proximal) SGD: a step minimises its batch's loss plus the squared distance from the current point.

        theta_(t+1) = argmin_w  (n / (b N)) sum_(i in batch) s_i loss_i(w) + |w - theta_t|^2 / (2 rate_t)
        rate_t = 4 b / (R^2 sqrt(t)),  R^2 the mean of |x_i|^2 over the rows seen so far

    b rows of n are in the batch, and N is the sum of the weights. A proximal step of the penalty follows. A step cannot
    overshoot, however large the rate: at most it fits the batch. 4 / R^2 is the inverse of the largest curvature of a
    typical row's loss; sqrt(t) is the decay that suits averaging. The result is the mean of the iterates, later ones
    weighted more. A state is yielded after each epoch of shuffled batches.

    Parameters
    ----------
    batch_size : int
        Rows of a batch.
    seed : int
        Seed of the shuffles.

    References
    ----------
    Toulis and Airoldi 2017, arXiv:1408.2923, for single rows; Wang, Wang and Srebro 2017, arXiv:1702.06269, for
    batches.

    Examples
    --------
    >>> ImplicitSGD(batch_size=16).seed
    0
    """

    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.batch_size)

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each epoch, without end."""
        theta = starting_point(objective, start)
        progress, generator = _ImplicitProgress(theta, theta), torch.Generator().manual_seed(self.seed)
        return _averaged_states(objective, progress, self.batch_size, generator)

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot."""
        progress, generator = _ImplicitProgress(**snapshot["way"]), generator_at(snapshot["generator"])
        return _averaged_states(objective, progress, self.batch_size, generator)


@dataclass(frozen=True, slots=True)
class SAGA:
    """SAGA: a batch's gradient, corrected by the gradients that its rows had when they were last in a batch.

        v = (n / (b N)) sum_(i in batch) s_i x_i (residual_i - table_i) + (1 / N) sum_i s_i x_i table_i
        theta_(t+1) = proximal step of the penalty from (theta_t - rate v);  table_i = residual_i for the batch

    b rows of n are in the batch, and N is the sum of the weights. v is unbiased, and at the optimum without noise, so
    that the iterates converge at a constant rate: 1 / (3 L), L the expected smoothness of a batch of b random rows,
    from the largest |x_i|^2 and the largest eigenvalue of X'X. The table holds a number per row and output. A state is
    yielded after every n rows. Takes at most 10,000 columns.

    Parameters
    ----------
    batch_size : int
        Rows of a batch.
    seed : int
        Seed of the draws.

    References
    ----------
    Defazio, Bach and Lacoste-Julien 2014, arXiv:1407.0202; L for batches: Gazagnadou, Gower and Salmon 2019,
    arXiv:1902.00071.

    Examples
    --------
    >>> SAGA(batch_size=16).seed
    0
    """

    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.batch_size)

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after every n rows, without end. The rate and the table take 1.5 passes before the first step."""
        theta = starting_point(objective, start)
        rate = 1 / (3 * (_smoothness(objective, self._rows_of_batch(objective)) or 1.0))
        table = objective.residual(objective.raw(theta))
        progress = _SagaProgress(theta, table, -objective.dual(table) / objective.total_weight, rate)
        return self._states(objective, progress, np.random.default_rng(self.seed))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot."""
        generator = np.random.default_rng()
        generator.bit_generator.state = snapshot["generator"]
        return self._states(objective, _SagaProgress(**snapshot["way"]), generator)

    def _states(self, objective: Objective, progress: _SagaProgress, generator: np.random.Generator) -> Iterator[State]:
        n, size = objective.design.shape[0], self._rows_of_batch(objective)

        def epoch() -> tuple[Tensor, float]:
            for _ in range(-(-n // size)):
                indices = generator.choice(n, size, replace=False)  # in b steps; torch would permute all n rows
                progress.move(objective, indices)
            return progress.theta, progress.passes

        return _states(objective, progress, epoch, lambda: generator.bit_generator.state)

    def _rows_of_batch(self, objective: Objective) -> int:
        return min(self.batch_size, objective.design.shape[0])


def _averaged_states(
    objective: Objective, progress: _DoGProgress | _ImplicitProgress, batch_size: int, generator: torch.Generator
) -> Iterator[State]:
    """The state after each epoch of shuffled batches, at the mean of the iterates."""

    def epoch() -> tuple[Tensor, float]:
        for batch in batches(objective, batch_size, generator):
            progress.move(objective, batch)
        progress.epoch += 1
        return progress.mean, float(progress.epoch)

    return _states(objective, progress, epoch, generator.get_state)


def _states(
    objective: Objective, progress: object, epoch: Callable[[], tuple[Tensor, float]], random_state: Callable[[], Any]
) -> Iterator[State]:
    """The state after each epoch, without end.

    progress: all that an epoch changes, except random numbers. epoch: runs one, and returns the parameters and the
    passes so far. random_state: returns the state of the random numbers.
    """
    while True:
        theta, passes = epoch()
        yield state(objective, theta, passes, lambda: {"way": dict(vars(progress)), "generator": random_state()})


@dataclass
class _DoGProgress:
    """The state of DoG. The names of the fields are keys of snapshots, here and below.

    mean: of the iterates. first: the start. distance: the largest so far from it. squares: the sum of |g|^2 so far.
    step: the number of steps.
    """

    theta: Tensor
    mean: Tensor
    first: Tensor
    distance: float
    squares: float = 0.0
    step: int = 0
    epoch: int = 0

    def move(self, objective: Objective, batch: Objective) -> None:
        """A step along the gradient of a batch."""
        gradient = batch_gradient(objective, batch, self.theta)
        self.squares += float(gradient.square().sum())
        if self.squares > 0:
            self.theta = self.theta - self.distance / math.sqrt(self.squares) * gradient
        self.distance = max(self.distance, float((self.theta - self.first).norm()))
        self.step += 1
        self.mean = average(self.mean, self.theta, self.step, AVERAGING_POWER)


@dataclass
class _ImplicitProgress:
    """The state of ImplicitSGD. rows, squares: the number of rows seen so far, and the sum of their |x|^2."""

    theta: Tensor
    mean: Tensor
    rows: int = 0
    squares: float = 0.0
    step: int = 0
    epoch: int = 0

    def move(self, objective: Objective, batch: Objective) -> None:
        """The implicit step of a batch."""
        x = batch.design.dense()
        self.rows, self.squares, self.step = self.rows + len(x), self.squares + float(x.square().sum()), self.step + 1
        curvature = MAX_CURVATURE * self.squares / self.rows * math.sqrt(self.step)
        rate = len(x) / curvature if self.squares > 0 else 1.0
        self.theta = penalty_step(objective, _implicit_step(objective, batch, x, self.theta, rate), rate)
        self.mean = average(self.mean, self.theta, self.step, AVERAGING_POWER)


@dataclass
class _SagaProgress:
    """The state of SAGA.

    table (n, n_outputs): every row's residual when it was last in a batch. mean (p, n_outputs): the gradient by these.
    """

    theta: Tensor
    table: Tensor
    mean: Tensor
    rate: float
    passes: float = 1.5

    def move(self, objective: Objective, indices: np.ndarray) -> None:
        """A step by a batch of rows."""
        rows = torch.from_numpy(indices).to(self.table.device)
        batch = rows_at(objective, rows)
        residual = batch.residual(batch.raw(self.theta))
        change = -batch.dual(residual - self.table[rows])
        step = share(objective, batch) * change + self.mean
        self.theta = penalty_step(objective, self.theta - self.rate * step, self.rate)
        self.table[rows] = residual
        self.mean += change / objective.total_weight
        self.passes += len(rows) / objective.design.shape[0]


def _check(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected at least 1")


def _implicit_step(objective: Objective, batch: Objective, x: Tensor, theta: Tensor, rate: float) -> Tensor:
    """argmin_w of the batch's losses, scaled to F / N, plus |w - theta|^2 / (2 rate); x holds the batch's rows.

    The unknown is the raw prediction u at w, with b rows in place of w's p: u = X theta - X X' C residual(u),
    C = rate n s / (b N). It is found by Newton's method. Steps are damped to ln(1 + r) / r, r the log-odds moved,
    with which a logistic loss provably falls (Bach 2010, doi:10.1214/09-EJS521).
    """
    scale = rate * share(objective, batch)
    start = raw = batch.raw(theta)
    weighted_gram = scale * (x @ x.T) * batch.weight
    residual = batch.residual(raw)
    for _ in range(MAX_NEWTON_STEPS):
        move = -_solve(batch, weighted_gram, residual, raw - start + weighted_gram @ residual)
        reach = float(batch.loss.spread(move).max())
        raw = raw + (math.log1p(reach) / reach if reach > NEWTON_TOL else 1.0) * move
        residual = batch.residual(raw)
        if reach <= NEWTON_TOL:
            break
    return theta + scale * batch.dual(residual)


def _solve(batch: Objective, weighted_gram: Tensor, residual: Tensor, right: Tensor) -> Tensor:
    """The solution m of m + weighted_gram (V_i m_i)_i = right, (b, n_outputs); V_i is the variance of row i's label."""
    b, k = right.shape
    outputs = torch.eye(k, dtype=right.dtype, device=right.device)
    variance = [batch.loss.curvature_product(residual, batch.target, e.expand_as(right)) for e in outputs]
    matrix = torch.einsum("ij,jkl->ikjl", weighted_gram, torch.stack(variance, dim=2)).reshape(b * k, b * k)
    matrix.diagonal().add_(1.0)
    move: Tensor = torch.linalg.solve(matrix, right.reshape(-1))
    return move.reshape(b, k)


def _smoothness(objective: Objective, size: int) -> float:
    """The expected smoothness of a batch of `size` random rows, for F / N without the penalty.

        (n (b - 1) L + (n - b) max_i L_i) / (b (n - 1)),  L_i = n s_i |x_i|^2 v / N, L = eigenvalue(X' diag(s) X) v / N

    v bounds the variance of a label: 1/4 for two classes, 1/2 for more. Reads X once.
    """
    n, p = objective.design.shape
    if p > MAX_COLUMNS:
        raise InputError(f"SAGA takes {MAX_COLUMNS:,} columns at most: X has {p:,}; use the default solver")
    identity = torch.eye(p, dtype=torch.float64, device=objective.target.device)
    largest = 0.0

    def term(rows: slice, block: Rows) -> Tensor:
        nonlocal largest
        x, weight = block.matmul(identity), objective.weight[rows]
        largest = max(largest, float((weight * x.square().sum(dim=1)).max()))
        return x.T @ (x * weight[:, None])

    gram = objective.sum_blocks(term)
    variance = (MAX_CURVATURE if objective.loss.n_outputs == 1 else 2 * MAX_CURVATURE) / objective.total_weight
    mean = float(torch.linalg.eigvalsh(gram)[-1])
    if n == 1:
        return variance * mean
    return variance * n * ((size - 1) * mean + (n - size) * largest) / (size * (n - 1))
