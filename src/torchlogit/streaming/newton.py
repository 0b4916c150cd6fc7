"""StreamingNewton: learning in one pass by Newton models of blocks of rows, and by experts that follow single rows.

Quadratic models of all rows so far, or of recent ones, learn from one block of rows at a time (newton_models.py). A
block is too coarse for a target that changes within a few hundred rows, so a few further experts take one implicit
gradient step per row, each with its own learning rate (followers.py). Every expert is judged by its losses on rows
that it has not learned from yet (experts.py), and the answer is the mean of their coefficients by those weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.penalties import ElasticNet
from torchlogit.records import StreamState
from torchlogit.streaming.arrays import RowQueue, put_back, without_share
from torchlogit.streaming.experts import ExpertWeights
from torchlogit.streaming.followers import Followers
from torchlogit.streaming.free_coordinates import FreeCoordinates
from torchlogit.streaming.newton_models import CentredRows, NewtonModels
from torchlogit.streaming.progressive import Progressive, ProgressiveSums
from torchlogit.streaming.stream import TOO_LARGE, Answer, Start, StreamProblem

Array = NDArray[np.float64]

KAPPAS = (0.0, 1.0)  # exponents with which old blocks are down-weighted; larger: they count less
WINDOWS = (2.0**14, 2.0**10)  # rows after which a row's weight is 1/e; larger: steadier, slower to follow
RATES = tuple(8.0**-k for k in range(-1, 3))  # learning rates for rows of typical length: 8, 1, 1/8, 1/64
BLOCK_ROWS = 1024  # rows of a block, or as many as columns where that is more; larger: fewer Hessians to compute
FIRST_BLOCK_ROWS = 256  # rows of the first block, or four per column where that is more: enough for a first minimum
MAX_PARAMETERS = 2000  # the most free coefficients; every Newton model holds a square matrix of them


@dataclass(frozen=True, slots=True)
class StreamingNewton:
    """Learning in one pass from rows in blocks of any size, with no learning rate to choose.

    Several models learn side by side; the answer is the mean of their coefficients, weighted by their losses on rows
    that they have not learned from yet. For up to some 2,000 coefficients.

    Parameters
    ----------
    kappas : tuple of float
        One quadratic model of all rows so far for each. kappa = 0 weighs all blocks alike; kappa = 1 down-weights old
        blocks, whose quadratic models were built far from the present coefficients. For kappa > 0 the model's points
        are averaged over the stream, later points counting more.
    windows : tuple of float
        One quadratic model for each, in which the weight of a row falls to 1/e of itself after this many rows.
    rates : tuple of float
        One model that learns row by row for each: learning rates for rows of typical length. A large rate follows a
        target that changes within a few dozen rows.

    References
    ----------
    de Vilmarest and Wintenberger 2021, JMLR 22(14) (the extended Kalman filter, here in blocks, with implicit steps);
    Boyer and Godichon-Baggioni 2020, arXiv:2011.09706 (averages); Toulis and Airoldi 2017, arXiv:1408.2923 (implicit
    gradient steps); Herbster and Warmuth 1998, doi:10.1023/A:1007424614876 (weights of experts).

    Examples
    --------
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
        """A stream that has seen no rows yet, or that goes on from a fitted model.

        Raises
        ------
        InputError
            For a penalty with l1 or bounds, and for more than 2,000 coefficients.
        """
        return NewtonStream(self, StreamProblem.of(n_features, n_classes, penalty, intercept, start))

    def resume(self, state: StreamState) -> NewtonStream:
        """The stream that goes on from a record; InputError where the record is damaged."""
        stream = NewtonStream(self, StreamProblem.of_state(state))
        recorded = dict(state.arrays)
        if without_share(recorded) and "seen" in recorded:  # the followers' moments were of all rows
            recorded |= stream.experts.fresh_share(stream.progressive) | {"moment_weight": recorded["seen"][1:2]}
        put_back(recorded, stream.arrays(), stream.queue)
        return stream


class NewtonStream:
    """A StreamingNewton stream under way; see `Stream`.

    counts (3,): rows, weight and blocks learned from. center (d,): the columns' means in the first block, which are
    subtracted from all rows. queue: rows that wait for a whole block.
    """

    def __init__(self, learner: StreamingNewton, problem: StreamProblem) -> None:
        coordinates = FreeCoordinates.of(problem)
        if coordinates.size > MAX_PARAMETERS:
            raise InputError(
                f"{coordinates.size:,} coefficients: one pass of Newton's method takes at most {MAX_PARAMETERS:,}, as "
                "it holds square matrices of them; hash into fewer columns, or use ScaleFree"
            )
        d, outputs = len(problem.precision), problem.loss.n_outputs
        start_weight = problem.start.weight if problem.start is not None else 0.0
        self.learner, self.problem, self.coordinates = learner, problem, coordinates
        self.counts, self.center = np.zeros(3), np.zeros(d)
        self.models = NewtonModels(coordinates, learner.kappas, learner.windows, problem.precision, start_weight)
        self.followers = Followers(np.array(learner.rates) / coordinates.p, outputs, d)
        self.experts = ExpertWeights(len(self.models) + len(learner.rates), outputs, problem.intercept)
        if problem.start is not None:
            self.experts.share.keep_linear()
        self.progressive = ProgressiveSums()
        self.queue = RowQueue({"X": (d,), "target": (outputs,), "weight": (), "offset": (outputs,)})

    @property
    def rows(self) -> int:
        """The number of rows so far, those that wait for a whole block included."""
        return int(self.counts[0]) + len(self.queue)

    def learn(self, X: Any, target: Array, weight: Array | None = None, offset: Array | None = None) -> None:
        """Learn from rows, in blocks whose size depends on the number of columns alone."""
        n = len(target)
        weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
        offset = np.zeros_like(target) if offset is None else offset
        begin = 0
        while begin < n:
            size = self._block_rows()
            end = min(n, begin + size - len(self.queue))
            part = slice(begin, end)
            self.queue.append(_dense(X[part]), target[part], weight[part], offset[part])
            if len(self.queue) == size:
                self._learn_block()
            begin = end

    def answer(self) -> Answer:
        """The experts' mean, with the rows that wait learned from as well; the stream itself does not change."""
        if len(self.queue):
            stream = copy.deepcopy(self)
            stream._learn_block()
            return stream.answer()
        progressive, by_name = self.progressive.result(), self.experts.by_name(self._names())
        if self.counts[2] == 0 and self.problem.start is not None:
            return Answer(self.problem.start.params, progressive, None, by_name)
        if self.experts.share.leads:
            return Answer(self.experts.share.params(len(self.problem.precision)), progressive, None, by_name)
        followers = self.coordinates.of_followers(self.followers.coef, self.followers.intercept)
        mean = self.experts.recent @ np.concatenate([self.models.mean, followers])
        params = self.coordinates.params(mean, self.center)
        return Answer(params, progressive, self._excess(progressive), by_name)

    def record(self) -> StreamState:
        """A copy of everything that is needed to resume the stream."""
        experts = {name: list(getattr(self.learner, name)) for name in ("kappas", "windows", "rates")}
        return self.problem.record({"learner": "StreamingNewton", **experts}, self.arrays() | self.queue.arrays())

    def arrays(self) -> dict[str, Array]:
        """All arrays but the queue's, by their names in model files."""
        own = {"seen": self.counts, "center": self.center}
        experts = self.models.arrays() | self.followers.arrays() | self.experts.arrays()
        return own | experts | self.progressive.arrays()

    def _excess(self, progressive: Progressive) -> float | None:
        """trace(H^-1 S) / (2 weight); None where the stream itself tells against it.

        It is valid for rows in random order. If that was so, predictions were better than the class share, and the
        models of all rows lost no weight to those that forget the rows before, or follow single ones.
        """
        weight, (trace, counted) = self.counts[1] + self.models.start_weight, self.models.trace
        steady = self.experts.recent[: len(self.learner.kappas)].mean() > 0.5 * self.experts.recent.mean()
        better = progressive.gain is not None and progressive.gain > 0
        return float(trace / counted / (2 * weight)) if counted > 0 and weight > 0 and steady and better else None

    def _block_rows(self) -> int:
        """The number of rows that the next block has."""
        p = self.coordinates.p
        return max(FIRST_BLOCK_ROWS, 4 * p) if self.counts[2] == 0 else max(BLOCK_ROWS, p)

    def _learn_block(self) -> None:
        """Predict the rows that wait, then learn from them."""
        features, target, weight, offset = self.queue.first(len(self.queue))
        total, first = float(weight.sum()), self.counts[2] == 0
        if first and self.problem.intercept and total > 0:
            self.center = weight @ features / total
        X = np.ones((len(features), self.coordinates.p))
        X[:, : len(self.center)] = features - self.center
        rows = CentredRows(X, target, weight, offset)
        if first and self.problem.start is not None:
            params = self.problem.start.params
            coef = np.ascontiguousarray(params.coef.numpy())  # else its layout in memory could change the last bits
            intercept = params.intercept.numpy() + self.center @ coef
            self.models.go_on_from(coef, intercept, rows)
            self.followers.go_on_from(coef, intercept, X[:, : len(coef)], weight, self.problem.start.weight)
        self._predict_and_follow(rows)
        if not np.isfinite(self.followers.moments).all():
            raise InputError(TOO_LARGE)
        if total > 0:
            self.models.join(rows, self.counts[1], int(self.counts[2]))
        self.counts += (len(X), total, 1)
        self.queue.drop(len(X))

    def _predict_and_follow(self, rows: CentredRows) -> None:
        """Predict the rows by all experts, update the weights by the losses, and let the followers learn."""
        X, target, weight, offset = rows
        n_models, features = len(self.models), X[:, : len(self.center)]
        shares = self.experts.share.predict_and_learn(target, weight, offset)
        raws = np.empty((len(self.experts.recent), *target.shape))
        if self.counts[2] == 0 and self.problem.start is None and not offset.any():
            raws[:n_models] = shares.raw  # the models know nothing yet
        else:
            raws[:n_models] = self.coordinates.raw_predictions(X, self.models.mean) + offset
        self.followers.predict_and_learn(features, target, weight, offset, self.problem.intercept, raws[n_models:])
        before = self.counts[0], self.counts[1] + self.models.start_weight
        judged = self.experts.mix(raws, target, weight, shares, *before)
        self.progressive.add(target, weight, *judged)

    def _names(self) -> list[str]:
        """The experts' names, in their order."""
        learner = self.learner
        names = [f"kappa {kappa:g}" for kappa in learner.kappas] + [f"window {window:g}" for window in learner.windows]
        return names + [f"rate {rate:g}" for rate in learner.rates]


def _dense(X: Any) -> Array:
    """The rows as a float64 array."""
    return np.asarray(X.toarray() if scipy.sparse.issparse(X) else X, dtype=np.float64)
