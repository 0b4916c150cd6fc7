"""ScaleFree: learning in one pass from wide sparse rows, row by row, without a learning rate to choose.

    w <- w - s r x / H,   H_j = precision_j + |x_j|_max sqrt(sum s g_j^2) sqrt(density) / rate

s is the row's weight and r its residual at the end of the step (an implicit step), so that no step overshoots. The
largest value of each column and the density (how many such values a row holds on average) take the place of scaling.
The penalty's precision of each coefficient is in the metric H of every step, and so counts exactly once, however
many rows there are. Several rates are run side by side. Each gives two experts: its last point, and the mean of all its
points, in which later points have more weight. The answer is the experts' mean, weighted by their losses on new rows.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, StreamState
from torchlogit.streaming.arrays import RowQueue, put_back, without_share
from torchlogit.streaming.experts import ExpertWeights
from torchlogit.streaming.progressive import ProgressiveSums
from torchlogit.streaming.stream import LARGEST, TOO_LARGE, Answer, Start, StreamProblem

Array = NDArray[np.float64]

RATES = (0.25, 1.0, 4.0, 16.0)  # multiples of a step length that suits columns that are alike; larger: longer steps
POWER = 2.0  # a point has weight (rows so far)^POWER in the mean of points; larger: early points are forgotten sooner
SUM_ROWS = 256  # rows whose losses are summed at once, so that sums do not depend on how rows were cut into calls


@dataclass(frozen=True, slots=True)
class ScaleFree:
    """Learning in one pass from rows of any width, dense or CSR, with no learning rate to choose.

    Parameters
    ----------
    rates : tuple of float
        Step lengths that are tried side by side, as multiples of one that suits columns that are alike. Those that
        predict best have the most weight in the answer.

    References
    ----------
    Ross, Mineiro and Langford 2013, arXiv:1305.6646 (scales of columns); McMahan 2011, AISTATS (penalty and adaptive
    metric, as proximal follow-the-regularised-leader); Karampatziakis and Langford 2011, arXiv:1011.1576, and Toulis
    and Airoldi 2017, arXiv:1408.2923 (implicit steps); Lacoste-Julien and others 2012, arXiv:1212.2002 (means with
    growing weights).

    Examples
    --------
    >>> stream = ScaleFree().begin(1, 2, ElasticNet(l2=1.0))
    >>> stream.learn(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [0.0], [1.0]]))
    >>> stream.rows, bool(stream.answer().params.coef[0, 0] > 0)
    (4, True)
    """

    rates: tuple[float, ...] = RATES

    def begin(
        self,
        n_features: int,
        n_classes: int,
        penalty: ElasticNet,
        *,
        intercept: bool = True,
        start: Start | None = None,
    ) -> ScaleFreeStream:
        """A stream that has seen no rows yet, or that goes on from a fitted model.

        Raises
        ------
        InputError
            For a penalty with l1 or bounds.
        """
        stream = ScaleFreeStream(self, StreamProblem.of(n_features, n_classes, penalty, intercept))
        if start is not None:
            stream.models.go_on_from(start)
            stream.experts.share.keep_linear()
        return stream

    def resume(self, state: StreamState) -> ScaleFreeStream:
        """The stream that goes on from a record; InputError where the record is damaged."""
        stream = ScaleFreeStream(self, StreamProblem.of_state(state))
        recorded = dict(state.arrays)
        if without_share(recorded) and {"wanted", "weight"} <= set(recorded):
            lost = stream.experts.share_losses(recorded["wanted"], recorded["weight"])
            recorded |= stream.experts.fresh_share(stream.progressive) | {"lost_by_share": lost}
        put_back(recorded, stream.arrays(), stream.queue)
        return stream


class ScaleFreeModels:
    """One model at each of e rates, p coefficients with the intercept's last, and the sums that their steps depend on.

    totals (4,): number of rows, sum of weights s, sum of s times the row's squared length after scaling, total weight
    in the means. largest (p,): the largest |x| of each column. gradient_squares (p, e): sums of s g^2.
    coef (p, e, outputs): the last points. lag (p, e, outputs): coef minus the mean of all points, times totals[3].
    """

    def __init__(self, p: int, n_rates: int, outputs: int) -> None:
        self.totals, self.largest, self.gradient_squares = np.zeros(4), np.zeros(p), np.zeros((p, n_rates))
        self.coef, self.lag = np.zeros((p, n_rates, outputs)), np.zeros((p, n_rates, outputs))

    def go_on_from(self, start: Start) -> None:
        """Start as if all points so far were this model. The gradients of its rows are unknown and count as zero."""
        point = np.vstack([start.params.coef.numpy(), start.params.intercept.numpy()[None]])
        self.coef[:] = point[:, None, :]
        self.totals[1] = self.totals[2] = start.weight
        self.totals[3] = start.weight ** (POWER + 1) / (POWER + 1)

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return {
            "totals": self.totals,
            "scale": self.largest,
            "squares": self.gradient_squares,
            "coef": self.coef,
            "drawn": self.lag,
        }


class ScaleFreeStream:
    """A ScaleFree stream under way; see `Stream`.

    queue: targets, weights, predictions and losses of rows whose losses are not summed yet.
    """

    def __init__(self, learner: ScaleFree, problem: StreamProblem) -> None:
        outputs, rates = problem.loss.n_outputs, learner.rates
        self.learner, self.problem = learner, problem
        self.models = ScaleFreeModels(len(problem.precision) + 1, len(rates), outputs)
        self.experts = ExpertWeights(2 * len(rates), outputs, problem.intercept)
        self.progressive = ProgressiveSums()
        self.queue = RowQueue({"wanted": (outputs,), "weight": (), "said": (outputs,), "lost": (), "lost_by_share": ()})

    @property
    def rows(self) -> int:
        """The number of rows learned from so far."""
        return int(self.models.totals[0])

    def learn(self, X: Any, target: Array, weight: Array | None = None, offset: Array | None = None) -> None:
        """Learn from rows, one after the other."""
        rows = scipy.sparse.csr_array(X)
        rows.eliminate_zeros()
        if float(np.abs(rows.data).max(initial=0.0)) > LARGEST:
            raise InputError(TOO_LARGE)
        target = np.ascontiguousarray(target, dtype=np.float64)
        weight = np.ones(len(target)) if weight is None else np.ascontiguousarray(weight, dtype=np.float64)
        offset = np.zeros_like(target) if offset is None else np.ascontiguousarray(offset, dtype=np.float64)
        before = self.models.totals[0], self.models.totals[1]
        raws = self._step(rows, target, weight, offset)
        shares = self.experts.share.predict_and_learn(target, weight, offset)
        self.queue.append(target, weight, *self.experts.mix(raws, target, weight, shares, *before))
        while len(self.queue) >= SUM_ROWS:
            self.progressive.add(*self.queue.first(SUM_ROWS))
            self.queue.drop(SUM_ROWS)

    def answer(self) -> Answer:
        """The experts' mean, and the losses of all rows so far."""
        progressive = self.progressive
        if len(self.queue):
            progressive = copy.deepcopy(progressive)
            progressive.add(*self.queue.first(len(self.queue)))
        names = [f"{kind} {rate:g}" for kind in ("rate", "mean, rate") for rate in self.learner.rates]
        by_name = self.experts.by_name(names)
        if self.experts.share.leads:
            params = self.experts.share.params(len(self.problem.precision))
            return Answer(params, progressive.result(), None, by_name)
        models = self.models
        lag = models.lag / models.totals[3] if models.totals[3] > 0 else models.lag
        of_experts = np.concatenate([models.coef, models.coef - lag], axis=1)
        theta = np.einsum("e,pem->pm", self.experts.recent, of_experts)
        coef = torch.from_numpy(np.ascontiguousarray(theta[:-1]))
        return Answer(Params(coef, torch.from_numpy(theta[-1].copy())), progressive.result(), None, by_name)

    def record(self) -> StreamState:
        """A copy of everything that is needed to resume the stream."""
        facts = {"learner": "ScaleFree", "rates": list(self.learner.rates)}
        return self.problem.record(facts, self.arrays() | self.queue.arrays())

    def arrays(self) -> dict[str, Array]:
        """All arrays but the queue's, by their names in model files."""
        return self.models.arrays() | self.experts.arrays() | self.progressive.arrays()

    def _step(self, rows: scipy.sparse.csr_array, target: Array, weight: Array, offset: Array) -> Array:
        """The predictions of all experts, (2 e, n, outputs), each made before the step that its row causes."""
        from torchlogit.kernels import scale_free_loops

        models, problem = self.models, self.problem
        raws = np.empty((2 * len(self.learner.rates), *target.shape))
        given = rows.indptr, rows.indices, rows.data, target, weight, offset
        fixed = np.append(problem.precision, 0.0), problem.intercept, np.array(self.learner.rates), POWER
        moving = models.totals, models.largest, models.gradient_squares, models.coef, models.lag
        scale_free_loops.learn(*given, *fixed, *moving, raws)
        return raws
