"""DualAscent: dual coordinate ascent, one row at a time; for wide sparse rows under an L2 penalty or an elastic net.

    max over q  sum_i s_i (entropy(q_i) + r_i o_i) - Omega*(u),    u = -X'(s r),  r = q - y,  sum_i s_i r_i = 0

Every u gives coefficients, w = S(u, l1) / l2, so every point of the dual gives a point of F, and the difference of the
two values is the gap. Over the probability q_i of one row, with logit t, the dual is maximal where

    t + Q_i (r(t) - r_i) = x_i w + b + o_i,    Q_i = s_i |x_i|^2 / l2,

which needs no learning rate. The intercept, which has no penalty, is found by the proximal point method: during an
epoch a quadratic penalty keeps it near its last value, and after some epochs it is fitted to the raw predictions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from torchlogit.errors import InputError
from torchlogit.kernels import dual as kernels
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.dual.intercept import COLUMNS_RATE, columns_rate
from torchlogit.solvers.requirements import refuse_dual_ascent

# Share of the other threads' changes that a thread allows for at first, doubled whenever the dual has fallen. Larger:
# shorter steps, and fewer epochs whose changes overshoot (docs/decisions/0013).
CAUTION = 0.1
# The most epochs between two evaluations of F and of the gap, and the most values of X that those epochs read, in a
# second or two. Larger: fewer evaluations, each two thirds of an epoch's time, and fits that end later
# (docs/decisions/0013).
MAX_EPOCHS = 5
MAX_VALUES = 1 << 28
# Log-odds that the intercept may move in an epoch for residuals that sum to the total weight; no more than one for each
# row. Larger: a weaker penalty (docs/decisions/0013).
INTERCEPT_RATE = 800.0
INTERCEPT_STEPS = 10  # the most Newton steps to fit the intercept after an epoch
INTERCEPT_TOL = 1e-9  # predicted decrease of the last of these steps, in nats per unit of weight; smaller: more steps


@dataclass(frozen=True, slots=True)
class DualAscent:
    """Stochastic dual coordinate ascent for two classes: nothing to tune, and a duality gap with every state.

    Takes a penalty with some l2 on every column, without bounds. On several threads the result has the same bits for
    the same number of threads.

    Parameters
    ----------
    seed : int
        Seed of the order of the rows.
    aim : float
        The bound that is asked for, relative to F; it determines how often F and the gap are evaluated.
    values_per_thread : int
        The fewest values of X for each thread; for tests and measurements.

    References
    ----------
    Shalev-Shwartz and Zhang 2013, arXiv:1209.1873; on several threads, Ma et al. 2015, arXiv:1502.03508.

    Examples
    --------
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
    values_per_thread: int = field(default=kernels.VALUES_PER_THREAD, repr=False, metadata={"omit_default": True})

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The best point so far, with the newest dual point, every few epochs, without end.

        A state's raw prediction and dual point are overwritten by the next epochs.
        """
        if objective.loss.n_outputs > 1:
            raise InputError(f"{objective.loss.n_outputs} classes: DualAscent is for two; use SoftmaxAscent")
        refuse_dual_ascent(objective)
        ascent = _Ascent(objective, start, np.random.default_rng(self.seed), self.values_per_thread)
        yield from self._states(ascent, None if start is None else ascent.primal())

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot."""
        ascent = _Ascent(objective, None, np.random.default_rng(), self.values_per_thread)
        ascent.restore(snapshot)
        yield from self._states(ascent, _Primal(**snapshot["best"]))

    def _states(self, ascent: _Ascent, best: _Primal | None) -> Iterator[State]:
        objective = ascent.objective
        while True:
            ascent.advance(self.aim * (objective.total_weight * math.log(2) if best is None else best.value))
            primal = ascent.primal()
            best = primal if best is None or primal.value <= best.value else best
            gap = max(0.0, best.value - ascent.dual_value(primal))
            yield State(
                objective.params(best.theta), ascent.passes, best.value, gap, best.raw, ascent.residual,
                expected_bound=gap, snapshot=partial(ascent.snapshot, best),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Primal:
    """Parameters, and the raw prediction and F there."""

    theta: Tensor
    raw: Tensor
    value: float


class _Ascent:
    """A point of the dual, and the epochs that raise it.

    Columns of different precision are scaled so that all have the largest: `scale` (d,) multiplies their values, and
    the coefficients that come out.
    """

    def __init__(
        self, objective: Objective, start: Params | None, random: np.random.Generator, values_per_thread: int
    ) -> None:
        n, p = objective.design.shape
        d = p - objective.design.has_intercept
        self.objective, self.random, self.passes, self.columns_rate = objective, random, 0.0, 0.0
        precision = objective.penalty.precision(d)
        self.scale = (precision.max() / precision).sqrt()
        self.rows = self._rows()
        self.coupling = self._coupling(float(precision.max()))
        self.allowance, self.threads = CAUTION, kernels.threads_for(self.rows, d, values_per_thread)
        begin = objective.start() if start is None else objective.theta(start)
        self.residual = torch.zeros(n, 1, dtype=torch.float64)
        if start is not None:
            self.residual = objective.residual(objective.raw(begin))
        intercept = float(begin[-1]) if objective.design.has_intercept else 0.0
        self.point = kernels.DualPoint(self.residual.numpy()[:, 0], np.zeros(d), intercept)
        if start is not None:
            dual = objective.coef(objective.dual(self.residual))[:, 0]
            self.point.v[:] = (self.coupling.rate * self.scale * dual).numpy()
            self.passes += 1.0
        self.highest = -math.inf
        self.gain: float | None = None  # of the dual, in the last epoch

    def snapshot(self, best: _Primal) -> Snapshot:
        """All that epochs change, and the best point so far."""
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

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot."""
        self.residual.copy_(snapshot["residual"])
        self.point.v[:] = snapshot["v"].numpy()
        self.point.intercept = snapshot["intercept"]
        self.random.bit_generator.state = snapshot["random"]
        self.passes, self.allowance = snapshot["passes"], snapshot["allowance"]
        self.highest, self.gain = snapshot["highest"], snapshot["gain"]

    def advance(self, tolerance: float) -> None:
        """A few epochs, until the dual is expected to rise by at most the tolerance, or the gain no longer falls.

        The gain falls by about the same factor in every epoch, so that about gain^2 / (last - gain) remains.
        """
        for _ in range(max(1, min(MAX_EPOCHS, MAX_VALUES // max(1, len(self.rows.data))))):
            last, self.gain = self.gain, self.epoch()
            if last is not None and (self.gain >= last or self.gain * self.gain <= tolerance * (last - self.gain)):
                break

    def epoch(self) -> float:
        """Visit every row once: one pass. Returns the gain of the dual, approximately."""
        if self.objective.design.has_intercept:
            self.point.intercept -= self.coupling.intercept_rate * self._weighted_residual()
        self.passes += 1.0
        caution = 1 + self.allowance * (self.threads - 1)
        return kernels.epoch(self.rows, self.point, self.coupling, self.random, self.threads, caution)

    def primal(self) -> _Primal:
        """The coefficients that follow from v, with the best intercept: half a pass."""
        objective = self.objective
        v = torch.from_numpy(self.point.v)
        thresholds = self.coupling.thresholds
        limit = torch.zeros(1, dtype=torch.float64) if thresholds is None else torch.from_numpy(thresholds)
        theta = (self.scale * (v - v.clamp(-limit, limit)))[:, None]
        if objective.design.has_intercept:
            theta = torch.cat([theta, torch.tensor([[self.point.intercept]], dtype=torch.float64)])
        raw = objective.raw(theta)
        self.passes += 0.5
        if objective.design.has_intercept:
            self.point.intercept += _fit_intercept(objective, theta, raw)
        return _Primal(theta, raw, objective.value(theta, raw))

    def dual_value(self, primal: _Primal) -> float:
        """The value of the dual once the residuals are balanced, to second order. If it has fallen, caution doubles."""
        objective, intercept = self.objective, self.point.intercept

        def terms(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
            r, offset = self.residual[rows], 0.0 if objective.offset is None else objective.offset[rows]
            return r, r * offset, -objective.loss.negative_entropy(r, objective.target[rows])

        imbalance, offsets, entropy = (float(part) for part in objective.total(terms))
        coef = objective.coef(primal.theta)
        product = float((torch.from_numpy(self.point.v) / self.scale) @ coef[:, 0]) / self.coupling.rate  # u'w
        value = entropy + offsets + intercept * imbalance - (product - objective.penalty.value(coef))
        value -= 0.5 * self.columns_rate * imbalance * imbalance
        if value < self.highest:
            self.allowance = min(1.0, 2 * self.allowance)
        self.highest = max(value, self.highest)
        return value

    def _weighted_residual(self) -> float:
        """sum_i s_i r_i, which is zero at the optimum where there is an intercept."""
        return float(self.objective.total(lambda rows: [self.residual[rows]]))

    def _rows(self) -> kernels.DualRows:
        objective, csr = self.objective, self.objective.design.csr()
        data = csr.data
        if bool((self.scale != 1).any()):
            data = data * self.scale.numpy()[csr.indices]
        offset = torch.zeros_like(objective.target) if objective.offset is None else objective.offset
        arrays = (objective.target[:, 0], objective.weight, offset[:, 0])
        target, weight, offsets = (array.contiguous().numpy() for array in arrays)
        norms = kernels.squared_norms(csr.indptr, data)
        return kernels.DualRows(csr.indptr, csr.indices, data, target, weight, offsets, norms)

    def _coupling(self, precision: float) -> kernels.Coupling:
        """The coupling, for columns of this precision.

        The penalty on changes of the intercept is weak, but strong enough that few rows do not move it back and forth.
        """
        objective, d = self.objective, len(self.scale)
        rates = objective.penalty.l1_rates(d)
        thresholds = (rates * self.scale / precision).numpy() if bool((rates > 0).any()) else None
        if not objective.design.has_intercept:
            return kernels.Coupling(1 / precision, thresholds, 0.0)
        self.passes += 0.5
        self.columns_rate = columns_rate(objective)
        rate = min(INTERCEPT_RATE, len(objective.target)) / objective.total_weight
        return kernels.Coupling(1 / precision, thresholds, max(rate, COLUMNS_RATE * self.columns_rate))


def _fit_intercept(objective: Objective, theta: Tensor, raw: Tensor) -> float:
    """Move the intercept of theta, and raw with it, to where F is lowest; returns the change."""
    change = 0.0
    for _ in range(INTERCEPT_STEPS):
        slope, curvature = _along_intercept(objective, raw)
        step = min(max(-slope / curvature, -1.0), 1.0) if curvature > 0 else 0.0
        raw += step
        change += step
        if abs(slope * step) <= INTERCEPT_TOL * objective.total_weight:
            break
    theta[-1] += change
    return change


def _along_intercept(objective: Objective, raw: Tensor) -> tuple[float, float]:
    """The first and second derivative of F by the intercept."""
    residual = objective.residual(raw)
    curvature = objective.loss.total_variance(residual, objective.target, objective.weight)
    return float(objective.total(lambda rows: [residual[rows]])), float(curvature)
