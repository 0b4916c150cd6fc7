"""StreamingNewton: every row is read once, by a few Newton models of the past and a few that follow a drift.

A block of rows moves a model of all that came before it, theta' A theta / 2 - b' theta, to where its sum with the block's
own loss and the penalty is least, and joins it there, with the curvature and the exact gradient of that point:

    A <- f A + G,   b <- f b + G theta - X'(s r),   f = (seen / (seen + block))^kappa, or e^(-block / window)

kappa = 0 forgets nothing, kappa = 1 what was linearised far from where things are now. None of these can follow a target
that moves within a few hundred rows: others do, row by row, with implicit steps of a few lengths. Every expert is judged
by its loss on rows before it learns from them, and the answer is the mean of the experts' coefficients by what that says.

Source: the block-implicit form of the extended Kalman filter, de Vilmarest and Wintenberger 2021, JMLR 22(14);
averaging, Boyer and Godichon-Baggioni 2020, arXiv:2011.09706; implicit steps, Toulis and Airoldi 2017, arXiv:1408.2923;
sharing of weights, Herbster and Warmuth 1998, doi:10.1023/A:1007424614876.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, fields

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchlogit.design.dense import DenseRows
from torchlogit.errors import InputError
from torchlogit.losses import Loss, loss_for
from torchlogit.objective import free_curvature, joined
from torchlogit.penalties import ElasticNet
from torchlogit.quadratic import Factor, factor
from torchlogit.records import Params
from torchlogit.solvers.progressive import Progressive, ProgressiveSums

Array = NDArray[np.float64]

KAPPAS = (0.0, 1.0)
WINDOWS = (2.0**12, 2.0**16)  # rows
RATES = tuple(8 * 4.0**-k for k in range(7))  # of the steps of those that follow, for rows of typical length
SHARE = 1e-3  # of the weights, dealt out anew with every row: what lets an expert come back
PSEUDO_ROWS = 0.01  # rows of a column's typical value that hold what has no penalty, in place of a prior
LEAST_BLOCK, MOST_BLOCK = 64, 512  # rows, between them four for each column, but no fewer than columns
FIRST_BLOCK = 256  # rows, or four for each column
SETTLED, SETTLED_FIRST = 1.0, 0.01  # log-odds: a Newton step that moves none further is the last
MOST_STEPS = 20
TRACE_EVERY = 8  # blocks, of which one is asked how much a row tells
MOST_PARAMETERS = 4000


@dataclass(frozen=True, slots=True)
class StreamingNewton:
    """One pass over rows that come in blocks of any size, with nothing to tune.

    kappas, windows (rows), rates: the experts; kappas above 0 are averaged over the stream, later points counting more.
    For up to some 2,000 coefficients.

    >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> stream = StreamingNewton().begin(1, 2, ElasticNet(l2=1.0))
    >>> stream.learn(rows, np.array([[0.0], [1.0], [0.0], [1.0]]))
    >>> stream.rows, round(float(stream.answer().params.coef[0, 0]), 2)
    (4, 0.45)
    """

    kappas: tuple[float, ...] = KAPPAS
    windows: tuple[float, ...] = WINDOWS
    rates: tuple[float, ...] = RATES

    def begin(
        self, n_features: int, n_classes: int, penalty: ElasticNet, *, intercept: bool = True, start: Start | None = None
    ) -> NewtonStream:
        """A stream that has seen no row, or one that goes on from a model that rows elsewhere gave."""
        if not penalty.smooth:
            raise InputError("l1 or bounds: one pass of Newton's method takes l2 alone; set l1=0, or fit without streaming")
        loss = loss_for(n_classes)
        setting = Setting(self, loss, penalty.precision(n_features).numpy(), intercept, start)
        size = setting.size
        if size > MOST_PARAMETERS:
            raise InputError(
                f"{size:,} coefficients: one pass of Newton's method holds matrices of their square and takes "
                f"{MOST_PARAMETERS:,}; hash into fewer columns, or use ScaleFree"
            )
        return NewtonStream(setting, _Moving.at_rest(setting))


@dataclass(frozen=True, slots=True)
class Start:
    """A model to go on from: its params, and the weight of the rows that they were fitted to."""

    params: Params
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What does not move. precision (n_features,): of the penalty, by column."""

    experts: StreamingNewton
    loss: Loss
    precision: Array
    intercept: bool
    start: Start | None

    @property
    def columns(self) -> int:
        """The intercept's included."""
        return len(self.precision) + self.intercept

    @property
    def size(self) -> int:
        """Free coordinates."""
        return self.columns * self.loss.basis().shape[1]

    @property
    def n_newton(self) -> int:
        """How many experts are Newton models."""
        return len(self.experts.kappas) + len(self.experts.windows)

    @property
    def first_rows(self) -> int:
        """Of the first block."""
        return max(FIRST_BLOCK, 4 * self.columns)

    @property
    def block_rows(self) -> int:
        """Of every other block."""
        return max(LEAST_BLOCK, min(4 * self.columns, MOST_BLOCK), self.columns)


@dataclass(slots=True, eq=False)
class _Moving:
    """What moves: arrays, all of which are saved. Shapes: e Newton experts of size q, f followers, d features.

    seen: rows, weight, blocks. A (e, q, q), b (e, q), theta (e, q), mean (e, q) with its total mean_weight (e,);
    effective (e,): the weight that A counts. center (d,). typical (2, p): sums of x^2, and how many were not zero.
    coef (f, outputs, d), intercept (f, outputs), moment (2, d): the followers', with the running mean and square.
    belief (e + f,). trace (2,): of H^-1 S, a sum and its weight. X, target, weight, offset: rows that wait for a block.
    """

    seen: Array
    A: Array
    b: Array
    theta: Array
    mean: Array
    mean_weight: Array
    effective: Array
    center: Array
    typical: Array
    coef: Array
    intercept: Array
    moment: Array
    belief: Array
    trace: Array
    X: Array
    target: Array
    weight: Array
    offset: Array
    progressive: ProgressiveSums = field(default_factory=ProgressiveSums)

    @classmethod
    def at_rest(cls, setting: Setting) -> _Moving:
        e, q, f = setting.n_newton, setting.size, len(setting.experts.rates)
        d, m = len(setting.precision), setting.loss.n_outputs
        shapes = (3,), (e, q, q), (e, q), (e, q), (e, q), (e,), (e,), (d,), (2, d + setting.intercept)
        shapes += (f, m, d), (f, m), (2, d), (e + f,), (2,), (0, d), (0, m), (0,), (0, m)  # type: ignore[assignment]
        moving = cls(*(np.zeros(shape) for shape in shapes))
        moving.belief += 1 / (e + f)
        return moving


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stream has found. excess: the log loss per unit of weight that it expects to lose to the best linear model
    of what the rows come from, trace(H^-1 S) / (2 weight), in nats; None before there are rows to tell.
    """

    params: Params
    progressive: Progressive
    excess: float | None
    beliefs: dict[str, float]


class NewtonStream:
    """A stream under way: `learn` moves it, `answer` says where it is, `record` is all of it."""

    def __init__(self, setting: Setting, moving: _Moving) -> None:
        self.setting, self._moving = setting, moving
        self._basis = setting.loss.basis()

    @property
    def rows(self) -> int:
        """Rows given so far, those that wait for a whole block included."""
        return int(self._moving.seen[0]) + len(self._moving.X)

    def learn(self, X: object, target: Array, weight: Array | None = None, offset: Array | None = None) -> None:
        """Learns from rows: X (n, d) dense or CSR, target (n, outputs) in [0, 1], weight (n,), offset (n, outputs).

        They are taken in blocks whose size depends on d alone: how they were cut up does not change a bit.
        """
        n = len(target)
        weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
        offset = np.zeros_like(target) if offset is None else offset
        begin = 0
        while begin < n:
            waiting = len(self._moving.X)
            size = self.setting.first_rows if self._moving.seen[2] == 0 else self.setting.block_rows
            end = min(n, begin + size - waiting)
            part = slice(begin, end)
            rows = (_dense(X[part]), target[part], weight[part], offset[part])  # type: ignore[index]
            self._wait(rows)
            if waiting + end - begin == size:
                self._learn_waiting()
            begin = end

    def answer(self) -> Answer:
        """The experts' mean once the rows that wait are learned from too; the stream itself does not move."""
        if len(self._moving.X):
            ahead = NewtonStream(self.setting, copy.deepcopy(self._moving))
            ahead._learn_waiting()
            return ahead.answer()
        moving = self._moving
        theta = np.tensordot(moving.belief, self._thetas(), axes=1)
        weight = moving.seen[1] + (self.setting.start.weight if self.setting.start else 0.0)
        trace, counted = moving.trace
        excess = trace / counted / (2 * weight) if counted > 0 and weight > 0 else None
        return Answer(self._params(theta), moving.progressive.result(), excess, self._beliefs())

    # -- blocks ---------------------------------------------------------------------------------

    def _wait(self, rows: tuple[Array, Array, Array, Array]) -> None:
        for name, part in zip(("X", "target", "weight", "offset"), rows, strict=True):
            setattr(self._moving, name, np.concatenate([getattr(self._moving, name), part]))

    def _learn_waiting(self) -> None:
        """Predicts the rows that wait, then learns from them."""
        moving, setting = self._moving, self.setting
        X, target, weight, offset = moving.X, moving.target, moving.weight, moving.offset
        if moving.seen[2] == 0 and setting.intercept:
            moving.center = weight @ X / weight.sum() if weight.sum() > 0 else moving.center
        X = X - moving.center
        block = _Block.of(setting, self._basis, X, target, weight, offset)
        if moving.seen[2] == 0 and setting.start is not None:
            self._go_on_from(setting.start, block)
        self._follow(block, X)
        if weight.sum() > 0:
            self._join(block)
        moving.seen += (len(X), weight.sum(), 1)
        for name in ("X", "target", "weight", "offset"):
            setattr(moving, name, getattr(moving, name)[:0])

    def _follow(self, block: _Block, X: Array) -> None:
        """Predictions of the rows by all experts, and the steps of those that follow row by row."""
        from torchlogit.kernels import stream_loops

        moving, setting = self._moving, self.setting
        n, m = block.target.shape
        each = torch.from_numpy(self._thetas()[: setting.n_newton])
        raws = np.stack([block.raw(theta).numpy() for theta in each], axis=1)
        rates = np.array(setting.experts.rates) / setting.columns
        raw, loss = np.empty((n, m)), np.empty(n)
        rows = X, moving.target, moving.weight, moving.offset, raws
        steps = rates, SHARE, setting.intercept, float(moving.seen[1]), *moving.moment, moving.coef, moving.intercept
        stream_loops.follow(*rows, *steps, moving.belief, raw, loss)
        moving.progressive.add(loss, raw, moving.target, moving.weight)

    def _join(self, block: _Block) -> None:
        """The Newton models, each with the block joined to it."""
        moving, weight = self._moving, block.total_weight
        moving.typical += block.typical()
        precision = self._precision()
        before = moving.seen[1] + (self.setting.start.weight if self.setting.start else 0.0)
        first = before == 0
        kappas = self.setting.experts.kappas
        fades = [(before / (before + weight)) ** kappa for kappa in kappas]
        fades += [math.exp(-weight / window) for window in self.setting.experts.windows]
        for e, fade in enumerate(fades):
            moving.effective[e] = moving.effective[e] * fade + weight
            share = moving.effective[e] / (before + weight) if e < len(kappas) else 1.0
            past = _Past(torch.from_numpy(moving.A[e]), torch.from_numpy(moving.b[e]))
            past.fade(0.0 if first else fade)
            theta = torch.from_numpy(moving.theta[e])
            theta, factored = past.join(block, theta, share * precision, SETTLED_FIRST if first else SETTLED)
            moving.theta[e] = theta.numpy()
            kappa = kappas[e] if e < len(kappas) else 0.0
            by = weight * (before + weight) ** kappa
            moving.mean_weight[e] = moving.mean_weight[e] + by if kappa > 0 else by
            moving.mean[e] += (moving.theta[e] - moving.mean[e]) * (by / moving.mean_weight[e])
            if e == 0 and moving.seen[2] % TRACE_EVERY == 0:
                trace = moving.effective[e] * block.trace(factored, theta)
                moving.trace = moving.trace * (before / (before + weight)) ** 2 + (trace, weight)

    def _go_on_from(self, start: Start, block: _Block) -> None:
        """A past whose rows looked like this block's, and whose optimum is the start."""
        moving, setting = self._moving, self.setting
        coef = start.params.coef.double()
        intercept = (start.params.intercept + torch.from_numpy(moving.center) @ coef)[None, :]
        theta = torch.cat([coef, intercept]) if setting.intercept else coef
        free = (theta @ self._basis).T.reshape(-1)
        share = start.weight / block.total_weight if block.total_weight > 0 else 0.0
        A = share * block.gram(block.residual(block.raw(free)))
        moving.typical += block.typical()
        b = A @ free + self._precision() * free
        moving.typical[:] = 0
        moving.A[:], moving.b[:], moving.theta[:], moving.mean[:] = A, b, free, free
        moving.effective[:] = moving.mean_weight[:] = start.weight
        moving.coef[:], moving.intercept[:] = coef.T, intercept

    # -- points ---------------------------------------------------------------------------------

    def _precision(self) -> Tensor:
        """The prior of each free coordinate: the penalty's or, where there is none, that of a small part of a row."""
        squares, counts = self._moving.typical
        typical = PSEUDO_ROWS * np.divide(squares, counts, out=np.ones_like(squares), where=counts > 0)
        penalty = np.append(self.setting.precision, [0.0] * self.setting.intercept)
        precision = np.where(penalty > 0, penalty, typical)
        return torch.from_numpy(np.tile(precision, self._basis.shape[1]))

    def _thetas(self) -> Array:
        """All experts in free coordinates, (e + f, q)."""
        moving = self._moving
        parts = [moving.coef, moving.intercept[:, :, None]] if self.setting.intercept else [moving.coef]
        followers = np.concatenate(parts, axis=2)  # (f, outputs, p)
        free = np.einsum("fmp,mk->fkp", followers, self._basis.numpy()).reshape(len(followers), -1)
        return np.concatenate([moving.mean, free])

    def _params(self, free: Array) -> Params:
        theta = torch.from_numpy(free).reshape(-1, self.setting.columns).T @ self._basis.T
        if not self.setting.intercept:
            return Params(theta.contiguous(), torch.zeros_like(theta[0]))
        coef = theta[:-1].contiguous()
        return Params(coef, theta[-1] - torch.from_numpy(self._moving.center) @ coef)

    def _beliefs(self) -> dict[str, float]:
        experts = self.setting.experts
        names = [f"kappa {kappa:g}" for kappa in experts.kappas] + [f"window {window:g}" for window in experts.windows]
        names += [f"rate {rate:g}" for rate in experts.rates]
        return dict(zip(names, self._moving.belief.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Rows of a block in free coordinates: X (n, p) with its constant column, float64."""

    loss: Loss
    basis: Tensor
    X: Tensor
    target: Tensor
    weight: Tensor
    offset: Tensor

    @classmethod
    def of(cls, setting: Setting, basis: Tensor, X: Array, target: Array, weight: Array, offset: Array) -> _Block:
        rows = np.ones((len(X), setting.columns))
        rows[:, : X.shape[1]] = X
        parts = (torch.from_numpy(np.ascontiguousarray(part, dtype=np.float64)) for part in (rows, target, weight, offset))
        return cls(setting.loss, basis, *parts)

    @property
    def total_weight(self) -> float:
        return float(self.weight.sum())

    def product(self, free: Tensor) -> Tensor:
        """The raw prediction of a direction."""
        return self.X @ free.reshape(-1, self.X.shape[1]).T @ self.basis.T

    def raw(self, free: Tensor) -> Tensor:
        return self.product(free) + self.offset

    def residual(self, raw: Tensor) -> Tensor:
        return self.loss.residual(raw, self.target)

    def score(self, residual: Tensor) -> Tensor:
        """The gradient of the losses' sum."""
        return ((residual * self.weight[:, None]) @ self.basis).T.matmul(self.X).reshape(-1)

    def gram(self, residual: Tensor) -> Tensor:
        """The Hessian of the losses' sum at the probabilities that the residual carries."""
        n_free = self.basis.shape[1]
        curvature = free_curvature(self.loss, residual, self.target, self.weight, self.basis)
        lower = torch.tril_indices(n_free, n_free).unbind()
        return joined(DenseRows(self.X).gram(curvature[:, *lower]), n_free)

    def typical(self) -> Array:
        """Sums of x^2, and of how often x is not zero, by column, of rows that count, (2, p)."""
        counts = (self.weight > 0).double()
        return torch.stack([counts @ self.X.square(), counts @ (self.X != 0).double()]).numpy()

    def trace(self, factored: Factor, free: Tensor) -> float:
        """sum_i s_i g_i' H^-1 g_i, g_i the gradient of the row's loss, H factored: what the rows say of trace(H^-1 S)."""
        own = self.residual(self.raw(free)) @ self.basis
        scores = (own[:, :, None] * self.X[:, None, :]).reshape(len(own), -1)
        return float(self.weight @ (factored.solve(scores.T) * scores.T).sum(dim=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """The model theta' A theta / 2 - b' theta of the losses so far; it moves in place."""

    A: Tensor
    b: Tensor

    def fade(self, factor: float) -> None:
        self.A.mul_(factor)
        self.b.mul_(factor)

    def join(self, block: _Block, theta: Tensor, precision: Tensor, settled: float) -> tuple[Tensor, Factor]:
        """The least point of past + penalty + block, after which the block's model there is part of the past.

        Newton's steps, damped to ln(1 + r) / r, r the log-odds they move (Bach 2010, doi:10.1214/09-EJS521).
        """
        raw = block.raw(theta)
        for _ in range(MOST_STEPS):
            residual = block.residual(raw)
            gram = block.gram(residual)
            gradient = self.A @ theta - self.b + precision * theta + block.score(residual)
            hessian = self.A + gram
            hessian.diagonal().add_(precision)
            factored = factor(hessian)
            step = -factored.solve(gradient[:, None])[:, 0]
            raw_step = block.product(step)
            reach = float(block.loss.spread(raw_step).max())
            damping = math.log1p(reach) / reach if reach > 1e-6 else 1.0
            theta, raw = theta + damping * step, raw + damping * raw_step
            if reach <= settled:
                break
        self.A.add_(gram)
        self.b.add_(gram @ theta - block.score(block.residual(raw)))
        return theta, factored


def _dense(X: object) -> Array:
    """The rows as a float64 array."""
    return np.asarray(X.toarray() if scipy.sparse.issparse(X) else X, dtype=np.float64)  # type: ignore[attr-defined]


def arrays_of(moving: _Moving) -> dict[str, Array]:
    """The arrays by name, those of the progressive sums among them."""
    own = {f.name: getattr(moving, f.name) for f in fields(moving) if f.name != "progressive"}
    return own | {f.name: getattr(moving.progressive, f.name) for f in fields(moving.progressive)}
