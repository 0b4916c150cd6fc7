"""SoftmaxAscent: dual coordinate ascent for several classes, one row at a time.

The dual of F has probabilities q_i for every row, from which the coefficients of column j follow:

    W_j = sum_i s_i x_ij (y_i - q_i) / precision_j

A visit of row i moves q_i to the maximum of the dual over it: with z the row's raw prediction,

    q = softmax(z - Q_i (q - q_old)),  Q_i = s_i sum_j x_ij^2 / precision_j

Without a penalty on the intercept the residuals have to balance, sum_i s_i (y_i - q_i) = 0. The intercept is given a
light penalty around its value of an epoch ago: a proximal point method, or the method of multipliers for that
constraint (Rockafellar 1976, doi:10.1287/moor.1.2.97). The imbalance then shrinks every epoch.
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
from torchlogit.kernels.parallel import Array
from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.dual.intercept import COLUMNS_RATE, columns_rate
from torchlogit.solvers.requirements import refuse_dual_ascent

# Log-odds that the intercept moves for a residual of 1 in a row of mean weight. Larger: a weaker penalty on its change.
INTERCEPT_RATE = 0.3
CHANGED = ("coef", "intercept", "dual")  # the arrays that an epoch changes, by their names in snapshots
CLOSE = 0.1  # gap / F up to which a state has a dual point; larger: more bounds that are too large


@dataclass(frozen=True, slots=True)
class SoftmaxAscent:
    """Stochastic dual coordinate ascent for three classes or more; fastest on rows with few values, such as texts.

    Takes an L2 penalty on every column. A state is yielded after each epoch, with its dual point. Each step maximises
    the dual over all the probabilities of a row.

    Parameters
    ----------
    seed : int
        Seed of the order of the rows, which is new in every epoch.

    References
    ----------
    Shalev-Shwartz and Zhang 2013, arXiv:1209.1873.

    Examples
    --------
    >>> SoftmaxAscent(seed=1).seed
    1
    """

    seed: int = 0

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each epoch, without end. An epoch takes a pass, and its raw prediction half of one."""
        if objective.loss.n_outputs == 1:
            raise InputError("two classes: SoftmaxAscent is for three or more; use DualAscent")
        refuse_dual_ascent(objective)
        return self._states(_Ascent.at(objective, start), np.random.default_rng(self.seed), 0)

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot."""
        ascent, draw = _Ascent.at(objective, None), np.random.default_rng()
        draw.bit_generator.state = snapshot["draw"]
        for name in CHANGED:
            getattr(ascent, name)[:] = snapshot[name].numpy()
        return self._states(ascent, draw, snapshot["epoch"])

    def _states(self, ascent: _Ascent, draw: np.random.Generator, epochs: int) -> Iterator[State]:
        for epoch in count(epochs + 1):
            ascent.visit(draw.permutation(len(ascent.dual)))
            yield replace(ascent.state(1.5 * epoch), snapshot=partial(ascent.snapshot, draw, epoch))


@dataclass(frozen=True, slots=True)
class _Ascent:
    """A point of the dual, and the epochs that raise it.

    dual (n, K): the probabilities q_i. coef (d, K), intercept (K,): what follows from them. All three are changed in
    place. rows: in CSR form. variance (d,): 1 / precision. intercept_variance: that of the intercept's light penalty.
    """

    objective: Objective
    rows: Any
    weight: Array
    variance: Array
    intercept_variance: float
    offset: Array
    coef: Array
    intercept: Array
    dual: Array

    @classmethod
    def at(cls, objective: Objective, start: Params | None) -> _Ascent:
        """The probabilities of a start; without one every q_i is its target, and the coefficients are zero."""
        precision = objective.coef(objective.precision[:, None])[:, 0]
        begin = objective.params(objective.start()) if start is None else start
        dual, coef = objective.target.clone(), torch.zeros_like(begin.coef)
        if start is not None:
            residual = objective.residual(objective.raw(objective.theta(start)))
            dual, coef = dual + residual, objective.coef(objective.dual(residual)) / precision[:, None]
        rate = INTERCEPT_RATE * objective.design.shape[0] / objective.total_weight
        rate = max(rate, COLUMNS_RATE * columns_rate(objective))
        has_intercept = objective.design.has_intercept
        return cls(
            objective,
            objective.design.csr(),
            objective.weight.contiguous().numpy(),
            (1 / precision).numpy(),
            rate if has_intercept else 0.0,
            (torch.zeros_like(objective.target) if objective.offset is None else objective.offset).numpy(),
            coef.numpy(),
            (begin.intercept.clone() if has_intercept else torch.zeros_like(begin.intercept)).numpy(),
            dual.contiguous().numpy(),
        )

    def snapshot(self, draw: np.random.Generator, epoch: int) -> Snapshot:
        """All that an epoch changes, random numbers included."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in CHANGED}
        return {**arrays, "draw": draw.bit_generator.state, "epoch": epoch}

    def visit(self, order: np.ndarray) -> None:
        """Visit every row, then centre the intercept's penalty on the intercept."""
        from torchlogit.kernels import softmax_loops

        rows = self.rows.indptr, self.rows.indices, self.rows.data
        point = self.coef, self.intercept, self.dual
        softmax_loops.epoch(*rows, order, self.weight, self.variance, self.intercept_variance, self.offset, *point)
        self.intercept[:] -= self.intercept_variance * (self.weight @ self._residual().numpy())

    def state(self, passes: float) -> State:
        """The current state. Its gap assumes that the residuals balance, and is a little too small until they do."""
        objective, loss = self.objective, self.objective.loss
        params = Params(torch.from_numpy(self.coef.copy()), torch.from_numpy(self.intercept.copy()))
        theta, residual = objective.theta(params), self._residual()
        raw = objective.raw(theta)

        def terms(rows: slice) -> list[Tensor]:
            z, r, y = raw[rows], residual[rows], objective.target[rows]
            return [loss.value(z, y), -(r * z), loss.negative_entropy(r, y)]

        losses, products, entropy = objective.total(terms).tolist()
        value = losses + objective.penalty.value(params.coef)
        gap = max(0.0, losses + products + entropy)
        dual = residual if gap <= CLOSE * value else None
        return State(params, passes, value, gap, raw, dual, expected_bound=gap)

    def _residual(self) -> Tensor:
        return torch.from_numpy(self.dual) - self.objective.target
