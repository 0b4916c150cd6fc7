"""SoftmaxAscent: stochastic dual coordinate ascent for several classes, row by row, nothing to tune.

The dual of F has a probability q_i for every row, and one coefficient follows from all of them:

    W_j = sum_i s_i x_ij (y_i - q_i) / precision_j

A visit of row i moves q_i to the maximum of the dual over it: with z the row's raw prediction, the q of

    q = softmax(z - pull (q - q_old)),  pull = s_i sum_j x_ij^2 / precision_j

The intercept has no penalty, so its duals have to balance: sum_i s_i (y_i - q_i) = 0. It is given one, a light one,
around where it stood an epoch ago: a proximal point, or the method of multipliers of that constraint
(Rockafellar 1976, doi:10.1287/moor.1.2.97). What is left unbalanced then shrinks every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogit.errors import InputError
from torchlogit.kernels import softmax as kernels
from torchlogit.kernels.parallel import Array
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.dual.problem import ABSORBED, give_of_columns, refuse

REACH = 0.3  # log-odds that the intercept goes for a row of mean weight, all of it missed
MOVING = ("coef", "intercept", "dual")
CLOSE = 0.1  # share of F: with a larger gap a dual point is worth nothing yet


@dataclass(frozen=True, slots=True)
class SoftmaxAscent:
    """Dual ascent for softmax with l2 on every column: the quickest on rows of few values, as of text.

    A state is yielded after each epoch, with its dual point. seed: of the order of the rows, another in every epoch.

    Source: Shalev-Shwartz and Zhang 2013, arXiv:1209.1873; each row's step is that of its whole maximum.

    >>> SoftmaxAscent(seed=1).seed
    1
    """

    seed: int = 0

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each epoch, without end; an epoch counts a pass, and the raw prediction half of one."""
        if objective.loss.n_outputs == 1:
            raise InputError("two classes: SoftmaxAscent is for three or more; use DualAscent")
        refuse(objective)
        return self._states(_Ascent.at(objective, start), np.random.default_rng(self.seed), 0)

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of the snapshot."""
        ascent, draw = _Ascent.at(objective, None), np.random.default_rng()
        draw.bit_generator.state = snapshot["draw"]
        for name in MOVING:
            getattr(ascent, name)[:] = snapshot[name].numpy()
        return self._states(ascent, draw, snapshot["epoch"])

    def _states(self, ascent: _Ascent, draw: np.random.Generator, epochs: int) -> Iterator[State]:
        for epoch in count(epochs + 1):
            ascent.visit(draw.permutation(len(ascent.dual)))
            yield replace(ascent.state(1.5 * epoch), snapshot=partial(ascent.snapshot, draw, epoch))


@dataclass(frozen=True, slots=True)
class _Ascent:
    """Where the ascent is: dual (n, K) and what follows from it, coef (d, K) and intercept (K,), all moved in place.

    rows: in CSR form. variance (d,): 1 / precision. of_intercept: the intercept's, around where it was an epoch ago.
    """

    objective: Objective
    rows: Any
    weight: Array
    variance: Array
    of_intercept: float
    offset: Array
    coef: Array
    intercept: Array
    dual: Array

    @classmethod
    def at(cls, objective: Objective, start: Params | None) -> _Ascent:
        """No coefficients and the empty model's intercept, every q_i the target; or the duals of a start."""
        precision = objective.coef(objective.precision[:, None])[:, 0]
        begin = objective.params(objective.start()) if start is None else start
        dual, coef = objective.target.clone(), torch.zeros_like(begin.coef)
        if start is not None:
            residual = objective.residual(objective.raw(objective.theta(start)))
            dual, coef = dual + residual, objective.coef(objective.dual(residual)) / precision[:, None]
        reach = REACH * objective.design.shape[0] / objective.total_weight
        reach = max(reach, ABSORBED * give_of_columns(objective))
        has_intercept = objective.design.has_intercept
        return cls(
            objective,
            objective.design.csr(),
            objective.weight.contiguous().numpy(),
            (1 / precision).numpy(),
            reach if has_intercept else 0.0,
            (torch.zeros_like(objective.target) if objective.offset is None else objective.offset).numpy(),
            coef.numpy(),
            (begin.intercept.clone() if has_intercept else torch.zeros_like(begin.intercept)).numpy(),
            dual.contiguous().numpy(),
        )

    def snapshot(self, draw: np.random.Generator, epoch: int) -> Snapshot:
        """What moves, the draw of the rows' order included."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in MOVING}
        return {**arrays, "draw": draw.bit_generator.state, "epoch": epoch}

    def visit(self, order: np.ndarray) -> None:
        """Visits every row, then sets the intercept's next centre: where it is."""
        others = self.weight, self.variance, self.of_intercept, self.offset, self.coef, self.intercept, self.dual
        kernels.epoch(self.rows, order, *others)
        self.intercept[:] -= self.of_intercept * (self.weight @ self._residual().numpy())

    def state(self, passes: float) -> State:
        """The point, and its duality gap but for what the intercept leaves unbalanced."""
        objective, loss = self.objective, self.objective.loss
        params = Params(torch.from_numpy(self.coef.copy()), torch.from_numpy(self.intercept.copy()))
        theta, residual = objective.theta(params), self._residual()
        raw = objective.raw(theta)

        def terms(rows: slice) -> list[Tensor]:
            z, r, y = raw[rows], residual[rows], objective.target[rows]
            return [loss.value(z, y), -(r * z), loss.negative_entropy(r, y)]

        losses, tilt, entropy = objective.total(terms).tolist()
        value = losses + objective.penalty.value(params.coef)
        gap = max(0.0, losses + tilt + entropy)
        dual = residual if gap <= CLOSE * value else None
        return State(params, passes, value, gap, raw, dual, expected_bound=gap)

    def _residual(self) -> Tensor:
        return torch.from_numpy(self.dual) - self.objective.target
