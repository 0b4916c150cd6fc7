"""What all streams share: the protocol, the problem that is solved, the starting model, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogit.errors import InputError
from torchlogit.losses import Loss, loss_for
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Params, Status, StopReason, StreamState
from torchlogit.streaming.progressive import Progressive, plus_minus

Array = NDArray[np.float64]

LARGEST = 1e150  # the largest |x| that the streams take: its square, times the number of rows, is a finite float64
TOO_LARGE = "a value above 1e150 in the rows: its square overflows and spoils the stream; scale the column, begin anew"
REMEDY = "see whether a column grows with time, or whether the target can be predicted by these columns"


@dataclass(frozen=True, slots=True)
class Start:
    """A fitted model from which a stream starts: its coefficients, and the total weight of its training rows."""

    params: Params
    weight: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The current model of a stream and what is known of its quality.

    progressive: the losses on rows that had not been learned from yet. excess: by how much the log loss per unit of
    weight is expected to exceed that of the best linear model, trace(H^-1 S) / (2 weight), in nats, if the rows came in
    random order: a statistical estimate and not a bound; None where the method cannot tell, or where the progressive
    losses contradict it. expert_weights: the share of each expert in the answer, by name. "class share" is 1 if the
    answer predicts the class share for every row, since nothing predicted better, else 0.
    """

    params: Params
    progressive: Progressive
    excess: float | None
    expert_weights: dict[str, float]

    @property
    def warning(self) -> str | None:
        """That the stream predicted no better than the class share, and what the model therefore is; else None."""
        share = "always predicting the class share of the rows so far"
        if self.expert_weights["class share"] == 1:
            return f"predictions by the columns were no better than {share}, so all coefficients are 0; {REMEDY}"
        if self.progressive.no_better:
            return f"the stream's predictions were no better than {share}; {REMEDY}"
        return None

    @property
    def certificate(self) -> Certificate:
        """A certificate without a bound: it reports what was measured on rows not learned from yet, and the excess.

        Its status is `uncertifiable`, and its objective the progressive log loss times the weight.
        """
        losses = self.progressive
        rows = f"{losses.rows:,} rows, each read once and predicted before that"
        known = f"log loss {losses.log_loss:.5g}{plus_minus(losses.log_loss_error)} on {rows}"
        if losses.gain is not None:
            known += f"; {losses.against_share}"
        if self.excess is not None:
            known += (
                "; if the rows came in random order, which was not checked, the model is expected to be about "
                f"{self.excess:.1e} nats per unit of weight above the best linear model (statistical, not proven)"
            )
        if self.warning is not None:
            known += f". {self.warning}"
        return Certificate(Status.UNCERTIFIABLE, losses.log_loss * losses.weight, None, reason=StopReason(known=known))


class Stream(Protocol):
    """A model that learns from blocks of rows, each read once."""

    @property
    def rows(self) -> int:
        """The number of rows learned from so far, those that still wait for a whole block included."""
        ...

    def learn(self, X: Any, target: Array, weight: Array | None = None, offset: Array | None = None) -> None:
        """Learn from rows: X (n, d) dense or CSR, target (n, outputs) in [0, 1], weight (n,), offset (n, outputs).

        How a table is cut into calls does not change a bit of the result.
        """
        ...

    def answer(self) -> Answer:
        """The current model; the stream itself does not change."""
        ...

    def record(self) -> StreamState:
        """A copy of everything that is needed to resume the stream."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StreamProblem:
    """The problem that a stream solves, which stays the same for all its rows.

    precision (n_features,): the l2 penalty of each column. intercept: whether there is one. start: the model that the
    stream goes on from, kept here where the method needs it again when rows arrive.
    """

    loss: Loss
    precision: Array
    intercept: bool
    start: Start | None = None

    @classmethod
    def of(
        cls, n_features: int, n_classes: int, penalty: ElasticNet, intercept: bool, start: Start | None = None
    ) -> StreamProblem:
        """The problem of a new stream; InputError for l1 or bounds, which one pass cannot handle."""
        if not penalty.smooth:
            raise InputError("l1 or bounds: learning in one pass takes l2 alone; set l1=0, or fit without streaming")
        return cls(loss_for(n_classes), penalty.precision(n_features).numpy(), intercept, start)

    @classmethod
    def of_state(cls, state: StreamState) -> StreamProblem:
        """The problem of a recorded stream."""
        facts, arrays = state.facts, state.arrays
        start = None
        if "start_coef" in arrays:
            params = (torch.from_numpy(arrays[name].copy()) for name in ("start_coef", "start_intercept"))
            start = Start(Params(*params), facts["start_weight"])
        return cls(loss_for(facts["n_classes"]), arrays["precision"], facts["intercept"], start)

    def record(self, learner: dict[str, Any], arrays: dict[str, Array]) -> StreamState:
        """A stream's record: the learner's facts, this problem, and copies of the stream's arrays by name in files."""
        n_classes = 2 if self.loss.n_outputs == 1 else self.loss.n_outputs
        facts = {**learner, "n_classes": n_classes, "intercept": self.intercept}
        copies = {name: array.copy() for name, array in (arrays | {"precision": self.precision}).items()}
        if self.start is not None:
            facts["start_weight"] = self.start.weight
            copies["start_coef"] = self.start.params.coef.numpy().copy()
            copies["start_intercept"] = self.start.params.intercept.numpy().copy()
        return StreamState(facts, copies)
