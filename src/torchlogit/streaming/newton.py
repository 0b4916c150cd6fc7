"""StreamingNewton: every row is read once, by a few Newton models of the past and a few that follow a drift.

A block of rows moves a model of all that came before it, theta' A theta / 2 - b' theta, to where its sum with the
block's own loss and the penalty is least. There the block joins it, with its curvature and its exact gradient:

    A <- f A + G,   b <- f b + G theta - X'(s r),   f = (seen / (seen + block))^kappa, or e^(-block / window)

kappa = 0 forgets nothing, kappa = 1 what was linearised far from where things are now. None of these can follow what
moves within a few hundred rows: others do, row by row, with implicit steps of a few lengths. Every expert is judged by
its loss on rows that it has not learned from yet, and the answer is the mean of their coefficients by that.

Source: the block-implicit form of the extended Kalman filter, de Vilmarest and Wintenberger 2021, JMLR 22(14);
averaging, Boyer and Godichon-Baggioni 2020, arXiv:2011.09706; implicit steps, Toulis and Airoldi 2017, arXiv:1408.2923;
sharing of weights, Herbster and Warmuth 1998, doi:10.1023/A:1007424614876.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from torchlogit.errors import InputError
from torchlogit.losses import Loss, loss_for
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, StreamState
from torchlogit.streaming.progressive import ProgressiveSums
from torchlogit.streaming.stream import (
    SHARES,
    Answer,
    Start,
    arrays_of,
    beliefs,
    moving_of,
    refuse_kinks,
    setting_facts,
)

Array = NDArray[np.float64]
Rows = tuple[Array, Array, Array, Array]  # X, target, weight, offset

KAPPAS = (0.0, 1.0)
WINDOWS = (2.0**14, 2.0**10)  # rows
RATES = tuple(8.0**-k for k in range(-1, 3))  # of the steps of those that follow, for rows of typical length
PSEUDO_ROWS = 0.01  # rows of a column's typical value that hold what has no penalty, in place of a prior
BLOCK = 1024  # rows, but no fewer than columns
FIRST_BLOCK = 256  # rows, or four for each column
SETTLED, SETTLED_FIRST = 0.3, 0.01  # log-odds: a Newton step that moves none further is the last
NEAR = 0.3  # log-odds in the mean square: models no further apart on a block share its Hessian
MOST_STEPS = 20
TRACE_EVERY = 8  # blocks, of which one is asked how much a row tells
MOST_PARAMETERS = 2000


@dataclass(frozen=True, slots=True)
class StreamingNewton:
    """One pass over rows that come in blocks of any size, with nothing to tune.

    kappas, windows (rows), rates: the experts; kappas above 0 are averaged over the stream, later points counting more.
    For up to some 2,000 coefficients.

    >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> stream = StreamingNewton().begin(1, 2, ElasticNet(l2=1.0))
    >>> stream.learn(rows, np.array([[0.0], [1.0], [0.0], [1.0]]))
    >>> stream.rows, round(float(stream.answer().params.coef[0, 0]), 1)
    (4, 0.3)
    """

    kappas: tuple[float, ...] = KAPPAS
    windows: tuple[float, ...] = WINDOWS
    rates: tuple[float, ...] = RATES

    def begin(
        self,
        n_features: int,
        n_classes: int,
        penalty: ElasticNet,
        *,
        intercept: bool = True,
        start: Start | None = None,
    ) -> NewtonStream:
        """A stream that has seen no row, or one that goes on from a model that rows elsewhere gave."""
        refuse_kinks(penalty)
        loss = loss_for(n_classes)
        setting = Setting(self, loss, penalty.precision(n_features).numpy(), intercept, start)
        size = setting.size
        if size > MOST_PARAMETERS:
            raise InputError(
                f"{size:,} coefficients: one pass of Newton's method holds matrices of their square and takes "
                f"{MOST_PARAMETERS:,}; hash into fewer columns, or use ScaleFree"
            )
        return NewtonStream(setting, _Moving.at_rest(setting))

    def resume(self, state: StreamState) -> NewtonStream:
        """The stream that goes on from its own record."""
        facts, arrays = state.facts, state.arrays
        start = None
        if "start_coef" in arrays:
            params = (torch.from_numpy(arrays[name].copy()) for name in ("start_coef", "start_intercept"))
            start = Start(Params(*params), facts["start_weight"])
        setting = Setting(self, loss_for(facts["n_classes"]), arrays["precision"], facts["intercept"], start)
        return NewtonStream(setting, moving_of(arrays, _Moving.at_rest(setting), waiting=_WAITING))


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
    def given(self) -> float:
        """The weight of the rows that the start was fitted to."""
        return self.start.weight if self.start is not None else 0.0

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
        return max(BLOCK, self.columns)


_WAITING = ("X", "target", "weight", "offset")


@dataclass(slots=True, eq=False)
class _Moving:
    """What moves: arrays, all of which are saved. Shapes: e Newton experts of size q, f followers, d features.

    seen: rows, weight, blocks. A (e, q, q), b (e, q), theta (e, q), mean (e, q) with its total mean_weight (e,);
    effective (e,): the weight that A counts. center (d,). typical (2, p): sums of x^2, and how many were not zero.
    coef (f, outputs, d), intercept (f, outputs), moment (2, d): the followers', with the running mean and square.
    belief (2, e + f), trust (2,), recent (e + f,): see expert_loops. trace (2,): of H^-1 S, a sum and its weight.
    X, target, weight, offset: rows that wait for a block.
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
    trust: Array
    recent: Array
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
        shapes += (f, m, d), (f, m), (2, d), (2, e + f), (2,), (e + f,), (2,), (0, d), (0, m), (0,), (0, m)  # type: ignore[assignment]
        arrays: Any = (np.zeros(shape) for shape in shapes)
        moving = cls(*arrays)
        moving.belief += 1 / (e + f)
        moving.trust += 1 / 2
        moving.recent += 1 / (e + f)
        return moving


class NewtonStream:
    """A stream under way: `learn` moves it, `answer` says where it is, `record` is all of it."""

    def __init__(self, setting: Setting, moving: _Moving) -> None:
        self.setting, self._moving = setting, moving
        self._basis = setting.loss.basis().numpy()

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
        weight = moving.seen[1] + self.setting.given
        trace, counted = moving.trace
        excess = trace / counted / (2 * weight) if counted > 0 and weight > 0 else None
        start = self.setting.start if moving.seen[2] == 0 else None
        params = self._params(moving.recent @ self._thetas()) if start is None else start.params
        return Answer(params, moving.progressive.result(), excess, beliefs(self._names(), moving.recent))

    def record(self) -> StreamState:
        """All that it takes to go on, copied."""
        setting = self.setting
        facts = setting_facts(setting.experts, setting.loss, setting.intercept)
        arrays = arrays_of(self._moving) | {"precision": setting.precision.copy()}
        if setting.start is not None:
            facts["start_weight"] = setting.start.weight
            arrays["start_coef"] = setting.start.params.coef.numpy().copy()
            arrays["start_intercept"] = setting.start.params.intercept.numpy().copy()
        return StreamState(facts, arrays)

    # -- blocks ---------------------------------------------------------------------------------

    def _wait(self, rows: tuple[Array, Array, Array, Array]) -> None:
        for name, part in zip(_WAITING, rows, strict=True):
            setattr(self._moving, name, np.concatenate([getattr(self._moving, name), part]))

    def _learn_waiting(self) -> None:
        """Predicts the rows that wait, then learns from them."""
        moving, setting = self._moving, self.setting
        total = float(moving.weight.sum())
        if moving.seen[2] == 0 and setting.intercept and total > 0:
            moving.center = moving.weight @ moving.X / total
        X = np.ones((len(moving.X), setting.columns))
        X[:, : len(moving.center)] = moving.X - moving.center
        rows = X, moving.target, moving.weight, moving.offset
        if moving.seen[2] == 0 and setting.start is not None:
            self._go_on_from(setting.start, rows)
        self._follow(rows)
        if total > 0:
            self._join(rows, total)
        moving.seen += (len(X), total, 1)
        for name in _WAITING:
            setattr(moving, name, getattr(moving, name)[:0])

    def _follow(self, rows: Rows) -> None:
        """Predictions of the rows by all experts, and the steps of those that follow row by row."""
        from torchlogit.kernels import expert_loops, follower_loops

        moving, setting = self._moving, self.setting
        X, target, weight, offset = rows
        newton = setting.n_newton
        raws = np.empty((len(moving.recent), *target.shape))
        raws[:newton] = self._raws(X, moving.mean) + offset
        rates = np.array(setting.experts.rates) / setting.columns
        raw, loss = np.empty_like(target), np.empty(len(target))
        own = X[:, : len(moving.center)]
        steps: Any = rates, setting.intercept, moving.seen[1], *moving.moment, moving.coef, moving.intercept
        steps += (raws[newton:],)
        follower_loops.follow(own, target, weight, offset, *steps)
        minds = moving.belief, moving.trust, moving.recent
        expert_loops.judge(raws, target, weight, SHARES, moving.seen[0], *minds, raw, loss)
        moving.progressive.add(loss, raw, target, weight)

    def _join(self, rows: Rows, weight: float) -> None:
        """The Newton models, each with the rows joined to it."""
        from torchlogit.kernels import newton_loops

        moving = self._moving
        newton_loops.typical(rows[0], rows[2], moving.typical)
        precision, before = self._precision(), moving.seen[1] + self.setting.given
        after, kappas = before + weight, self.setting.experts.kappas
        settled = SETTLED if before > 0 else SETTLED_FIRST
        near = NEAR if before > 0 else 0.0
        size = self.setting.size
        shared: Any = np.full_like(rows[1], np.nan), np.empty((size, size)), np.empty_like(rows[0])
        for e, fade in enumerate(self._fades(before, after)):
            moving.effective[e] = moving.effective[e] * fade + weight
            share = moving.effective[e] / after if e < len(kappas) else 1.0
            moving.A[e] *= fade
            moving.b[e] *= fade
            model = moving.A[e], moving.b[e], moving.theta[e]
            limits = settled, near, MOST_STEPS
            factor = newton_loops.join(*rows, self._basis, *model, share * precision, *limits, *shared)
            kappa = kappas[e] if e < len(kappas) else 0.0
            by = weight * after**kappa
            moving.mean_weight[e] = moving.mean_weight[e] + by if kappa > 0 else by
            moving.mean[e] += (moving.theta[e] - moving.mean[e]) * (by / moving.mean_weight[e])
            if e == 0 and moving.seen[2] % TRACE_EVERY == 0:
                trace = moving.effective[e] * self._trace(rows, moving.theta[e], *factor)
                moving.trace = moving.trace * (before / after) ** 2 + (trace, weight)

    def _fades(self, before: float, after: float) -> list[float]:
        """What is left of each model's past."""
        experts = self.setting.experts
        if before == 0:
            return [0.0] * self.setting.n_newton
        powers = [(before / after) ** kappa for kappa in experts.kappas]
        return powers + [math.exp((before - after) / window) for window in experts.windows]

    def _go_on_from(self, start: Start, rows: Rows) -> None:
        """A past whose rows looked like these, and whose optimum is the start."""
        from torchlogit.kernels import newton_loops as loops

        moving, setting = self._moving, self.setting
        X, target, weight, offset = rows
        coef = start.params.coef.numpy()
        intercept = start.params.intercept.numpy() + moving.center @ coef
        theta = np.vstack([coef, intercept]) if setting.intercept else coef
        free = np.ascontiguousarray((theta @ self._basis).T).reshape(-1)
        residual = np.empty_like(target)
        loops.residuals(self._raws(X, free[None])[0] + offset, target, residual)
        A = moving.A[0]
        loops.gram(X, residual, target, weight, self._basis, np.empty_like(X), np.empty(len(X)), A)
        A *= start.weight / max(weight.sum(), 1.0)
        loops.typical(X, weight, moving.typical)
        b = A @ free + self._precision() * free
        moving.typical[:] = 0
        moving.A[:], moving.b[:], moving.theta[:], moving.mean[:] = A.copy(), b, free, free
        moving.effective[:] = moving.mean_weight[:] = start.weight
        moving.coef[:], moving.intercept[:] = coef.T, intercept

    def _trace(self, rows: Rows, free: Array, lower: Array, scale: Array) -> float:
        """sum_i s_i g_i' H^-1 g_i, g_i the gradient of a row's loss: what these rows say of trace(H^-1 S)."""
        from torchlogit.kernels import newton_loops

        X, target, weight, offset = rows
        residual = np.empty_like(target)
        newton_loops.residuals(self._raws(X, free[None])[0] + offset, target, residual)
        scores = ((residual @ self._basis)[:, :, None] * X[:, None, :]).reshape(len(X), -1) / scale
        solved = solve_triangular(lower, scores.T, lower=True, check_finite=False)
        return float(np.square(solved).sum(axis=0) @ weight)

    # -- points ---------------------------------------------------------------------------------

    def _raws(self, X: Array, frees: Array) -> Array:
        """X theta of several points in free coordinates, (points, n, outputs)."""
        along = frees.reshape(-1, X.shape[1]) @ X.T  # (points * n_free, n)
        raws: Array = along.reshape(len(frees), -1, len(X)).transpose(0, 2, 1) @ self._basis.T
        return raws

    def _precision(self) -> Array:
        """The prior of each free coordinate: the penalty's or, where there is none, that of a small part of a row."""
        squares, counts = self._moving.typical
        typical = PSEUDO_ROWS * np.divide(squares, counts, out=np.ones_like(squares), where=counts > 0)
        penalty = np.append(self.setting.precision, [0.0] * self.setting.intercept)
        return np.tile(np.where(penalty > 0, penalty, typical), self._basis.shape[1])

    def _thetas(self) -> Array:
        """All experts in free coordinates, (e + f, q)."""
        moving = self._moving
        parts = [moving.coef, moving.intercept[:, :, None]] if self.setting.intercept else [moving.coef]
        followers = np.concatenate(parts, axis=2)  # (f, outputs, p)
        free = self._basis.T @ followers
        return np.concatenate([moving.mean, free.reshape(len(followers), self.setting.size)])

    def _params(self, free: Array) -> Params:
        theta = free.reshape(-1, self.setting.columns).T @ self._basis.T
        coef, intercept = theta[: len(self._moving.center)], theta[len(self._moving.center) :].sum(axis=0)
        at_zero = intercept - self._moving.center @ coef
        return Params(torch.from_numpy(np.ascontiguousarray(coef)), torch.from_numpy(at_zero))

    def _names(self) -> list[str]:
        experts = self.setting.experts
        names = [f"kappa {kappa:g}" for kappa in experts.kappas] + [f"window {window:g}" for window in experts.windows]
        return names + [f"rate {rate:g}" for rate in experts.rates]


def _dense(X: object) -> Array:
    """The rows as a float64 array."""
    return np.asarray(X.toarray() if scipy.sparse.issparse(X) else X, dtype=np.float64)  # type: ignore[attr-defined]
