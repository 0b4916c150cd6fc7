"""Three stochastic methods without a learning rate, each with one idea of where to get it from.

    DoG          from the path: the distance gone so far over the gradients met so far
    ImplicitSGD  no step can be too long: each one minimises its batch's loss, near where it stands
    SAGA         from the rows' sizes: with the noise taken out of the gradients, a constant rate arrives

All are for learning, and for comparison: none is invariant to the scale of a column, as the default solver is.
docs/sgd.md shows them on one problem. They go on until the passes given to `fit` are spent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogit.design import Rows
from torchlogit.errors import InputError
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.stochastic.batches import (
    average,
    batch_gradient,
    batches,
    generator_at,
    penalty_step,
    refuse_kinks,
    rows_at,
    share,
    starting_point,
    state,
)

FORGETTING = 8.0  # the averages' power of t, that of DoG's authors
FIRST_MOVE = 1e-6  # how far DoG's first step goes, relative to 1 + |start|
CURVATURE = 0.25  # the most that a logistic loss has, by its raw prediction
SETTLED = 1e-7  # the last Newton step of an implicit one moves no log-odds by more; the error is its square
MOST_NEWTON_STEPS = 100
MOST_COLUMNS = 10_000  # of X'X, from which SAGA's rate is


@dataclass(frozen=True, slots=True)
class DoG:
    """Distance over gradients: SGD whose rate is the distance gone from the start over the root of the sum of squares.

        theta_(t+1) = theta_t - max(r, max_(i<=t) |theta_i - theta_0|) / sqrt(sum_(i<=t) |g_i|^2) g_t

    r is a millionth of 1 + |theta_0|: small enough to be safe, and forgotten after a few dozen steps. The answer is the
    mean of the points, later ones weighted more. A state is yielded after each epoch of shuffled batches.

    Source: Ivgi, Hinder and Carmon 2023, arXiv:2302.12022.

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
        way = _Path(theta, theta, theta, FIRST_MOVE * (1 + float(theta.norm())))
        return self._states(objective, way, torch.Generator().manual_seed(self.seed))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of the snapshot."""
        return self._states(objective, _Path(**snapshot["way"]), generator_at(snapshot["generator"]))

    def _states(self, objective: Objective, way: _Path, generator: torch.Generator) -> Iterator[State]:
        while True:
            for batch in batches(objective, self.batch_size, generator):
                gradient = batch_gradient(objective, batch, way.theta)
                way.squares += float(gradient.square().sum())
                if way.squares > 0:
                    way.theta = way.theta - way.distance / math.sqrt(way.squares) * gradient
                way.distance = max(way.distance, float((way.theta - way.first).norm()))
                way.step += 1
                way.mean = average(way.mean, way.theta, way.step, FORGETTING)
            way.epoch += 1
            yield state(objective, way.mean, float(way.epoch), lambda: _snapshot(way, generator.get_state()))


@dataclass(frozen=True, slots=True)
class ImplicitSGD:
    """Implicit (proximal) steps: each minimises its batch's loss plus the squared distance from where it stands.

        theta_(t+1) = argmin_w  (n / (b N)) sum_(i in batch) s_i loss_i(w) + |w - theta_t|^2 / (2 rate_t)
        rate_t = 4 b / (R^2 sqrt(t)),  R^2 the mean of |x_i|^2 over the rows seen so far

    and then the same for the penalty. However large the rate, a step cannot overshoot: at most it fits the batch.
    4 / R^2 is one over the largest curvature of a typical row's loss; the root is for the average. The answer is
    the mean of the points, later ones weighted more. A state is yielded after each epoch of shuffled batches.

    Source: Toulis and Airoldi 2017, arXiv:1408.2923 (one row at a time); Wang, Wang and Srebro 2017, arXiv:1702.06269
    (a batch).

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
        return self._states(objective, _Seen(theta, theta), torch.Generator().manual_seed(self.seed))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of the snapshot."""
        return self._states(objective, _Seen(**snapshot["way"]), generator_at(snapshot["generator"]))

    def _states(self, objective: Objective, way: _Seen, generator: torch.Generator) -> Iterator[State]:
        while True:
            for batch in batches(objective, self.batch_size, generator):
                x = batch.design.dense()
                way.rows, way.squares, way.step = way.rows + len(x), way.squares + float(x.square().sum()), way.step + 1
                curvature = CURVATURE * way.squares / way.rows * math.sqrt(way.step)
                rate = len(x) / curvature if way.squares > 0 else 1.0
                way.theta = penalty_step(objective, _implicit_step(objective, batch, x, way.theta, rate), rate)
                way.mean = average(way.mean, way.theta, way.step, FORGETTING)
            way.epoch += 1
            yield state(objective, way.mean, float(way.epoch), lambda: _snapshot(way, generator.get_state()))


@dataclass(frozen=True, slots=True)
class SAGA:
    """SAGA: a batch's gradient, corrected by what its rows' gradients were when they were last met.

        v = (n / (b N)) sum_(i in batch) s_i x_i (residual_i - table_i) + (1 / N) sum_i s_i x_i table_i
        theta_(t+1) = penalty's proximal step of (theta_t - rate v);  table_i = residual_i for the batch

    v has no bias, and at the optimum no noise: the rate stays as it is, and the points converge. The rate is 1 / (3 L),
    L the smoothness to expect of a batch of b random rows, from the largest |x_i|^2 and the largest eigenvalue of X'X.
    The table holds a number per row and output. A state is yielded after every n rows.

    Source: Defazio, Bach and Lacoste-Julien 2014, arXiv:1407.0202; L for batches: Gazagnadou, Gower and Salmon 2019,
    arXiv:1902.00071.

    >>> SAGA(batch_size=16).seed
    0
    """

    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.batch_size)

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after every n rows, without end. A pass and a half go before: the constants, and the table."""
        theta = starting_point(objective, start)
        rate = 1 / (3 * (_smoothness(objective, self._size(objective)) or 1.0))
        table = objective.residual(objective.raw(theta))
        way = _Table(theta, table, -objective.dual(table) / objective.total_weight, rate)
        return self._states(objective, way, np.random.default_rng(self.seed))

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of the snapshot."""
        draw = np.random.default_rng()
        draw.bit_generator.state = snapshot["generator"]
        return self._states(objective, _Table(**snapshot["way"]), draw)

    def _states(self, objective: Objective, way: _Table, draw: np.random.Generator) -> Iterator[State]:
        """draw: numpy's, which draws b of n in b steps, as torch does not."""
        n, size, rate = objective.design.shape[0], self._size(objective), way.rate
        while True:
            for _ in range(-(-n // size)):
                rows = torch.from_numpy(draw.choice(n, size, replace=False)).to(way.table.device)
                batch = rows_at(objective, rows)
                residual = batch.residual(batch.raw(way.theta))
                change = -batch.dual(residual - way.table[rows])
                step = share(objective, batch) * change + way.mean
                way.theta = penalty_step(objective, way.theta - rate * step, rate)
                way.table[rows] = residual
                way.mean += change / objective.total_weight
                way.passes += size / n
            yield state(objective, way.theta, way.passes, lambda: _snapshot(way, draw.bit_generator.state))

    def _size(self, objective: Objective) -> int:
        return min(self.batch_size, objective.design.shape[0])


@dataclass
class _Path:
    """What moves in DoG. first: where it started. squares: of the gradients so far. step: how many they were."""

    theta: Tensor
    mean: Tensor
    first: Tensor
    distance: float
    squares: float = 0.0
    step: int = 0
    epoch: int = 0


@dataclass
class _Seen:
    """What moves in ImplicitSGD. rows, squares: of the rows seen so far, their number and the sum of |x|^2."""

    theta: Tensor
    mean: Tensor
    rows: int = 0
    squares: float = 0.0
    step: int = 0
    epoch: int = 0


@dataclass
class _Table:
    """What moves in SAGA, and its rate. table: every row's residual when last met. mean: their gradient over N."""

    theta: Tensor
    table: Tensor
    mean: Tensor
    rate: float
    passes: float = 1.5


def _snapshot(way: _Path | _Seen | _Table, generator: Any) -> Snapshot:
    return {"way": dict(vars(way)), "generator": generator}


def _check(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected at least 1")


def _implicit_step(objective: Objective, batch: Objective, x: Tensor, theta: Tensor, rate: float) -> Tensor:
    """argmin_w of the batch's losses, scaled to F / N, plus |w - theta|^2 / (2 rate); x are the batch's rows.

    Solved for the raw prediction u at w, of b numbers where w has p: u = X theta - X X' C residual(u), C = rate n s /
    (b N). Newton's method, its steps damped to ln(1 + r) / r, r the log-odds they move, under which a logistic loss
    provably falls (Bach 2010, doi:10.1214/09-EJS521).
    """
    scale = rate * share(objective, batch)
    start = raw = batch.raw(theta)
    weighted_gram = scale * (x @ x.T) * batch.weight
    residual = batch.residual(raw)
    for _ in range(MOST_NEWTON_STEPS):
        move = -_solve(batch, weighted_gram, residual, raw - start + weighted_gram @ residual)
        reach = float(batch.loss.spread(move).max())
        raw = raw + (math.log1p(reach) / reach if reach > SETTLED else 1.0) * move
        residual = batch.residual(raw)
        if reach <= SETTLED:
            break
    return theta + scale * batch.dual(residual)


def _solve(batch: Objective, weighted_gram: Tensor, residual: Tensor, right: Tensor) -> Tensor:
    """The m of m + weighted_gram (V_i m_i)_i = right, V_i the variance of row i's label, (b, n_outputs)."""
    b, k = right.shape
    outputs = torch.eye(k, dtype=right.dtype, device=right.device)
    variance = [batch.loss.curvature_product(residual, batch.target, e.expand_as(right)) for e in outputs]
    matrix = torch.einsum("ij,jkl->ikjl", weighted_gram, torch.stack(variance, dim=2)).reshape(b * k, b * k)
    matrix.diagonal().add_(1.0)
    move: Tensor = torch.linalg.solve(matrix, right.reshape(-1))
    return move.reshape(b, k)


def _smoothness(objective: Objective, size: int) -> float:
    """How smooth a batch of `size` random rows can be expected to be, as a share of F / N without its penalty.

        (n (b - 1) L + (n - b) max_i L_i) / (b (n - 1)),  L_i = n s_i |x_i|^2 v / N, L = eigenvalue(X' diag(s) X) v / N

    v bounds the variance of a label: 1/4 for two classes, 1/2 for more. One reading of X.
    """
    n, p = objective.design.shape
    if p > MOST_COLUMNS:
        raise InputError(f"SAGA takes {MOST_COLUMNS:,} columns at most: X has {p:,}; use the default solver")
    identity = torch.eye(p, dtype=torch.float64, device=objective.target.device)
    largest = 0.0

    def term(rows: slice, block: Rows) -> Tensor:
        nonlocal largest
        x, weight = block.matmul(identity), objective.weight[rows]
        largest = max(largest, float((weight * x.square().sum(dim=1)).max()))
        return x.T @ (x * weight[:, None])

    gram = objective.sum_blocks(term)
    variance = (CURVATURE if objective.loss.n_outputs == 1 else 2 * CURVATURE) / objective.total_weight
    mean = float(torch.linalg.eigvalsh(gram)[-1])
    if n == 1:
        return variance * mean
    return variance * n * ((size - 1) * mean + (n - size) * largest) / (size * (n - 1))
