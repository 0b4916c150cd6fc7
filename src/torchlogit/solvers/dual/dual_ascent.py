"""DualAscent: one row at a time, each exactly, in the dual; for wide sparse data under an L2 penalty or elastic net.

    max over q  sum_i s_i (entropy(q_i) + r_i o_i) - Omega*(u),    u = -X'(s r),  r = q - y,  sum_i s_i r_i = 0

Every u comes with the coefficients that it pulls to, w = S(u, l1) / l2, and so every point of the dual with one of F:
the difference is the gap. Along one row the dual is highest where, in the logit t of q_i,

    t + Q_i (r(t) - r_i) = x_i w + b + o_i,    Q_i = s_i |x_i|^2 / l2,

which takes no learning rate. An unpenalised intercept is found by proximal points: during an epoch it is held to where
it was best, as strongly as the penalty holds the coefficients, and after the epoch it is fitted anew.

Source: Shalev-Shwartz and Zhang 2013, arXiv:1209.1873; on several threads Ma et al. 2015, arXiv:1502.03508.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from torchlogit.errors import InputError
from torchlogit.kernels import dual as kernels
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.dual.problem import ABSORBED, give_of_columns, refuse

HASTE = 0.1  # of the other threads' changes, the share that a thread allows for, until that proves to be too little
INTERCEPT_STEPS = 10
MOST_EPOCHS, PATIENCE = 5, 1 << 28  # before a point is looked at; and values that may be read: a second or two
GIVE = 800.0  # log-odds that the intercept may go in an epoch for rows all missed by one; no more than one for each
SETTLED = 1e-9  # nats per unit of weight, what one of the intercept's Newton steps promised if it is the last


@dataclass(frozen=True, slots=True)
class DualAscent:
    """Stochastic dual coordinate ascent: nothing to tune, and a gap with every epoch.

    For two classes, and a penalty that holds every column with some l2, without bounds. seed: of the rows' order. aim:
    the bound that is asked for, relative to F: points are looked at in time for it, and not much more often.

    >>> from torchlogit.design import Dense
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    >>> objective = Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet(l2=1.0))
    >>> states = DualAscent().iterates(objective, None)
    >>> round(float([next(states) for _ in range(30)][-1].params.coef), 3)
    0.453
    """

    seed: int = 0
    aim: float = 1e-6

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The best point so far, with the newest dual point, every few epochs; without end.

        A state's raw prediction and dual point are that of the state only until the next one is asked for.
        """
        if objective.loss.n_outputs > 1:
            raise InputError(f"{objective.loss.n_outputs} classes: DualAscent is for two; use SoftmaxAscent")
        refuse(objective)
        ascent = _Ascent(objective, start, np.random.default_rng(self.seed))
        yield from self._states(ascent, None if start is None else ascent.primal())

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of the snapshot."""
        ascent = _Ascent(objective, None, np.random.default_rng())
        ascent.go_on(snapshot)
        yield from self._states(ascent, _Primal(**snapshot["best"]))

    def _states(self, ascent: _Ascent, best: _Primal | None) -> Iterator[State]:
        objective = ascent.objective
        while True:
            ascent.advance(self.aim * (objective.total_weight * math.log(2) if best is None else best.value))
            here = ascent.primal()
            best = here if best is None or here.value <= best.value else best
            gap = max(0.0, best.value - ascent.height(here))
            yield State(
                objective.params(best.theta), ascent.passes, best.value, gap, best.raw, ascent.residual,
                expected_bound=gap, snapshot=partial(ascent.snapshot, best),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Primal:
    """A point, its raw prediction and F."""

    theta: Tensor
    raw: Tensor
    value: float


class _Ascent:
    """The dual point on its way up.

    Columns of different precision are brought to the largest one: `scale` multiplies their values, and then the
    coefficients that come out.
    """

    def __init__(self, objective: Objective, start: Params | None, random: np.random.Generator) -> None:
        n, p = objective.design.shape
        d = p - objective.design.has_intercept
        self.objective, self.random, self.passes, self.cost_of_balance = objective, random, 0.0, 0.0
        precision = objective.penalty.precision(d)
        self.scale = (precision.max() / precision).sqrt()
        self.rows = self._rows()
        self.pull = self._pull(float(precision.max()))
        self.allowance, self.others = HASTE, kernels.threads_for(self.rows, d) - 1
        begin = objective.start() if start is None else objective.theta(start)
        self.residual = torch.zeros(n, 1, dtype=torch.float64)
        if start is not None:
            self.residual = objective.residual(objective.raw(begin))
        intercept = float(begin[-1]) if objective.design.has_intercept else 0.0
        self.point = kernels.Point(self.residual.numpy()[:, 0], np.zeros(d), intercept)
        if start is not None:
            dual = objective.coef(objective.dual(self.residual))[:, 0]
            self.point.v[:] = (self.pull.rate * self.scale * dual).numpy()
            self.passes += 1.0
        self.highest = -math.inf
        self.gain: float | None = None

    def snapshot(self, best: _Primal) -> Snapshot:
        """What moves, and the best point so far."""
        return {
            "residual": self.residual,
            "v": torch.from_numpy(self.point.v),
            "intercept": self.point.intercept,
            "random": self.random.bit_generator.state,
            "passes": self.passes,
            "allowance": self.allowance,
            "highest": self.highest,
            "gain": self.gain,
            "best": {"theta": best.theta, "raw": best.raw, "value": best.value},
        }

    def go_on(self, snapshot: Snapshot) -> None:
        """To where this snapshot was taken."""
        self.residual.copy_(snapshot["residual"])
        self.point.v[:] = snapshot["v"].numpy()
        self.point.intercept = snapshot["intercept"]
        self.random.bit_generator.state = snapshot["random"]
        self.passes, self.allowance = snapshot["passes"], snapshot["allowance"]
        self.highest, self.gain = snapshot["highest"], snapshot["gain"]

    def advance(self, enough: float) -> None:
        """A few epochs, until what the dual still has to gain seems to be no more than enough, or it gains ever more.

        What it gains falls from epoch to epoch by about the same factor: to come is gain^2 / (last - gain).
        """
        for _ in range(max(1, min(MOST_EPOCHS, PATIENCE // max(1, len(self.rows.data))))):
            last, self.gain = self.gain, self.epoch()
            if last is not None and (self.gain >= last or self.gain**2 <= enough * (last - self.gain)):
                break

    def epoch(self) -> float:
        """Each row once: a pass. About what the dual has gained."""
        if self.objective.design.has_intercept:
            self.point.intercept -= self.pull.give * self._excess()
        self.passes += 1.0
        return kernels.epoch(self.rows, self.point, self.pull, self.random, 1 + self.allowance * self.others)

    def primal(self) -> _Primal:
        """The coefficients of v, the best intercept for them, and F: half a pass."""
        objective = self.objective
        v = torch.from_numpy(self.point.v)
        kinks = torch.zeros(1, dtype=torch.float64) if self.pull.kinks is None else torch.from_numpy(self.pull.kinks)
        theta = (self.scale * (v - v.clamp(-kinks, kinks)))[:, None]
        if objective.design.has_intercept:
            theta = torch.cat([theta, torch.tensor([[self.point.intercept]], dtype=torch.float64)])
        raw = objective.raw(theta)
        self.passes += 0.5
        if objective.design.has_intercept:
            self.point.intercept += _fit_intercept(objective, theta, raw)
        return _Primal(theta, raw, objective.value(theta, raw))

    def height(self, here: _Primal) -> float:
        """The dual's value once the residuals are balanced, to second order; more caution where it has fallen."""
        objective, intercept = self.objective, self.point.intercept

        def terms(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
            r, offset = self.residual[rows], 0.0 if objective.offset is None else objective.offset[rows]
            return r, r * offset, -objective.loss.negative_entropy(r, objective.target[rows])

        excess, given, entropy = (float(part) for part in objective.total(terms))
        coef = objective.coef(here.theta)
        pulled = float((torch.from_numpy(self.point.v) / self.scale) @ coef[:, 0]) / self.pull.rate
        value = entropy + given + intercept * excess - (pulled - objective.penalty.value(coef))
        value -= 0.5 * self.cost_of_balance * excess**2
        if value < self.highest:
            self.allowance = min(1.0, 2 * self.allowance)
        self.highest = max(value, self.highest)
        return value

    def _excess(self) -> float:
        return float(self.objective.total(lambda rows: [self.residual[rows]]))

    def _rows(self) -> kernels.Rows:
        objective, csr = self.objective, self.objective.design.csr()
        data = csr.data
        if bool((self.scale != 1).any()):
            data = data * self.scale.numpy()[csr.indices]
        offset = torch.zeros_like(objective.target) if objective.offset is None else objective.offset
        arrays = (objective.target[:, 0], objective.weight, offset[:, 0])
        target, weight, offsets = (array.contiguous().numpy() for array in arrays)
        square = kernels.squares(csr.indptr, data)
        return kernels.Rows(csr.indptr, csr.indices, data, target, weight, offsets, square)

    def _pull(self, precision: float) -> kernels.Pull:
        """With an intercept that is held lightly: firmly enough for its rows not to fight over it."""
        objective, d = self.objective, len(self.scale)
        rates = objective.penalty.l1_rates(d)
        kinks = (rates * self.scale / precision).numpy() if bool((rates > 0).any()) else None
        if not objective.design.has_intercept:
            return kernels.Pull(1 / precision, kinks, 0.0)
        self.passes += 0.5
        self.cost_of_balance = give_of_columns(objective)
        give = min(GIVE, len(objective.target)) / objective.total_weight
        return kernels.Pull(1 / precision, kinks, max(give, ABSORBED * self.cost_of_balance))


def _fit_intercept(objective: Objective, theta: Tensor, raw: Tensor) -> float:
    """Moves the intercept of theta, and raw, to where F is lowest; by how much."""
    moved = 0.0
    for _ in range(INTERCEPT_STEPS):
        slope, curvature = _along_intercept(objective, raw)
        step = min(max(-slope / curvature, -1.0), 1.0) if curvature > 0 else 0.0
        raw += step
        moved += step
        if abs(slope * step) <= SETTLED * objective.total_weight:
            break
    theta[-1] += moved
    return moved


def _along_intercept(objective: Objective, raw: Tensor) -> tuple[float, float]:
    """F's slope and curvature by the intercept."""
    residual = objective.residual(raw)
    curvature = objective.loss.total_variance(residual, objective.target, objective.weight)
    return float(objective.total(lambda rows: [residual[rows]])), float(curvature)
