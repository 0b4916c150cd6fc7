"""ScaleFree: one pass over wide sparse rows, one after another, without a learning rate.

    w <- w - s r x / H,   H_j = precision_j + |x_j|_max sqrt(sum s g_j^2) sqrt(density) / rate

r is the residual where the step leads, so that no step overshoots; the columns' largest values and the rows' density
(how many such values a row holds) take the place of scaling, and the prior of each coefficient counts exactly once
whatever the number of rows: it is what the first steps are held by. A few rates go side by side, each with its last
point and with the mean of all, later ones counting more; the answer is the mean of these by what their losses say.

Source: Ross, Mineiro and Langford 2013, arXiv:1305.6646 (scales); McMahan 2011, AISTATS (the prior and the adaptive
metric, as proximal follow-the-regularised-leader); Karampatziakis and Langford 2011, arXiv:1011.1576, and Toulis and
Airoldi 2017, arXiv:1408.2923 (implicit steps); Lacoste-Julien and others 2012, arXiv:1212.2002 (means that grow).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

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

RATES = (0.25, 1.0, 4.0, 16.0)
POWER = 2.0  # of the weight so far, by which the means weigh a point
UNIT = 256  # rows whose losses are added up at once


@dataclass(frozen=True, slots=True)
class ScaleFree:
    """One pass over rows of any width, dense or CSR, with nothing to tune.

    rates: of the experts, multiples of one that suits columns alike.

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
    ) -> WideStream:
        """A stream that has seen no row, or one that goes on from a model that rows elsewhere gave.

        InputError for l1 or bounds.
        """
        refuse_kinks(penalty)
        setting = _Setting(self, loss_for(n_classes), penalty.precision(n_features).numpy(), intercept)
        moving = _Moving.at_rest(setting)
        if start is not None:
            moving.go_on_from(start)
        return WideStream(setting, moving)

    def resume(self, state: StreamState) -> WideStream:
        """The stream that goes on from its own record."""
        facts, arrays = state.facts, state.arrays
        setting = _Setting(self, loss_for(facts["n_classes"]), arrays["precision"], facts["intercept"])
        return WideStream(setting, moving_of(arrays, _Moving.at_rest(setting), waiting=_WAITING))


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    experts: ScaleFree
    loss: Loss
    precision: Array
    intercept: bool


_WAITING = ("said", "wanted", "weight", "lost")


@dataclass(slots=True, eq=False)
class _Moving:
    """What moves: arrays, all of which are saved; see kernels/scale_free_loops.py.

    said, wanted, weight, lost: raw predictions, targets, weights and losses of rows that wait to be added up.
    """

    totals: Array
    scale: Array
    squares: Array
    coef: Array
    drawn: Array
    belief: Array
    trust: Array
    recent: Array
    said: Array
    wanted: Array
    weight: Array
    lost: Array
    progressive: ProgressiveSums = field(default_factory=ProgressiveSums)

    @classmethod
    def at_rest(cls, setting: _Setting) -> _Moving:
        p, e, m = len(setting.precision) + 1, len(setting.experts.rates), setting.loss.n_outputs
        shapes = (4,), (p,), (p, e), (p, e, m), (p, e, m), (2, 2 * e), (2,), (2 * e,), (0, m), (0, m), (0,), (0,)
        arrays: Any = (np.zeros(shape) for shape in shapes)
        moving = cls(*arrays)
        moving.belief += 1 / (2 * e)
        moving.trust += 1 / 2
        moving.recent += 1 / (2 * e)
        return moving

    def go_on_from(self, start: Start) -> None:
        """The start, as what all points so far have been. Of its rows' gradients only their number is known."""
        point = np.vstack([start.params.coef.numpy(), start.params.intercept.numpy()[None]])
        self.coef[:] = point[:, None, :]
        self.totals[1] = self.totals[2] = start.weight
        self.totals[3] = start.weight ** (POWER + 1) / (POWER + 1)


class WideStream:
    """A stream under way: `learn` moves it, `answer` says where it is, `record` is all of it."""

    def __init__(self, setting: _Setting, moving: _Moving) -> None:
        self.setting, self._moving = setting, moving

    @property
    def rows(self) -> int:
        """Rows given so far."""
        return int(self._moving.totals[0])

    def learn(self, X: Any, target: Array, weight: Array | None = None, offset: Array | None = None) -> None:
        """Learns from rows: X (n, d) dense or CSR, target (n, outputs) in [0, 1], weight (n,), offset (n, outputs)."""
        from torchlogit.kernels import expert_loops, scale_free_loops

        moving, setting = self._moving, self.setting
        rows = scipy.sparse.csr_array(X)
        rows.eliminate_zeros()
        n = len(target)
        target = np.ascontiguousarray(target, dtype=np.float64)
        weight = np.ones(n) if weight is None else np.ascontiguousarray(weight, dtype=np.float64)
        offset = np.zeros_like(target) if offset is None else np.ascontiguousarray(offset, dtype=np.float64)
        precision = np.append(setting.precision, 0.0)
        raw, loss, seen = np.empty_like(target), np.empty(n), moving.totals[0]
        raws = np.empty((len(moving.recent), *target.shape))
        given = rows.indptr, rows.indices, rows.data, target, weight, offset
        fixed = precision, setting.intercept, np.array(setting.experts.rates), POWER
        moves = moving.totals, moving.scale, moving.squares, moving.coef, moving.drawn
        minds = moving.belief, moving.trust, moving.recent
        scale_free_loops.learn(*given, *fixed, *moves, raws)
        expert_loops.judge(raws, target, weight, SHARES, seen, *minds, raw, loss)
        for name, part in zip(_WAITING, (raw, target, weight, loss), strict=True):
            setattr(moving, name, np.concatenate([getattr(moving, name), part]))
        while len(moving.lost) >= UNIT:
            self._add_up(UNIT)

    def answer(self) -> Answer:
        """The experts' mean, as it stands."""
        if len(self._moving.lost):
            ahead = WideStream(self.setting, copy.copy(self._moving))
            ahead._moving.progressive = copy.deepcopy(self._moving.progressive)
            ahead._add_up(len(self._moving.lost))
            return ahead.answer()
        moving = self._moving
        lag = moving.drawn / moving.totals[3] if moving.totals[3] > 0 else moving.drawn
        theta = np.einsum("e,pem->pm", moving.recent, np.concatenate([moving.coef, moving.coef - lag], axis=1))
        coef = torch.from_numpy(np.ascontiguousarray(theta[:-1]))
        names = [f"{kind} {rate:g}" for kind in ("rate", "mean, rate") for rate in self.setting.experts.rates]
        params = Params(coef, torch.from_numpy(theta[-1].copy()))
        return Answer(params, moving.progressive.result(), None, beliefs(names, moving.recent))

    def record(self) -> StreamState:
        """All that it takes to go on."""
        setting = self.setting
        facts = setting_facts(setting.experts, setting.loss, setting.intercept)
        return StreamState(facts, arrays_of(self._moving) | {"precision": setting.precision.copy()})

    def _add_up(self, n: int) -> None:
        moving = self._moving
        parts = (getattr(moving, name)[:n] for name in ("lost", "said", "wanted", "weight"))
        moving.progressive.add(*parts)
        for name in _WAITING:
            setattr(moving, name, getattr(moving, name)[n:])
